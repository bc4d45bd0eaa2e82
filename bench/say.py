"""Progress on stderr; the table alone goes to stdout."""

import sys


def say(text: str) -> None:
    """Says what is going on."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def loudly(text: str) -> None:
    """Says what will be missing from the table."""
    print(f"bench: ***** {text} *****", file=sys.stderr, flush=True)
