"""`python -m fetchml.archive`: copies the runs that wait to be copied, then ends.

A process of its own, so that hashing and sending gigabytes takes nothing from the worker, and ending it at any moment
harms nothing.
"""

import os
import sys

from fetchml.archive.copier import copies_runs, copy_waiting
from fetchml.config.layers import load
from fetchml.errors import FetchmlError, Unavailable
from fetchml.home import Home


def main() -> int:
    """Copies what waits; returns 0 if the bucket took it."""
    os.nice(10)  # what runs comes first
    try:
        home = Home(load(with_project=False).settings)
        if not copies_runs(home):
            return 0
        is_done = copy_waiting(home, lambda text: print(text, file=sys.stderr, flush=True))
    except FetchmlError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0 if is_done else Unavailable.exit_code


if __name__ == "__main__":
    sys.exit(main())
