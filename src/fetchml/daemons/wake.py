"""Wakes the worker at once when there is something to do, instead of at its next poll.

A named pipe in the home folder: writing to it fails at once when no worker listens, and its path may be long, which
that of a socket may not.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

LOOK = b"l"
"""Look at what Prefect has scheduled."""

REPAIR = b"r"
"""Compare the run store with Prefect as well: something could not be handed over."""


def wake(pipe: Path, what: bytes = LOOK) -> bool:
    """Wakes the worker; returns whether one listens. Never blocks, never fails.

    Args:
        pipe: The worker's pipe.
        what: `LOOK` or `REPAIR`.
    """
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, what)
    except OSError as error:
        return error.errno == errno.EAGAIN  # full: it has not even read the calls before this one
    finally:
        os.close(descriptor)
    return True


def listen(pipe: Path) -> int:
    """Makes the pipe and returns a descriptor that is readable whenever someone called `wake`."""
    with suppress(FileExistsError):
        os.mkfifo(pipe, 0o600)
    # Opened for writing as well, so that it never reports the end of the file between two callers.
    return os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def drain(descriptor: int) -> bytes:
    """Takes all calls that are waiting in the pipe, and returns what they asked for."""
    asked = b""
    with suppress(BlockingIOError):
        while received := os.read(descriptor, 4096):
            asked += received
    return asked
