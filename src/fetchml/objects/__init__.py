"""Content-addressed objects."""
