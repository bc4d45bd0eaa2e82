"""Captures a project into the store without queueing anything."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fetchml.config.layers import Configuration
from fetchml.errors import FetchmlError
from fetchml.home import Home
from fetchml.service.queue import check_space
from fetchml.service.resolve import limits_of, project_root
from fetchml.snapshot.capture import Observe, Progress, capture
from fetchml.snapshot.ignore import NEVER
from fetchml.store.turns import adding

_QUIET_MS = 200
_AT_MOST_MS = 2000
"""Changes are taken together until nothing has changed for the first time, or for the second at most."""
_LOOK_MS = 1000


@dataclass(frozen=True, slots=True)
class Synced:
    """A project that is in the store."""

    commit_id: str
    root: Path
    """Root of the project."""
    files: int
    size_bytes: int
    read_files: int
    """Files that were read; the others are as they were the last time."""
    read_bytes: int
    seconds: float
    notes: tuple[str, ...]
    """What the user should know of files that were captured all the same."""


def sync(configuration: Configuration, cwd: Path, observe: Observe | None = None) -> Synced:
    """Captures the project as `queue` would; durable when it returns. What is stored already is not stored again.

    Args:
        configuration: The settings of this call.
        cwd: The user's current folder.
        observe: Called now and then while files are read.

    Raises:
        Refused: The tree cannot be captured.
        Unavailable: The disk is full, or the bucket does not answer.
        Forbidden: The home folder cannot be written.
    """
    settings = configuration.settings
    home = Home(settings)
    root = project_root(configuration, cwd)
    limits = limits_of(settings)
    began = time.monotonic()
    last = Progress(0, 0, 0, 0)

    def follow(progress: Progress) -> None:
        nonlocal last
        last = progress
        if observe is not None:
            observe(progress)

    objects = home.objects
    home.create()
    check_space(home)
    with adding(settings.store):
        snapshot = capture(root, objects, limits, home.path, home.known_files, follow)
    return Synced(
        commit_id=snapshot.commit_id,
        root=root,
        files=snapshot.file_count,
        size_bytes=snapshot.size_bytes,
        read_files=last.files,
        read_bytes=last.size_bytes,
        seconds=round(time.monotonic() - began, 6),
        notes=snapshot.notes,
    )


def watch(configuration: Configuration, cwd: Path) -> Iterator[Synced | FetchmlError]:
    """Captures the project now and after each change; yields each new commit, or why there is none; never ends."""
    from watchfiles import watch as changes

    root = project_root(configuration, cwd)
    home = Home(configuration.settings).path.absolute()

    def counts(_: object, path: str) -> bool:
        return not Path(path).is_relative_to(home) and NEVER.isdisjoint(Path(path).relative_to(root).parts)

    shown: object = None
    is_first = True

    def look() -> Iterator[Synced | FetchmlError]:
        nonlocal shown
        try:
            found: Synced | FetchmlError = sync(configuration, cwd)
        except FetchmlError as error:
            found = error
        identity = found.commit_id if isinstance(found, Synced) else (found.code, found.summary, found.detail)
        if identity != shown:
            shown = identity
            yield found

    yield from look()
    # Once without a change as well: it may have come before the system was watching.
    for changed in changes(
        root,
        watch_filter=counts,
        debounce=_AT_MOST_MS,
        step=_QUIET_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    ):
        if changed or is_first:
            is_first = False
            yield from look()
