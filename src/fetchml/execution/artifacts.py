"""What a run left in its results folder: listed, hashed, made durable and read-only."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from fetchml.models.manifest import Artifact, Artifacts, Exclusion, RecordFile

MAX_ARTIFACTS = 200_000
_LAST_MOMENT = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def collect(results: Path, now: datetime) -> Artifacts:
    """Protects a results folder and returns what is in it, sorted by path.

    Links, devices and unreadable files are named as exclusions and never followed.
    """
    files: list[Artifact] = []
    exclusions: list[Exclusion] = []
    is_full = False
    if results.is_symlink():
        exclusions.append(Exclusion(path=results.name, reason="symbolic link"))
    for path, relative, status in _walk(results, exclusions):
        kind = _fault(status.st_mode, relative)
        if kind is not None and not is_full:
            exclusions.append(Exclusion(path=shown(relative), reason=kind))
        if kind is not None:
            continue
        try:
            os.chmod(path, stat.S_IMODE(status.st_mode) & 0o555 | 0o400)
            if is_full:
                continue  # protected, though it is not listed
            if len(files) >= MAX_ARTIFACTS:
                is_full = True
                exclusions.append(Exclusion(path=relative, reason=f"more than {MAX_ARTIFACTS} files"))
                continue
            size, digest = _secured(path)
        except OSError as error:
            exclusions.append(Exclusion(path=relative, reason=error.strerror or str(error)))
            continue
        modified = datetime.fromtimestamp(min(max(0.0, status.st_mtime), _LAST_MOMENT), UTC)
        files.append(Artifact(path=relative, size_bytes=size, sha256=digest, modified=modified))
    return Artifacts(
        discovered_at=now,
        files=tuple(sorted(files, key=lambda item: item.path)),
        total_size_bytes=sum(item.size_bytes for item in files),
        exclusions=tuple(sorted(exclusions, key=lambda item: item.path)),
    )


def protect_folders(results: Path) -> None:
    """Makes the folders below the results read-only; the last thing done to them."""
    if results.is_symlink():
        return
    folders = [str(results)]
    for folder in folders:  # grows as it is gone through
        with suppress(OSError), os.scandir(folder) as listing:
            folders += [entry.path for entry in listing if entry.is_dir(follow_symlinks=False)]
    for folder in reversed(folders):
        with suppress(OSError):  # a path may be too long to be named
            os.chmod(folder, 0o555)


def record_file(root: Path, path: Path) -> RecordFile:
    """Makes a file of the record durable and read-only, and returns its entry."""
    size, digest = _secured(path)
    os.chmod(path, stat.S_IMODE(path.stat().st_mode) & 0o444)  # a claim is its owner's alone
    return RecordFile(path=str(path.relative_to(root)), size_bytes=size, sha256=digest)


def _secured(path: str | Path) -> tuple[int, str]:
    """Makes a file durable and returns its size and digest."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        os.fsync(descriptor)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _walk(root: Path, exclusions: list[Exclusion]) -> Iterator[tuple[str, str, os.stat_result]]:
    pending = [] if root.is_symlink() else [""]
    while pending:
        folder = pending.pop()
        try:
            # The payload may have locked itself out of its own folders.
            os.chmod(root / folder, 0o755)
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            exclusions.append(Exclusion(path=shown(folder or "."), reason=error.strerror or str(error)))
            continue
        for entry in entries:
            relative = f"{folder}/{entry.name}".lstrip("/")
            if entry.is_dir(follow_symlinks=False):
                pending.append(relative)
            else:
                yield entry.path, relative, entry.stat(follow_symlinks=False)


def _fault(mode: int, relative: str) -> str | None:
    if stat.S_ISLNK(mode):
        return "symbolic link"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    return None if shown(relative) == relative else "its name is not valid UTF-8"


def shown(path: str) -> str:
    """Returns a path as the record has it: what is no UTF-8 is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
