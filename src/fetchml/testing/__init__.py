"""Doubles that ship: for tests of fetchml and of what is built on it."""
