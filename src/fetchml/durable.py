"""The only place that writes durable files.

A file is replaced whole (temporary name in the same folder, fsync, rename, fsync of the folder) or created once, and a
call returns only after the disk has it. A failed fsync is final: the kernel may forget the lost pages and report
success next time ("Can Applications Recover from fsync Failures?", USENIX ATC 2020), so nothing here retries one.
"""

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fetchml.errors import Corrupt, FetchmlError, Forbidden, NotFound, Unavailable

_LOCK_POLL_S = 0.1

TEMPORARY_PREFIX = ".tmp-"

STORAGE_FULL = "storage-full"
"""Code of the error when a disk or quota is full."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@contextmanager
def translated(doing: str, path: Path) -> Generator[None]:
    """Turns an operating system error into one that says what to do.

    Args:
        doing: What was tried, such as "write".
        path: What it was tried on.
    """
    try:
        yield
    except OSError as error:
        raise translate(error, doing, path) from error


def translate(error: OSError, doing: str, path: Path) -> FetchmlError:
    """Returns the error for users that an operating system error means."""
    summary = f"cannot {doing} `{path}`"
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return Unavailable(
            summary,
            detail=f"{reason}: the disk or its quota is full",
            hint="free space on it, then repeat the command; nothing was half-written",
            code=STORAGE_FULL,
        )
    if error.errno in _DENIED:
        hint = (
            "choose a writable folder with FETCHML_HOME" if error.errno == errno.EROFS else "check its owner and mode"
        )
        return Forbidden(summary, detail=reason, hint=hint, code="not-writable")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(summary, detail=reason)
    if error.errno == errno.EISDIR:
        return Corrupt(summary, detail=f"{reason}: a folder is where a file should be", code="record-damaged")
    if error.errno == errno.EIO:
        return Corrupt(summary, detail=f"{reason}: the disk reports a fault", code="disk-fault")
    return Unavailable(summary, detail=reason, code="io-error")


def exists(path: Path) -> bool:
    """Tells whether there is something; a link that leads nowhere is nothing.

    What cannot be told is an error. `Path.exists` raises it up to Python 3.13 only and then says no, though a run would
    be started twice, or sealed without a part of its record, where a disk fails.

    Raises:
        FetchmlError: See `translate`.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno in _MISSING:
            return False
        raise translate(error, "look for", path) from error
    return True


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replaces a file, or creates it. Readers see the old content or the new, never a part.

    Raises:
        FetchmlError: See `translate`; the old file is then untouched.
    """
    with translated("write", path):
        temporary = _written_beside(path, content, mode)
        try:
            os.replace(temporary, path)
        except OSError:
            _discard(temporary)
            raise
        sync_folder(path.parent)


def create_exclusive(path: Path, content: bytes, *, mode: int = 0o644) -> bool:
    """Creates a file with its whole content, unless it exists.

    Returns:
        True if this call created it, False if it was there; of several callers exactly one gets True.

    Raises:
        FetchmlError: See `translate`; the file then does not exist because of this call.
    """
    with translated("create", path):
        temporary = _written_beside(path, content, mode)
        try:
            # A link fails if the name exists, and the content is there the moment the name is.
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            _discard(temporary)
        try:
            sync_folder(path.parent)
        except OSError:
            _discard(path)
            raise
        return True


def publish_folder(temporary: Path, target: Path) -> bool:
    """Moves a finished folder to its name, unless the name is taken; its files must be synced.

    Returns:
        True if this call published it, False if the name was taken.
    """
    with translated("create", target):
        sync_folder(temporary)
        if os.path.lexists(target):  # a rename would replace an empty folder
            return False
        try:
            os.rename(temporary, target)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) and os.path.lexists(target):
                return False
            raise
        try:
            sync_folder(target.parent)
        except OSError:
            with suppress(OSError):
                os.rename(target, temporary)
            raise
        return True


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Creates a folder and its missing parents, durably; an existing folder is fine."""
    with translated("create", path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            with suppress(FileExistsError):
                folder.mkdir(mode=mode)
            sync_folder(folder.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", str(path))


def reserve_space(path: Path, size_bytes: int) -> None:
    """Creates a file that holds space on the disk, to be removed when space runs out.

    Raises:
        Unavailable: There is not that much space left; no file is then created.
    """
    with translated("reserve space in", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError:
            _discard(path)
            raise
        finally:
            os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Makes the content of a file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Generator[None]:
    """Holds an exclusive lock on a folder or file of this host; blocks until it is free.

    Args:
        path: What is locked.
        waiting: Called again and again while someone else has the lock; it may raise to give up.
    """
    with translated("lock", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if waiting is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            while not _lock_at_once(descriptor):
                waiting()
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _lock_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Writes everything; a single write may be short."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _written_beside(path: Path, content: bytes, mode: int) -> Path:
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{path.name[:100]}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            write_all(descriptor, content)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        _discard(temporary)
        raise
    return temporary


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
