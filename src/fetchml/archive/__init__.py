"""Copies of sealed runs in a bucket."""
