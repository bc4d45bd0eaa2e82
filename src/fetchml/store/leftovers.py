"""Folders in the run store that nobody finishes: of runs that were brought or removed when a process died."""

import fcntl
import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fetchml import durable

_BROUGHT = f"{durable.TEMPORARY_PREFIX}fetch-"


@contextmanager
def bringing(runs: Path, run_id: str) -> Generator[Path]:
    """Makes a folder for a run that is brought from elsewhere; it is nobody's leftover as long as this block lasts."""
    path = runs / f"{_BROUGHT}{secrets.token_hex(8)}-{run_id}"
    with durable.locked(runs), durable.translated("create", path):
        path.mkdir()
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        os.close(descriptor)


@contextmanager
def leftovers(runs: Path, *, is_alone: bool = False) -> Generator[Iterator[Path]]:
    """Yields the folders that belong to no living process, one after the other; each may be removed by then.

    Args:
        runs: Folder of the runs.
        is_alone: Whether the caller has the turn to remove, so that nobody queues or brings a run.
    """
    with durable.locked(runs):
        yield _leftovers(runs, durable.TEMPORARY_PREFIX if is_alone else _BROUGHT)


def _leftovers(runs: Path, prefix: str) -> Iterator[Path]:
    for name in sorted(os.listdir(runs)):
        if not name.startswith(prefix):
            continue
        with suppress(OSError):  # it has just become a run, or belongs to somebody
            descriptor = os.open(runs / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield runs / name
            finally:
                os.close(descriptor)
