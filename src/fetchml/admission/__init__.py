"""Which waiting runs may start now: pure decisions."""
