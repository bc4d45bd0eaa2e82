"""The Python environment of a run: found, built once, kept."""
