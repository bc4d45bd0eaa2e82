"""Files below a folder, by a path that somebody sent: no link is followed on the way, and nothing lies outside."""

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fetchml.errors import ConfigError, NotFound

_MAX_BYTES = 4096
_MAX_NAME_BYTES = 255
_MAX_DEPTH = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_of(path: str) -> tuple[str, ...]:
    """Returns the names in a relative path.

    Raises:
        ConfigError: It is empty, absolute, leads out of its folder, or has two spellings.
    """
    parts = tuple(path.split("/"))
    try:
        size = len(path.encode())
        is_long = size > _MAX_BYTES or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts)
    except UnicodeEncodeError:
        is_long = True
    if is_long or len(parts) > _MAX_DEPTH or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(f"`{path[:100]!r}` is no path in a run folder", code="bad-path")
    return parts


@contextmanager
def folder_below(root: Path, parts: tuple[str, ...], *, create: bool = False) -> Generator[int]:
    """Yields a descriptor of a folder; each step is taken from the one before, so nothing can be swapped under it.

    Raises:
        NotFound: It is not there, or a link or a file is in the way.
    """
    try:
        current = os.open(root, _FOLDER)
    except OSError as error:
        raise NotFound("there is no such folder", detail=error.strerror, code="no-such-file") from error
    try:
        for part in parts:
            if create:
                try:
                    os.mkdir(part, 0o755, dir_fd=current)
                    os.fsync(current)
                except FileExistsError:
                    pass
            try:
                below = os.open(part, _FOLDER, dir_fd=current)
            except OSError as error:
                raise NotFound(f"`{part[:100]}` is no folder", detail=error.strerror, code="no-such-file") from error
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


@contextmanager
def file_below(root: Path, path: str, flags: int = os.O_RDONLY, *, create: bool = False) -> Generator[int]:
    """Yields a descriptor of a regular file.

    Raises:
        ConfigError: It is no path.
        NotFound: There is no such file, or something else is there.
    """
    *above, name = parts_of(path)
    with folder_below(root, tuple(above), create=create) as folder:
        extra = os.O_CREAT if create else 0
        try:
            descriptor = os.open(
                name, flags | extra | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=folder
            )
        except OSError as error:
            raise NotFound(f"there is no file `{path[:200]}`", detail=error.strerror, code="no-such-file") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotFound(f"`{path[:200]}` is no regular file", code="no-such-file")
            yield descriptor
        finally:
            os.close(descriptor)


def files_below(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yields the path and status of each regular file below a folder; links are left out."""
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            with os.scandir(root / inside) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = f"{inside}/{entry.name}".lstrip("/")
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif entry.is_file(follow_symlinks=False):
                yield path, entry.stat(follow_symlinks=False)
