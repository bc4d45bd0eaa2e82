"""Which process drives an attempt: the one that holds its lock, for exactly as long as it lives."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from fetchml import durable
from fetchml.store.folder import AttemptFolder

_held: set[str] = set()


@contextmanager
def owning(folder: AttemptFolder) -> Generator[bool]:
    """Tries to become the driver of an attempt for a block; yields whether that worked.

    The operating system lets go of the lock when the process dies, however it dies. Within one process the block may
    be entered again.
    """
    key = str(folder.owner_lock)
    if key in _held:
        yield True
        return
    durable.make_folder(folder.path)
    with durable.translated("lock", folder.owner_lock):
        descriptor = os.open(folder.owner_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked_soon(descriptor):
            yield False
            return
        _held.add(key)
        try:
            yield True
        finally:
            _held.discard(key)
    finally:
        os.close(descriptor)


def _locked_soon(descriptor: int) -> bool:
    """Takes the lock; someone who only looks (`is_owned`) holds it for an instant."""
    for _ in range(20):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


def is_owned(folder: AttemptFolder) -> bool:
    """Tells whether a living process drives the attempt."""
    try:
        descriptor = os.open(folder.owner_lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
