"""Whose turn it is: those who add objects and then refer to them, or the one who removes what nobody refers to.

Adding goes from the first object that is looked for until the run or commit that needs it is durable, by any number of
processes at once. Removing is done alone. Two locks, since a lock on a file alone lets nobody in who waits for it
alone as long as there are others to share it: whoever comes passes the gate first, and whoever removes keeps it shut.
"""

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fetchml import durable

_SHUT_S = 5.0
"""How long a remover keeps others out while it waits for those who are in; then it lets them in and tries again."""
_POLL_S = 0.02


@contextmanager
def adding(store: Path) -> Generator[None]:
    """Keeps objects from being removed, whether or not anything refers to them yet; blocks while some are removed.

    Args:
        store: Folder of the run store, created if need be.

    Raises:
        FetchmlError: The store cannot be written.
    """
    gate, hall = _open(store)
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(hall, fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
    finally:
        os.close(hall)
        os.close(gate)


@contextmanager
def removing(store: Path, waiting: Callable[[], None] | None = None) -> Generator[None]:
    """Keeps everyone from adding objects; blocks until those who do so now have ended.

    Args:
        store: Folder of the run store.
        waiting: Called each time that others were let in first; it may raise to give up.
    """
    gate, hall = _open(store)
    try:
        while not _shut(gate, hall):
            if waiting is not None:
                waiting()
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(hall)
        os.close(gate)


def _shut(gate: int, hall: int) -> bool:
    fcntl.flock(gate, fcntl.LOCK_EX)
    until = time.monotonic() + _SHUT_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(hall, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > until:
            fcntl.flock(gate, fcntl.LOCK_UN)
            return False
        time.sleep(_POLL_S)


def _open(store: Path) -> tuple[int, int]:
    folder = store / "locks"
    durable.make_folder(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with durable.translated("lock", folder):
        gate = os.open(folder / "gate", flags, 0o600)
        try:
            return gate, os.open(folder / "objects", flags, 0o600)
        except OSError:
            os.close(gate)
            raise
