"""Replays of past runs through the decisions of the queue."""
