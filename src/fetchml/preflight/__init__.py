"""The checks a plan must pass."""
