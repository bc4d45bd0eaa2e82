"""What a run left in its results folder: listed, hashed, made durable and read-only."""

import hashlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fetchml.models.manifest import Artifact, Artifacts, Exclusion, RecordFile

MAX_ARTIFACTS = 200_000


def collect(results: Path, now: datetime) -> Artifacts:
    """Protects a results folder and returns what is in it, sorted by path.

    Links, devices and unreadable files are named as exclusions and never followed.
    """
    files: list[Artifact] = []
    exclusions: list[Exclusion] = []
    for path, relative, status in _walk(results, exclusions):
        if len(files) >= MAX_ARTIFACTS:
            exclusions.append(Exclusion(path=relative, reason=f"more than {MAX_ARTIFACTS} files"))
            break
        kind = _fault(status.st_mode, relative)
        if kind is not None:
            exclusions.append(Exclusion(path=_shown(relative), reason=kind))
            continue
        try:
            os.chmod(path, stat.S_IMODE(status.st_mode) & 0o555 | 0o400)
            size, digest = _secured(path)
        except OSError as error:
            exclusions.append(Exclusion(path=relative, reason=error.strerror or str(error)))
            continue
        modified = datetime.fromtimestamp(max(0.0, status.st_mtime), UTC)
        files.append(Artifact(path=relative, size_bytes=size, sha256=digest, modified=modified))
    return Artifacts(
        discovered_at=now,
        files=tuple(sorted(files, key=lambda item: item.path)),
        total_size_bytes=sum(item.size_bytes for item in files),
        exclusions=tuple(sorted(exclusions, key=lambda item: item.path)),
    )


def protect_folders(results: Path) -> None:
    """Makes the folders below the results read-only; the last thing done to them."""
    for current, folders, _ in os.walk(results, topdown=False):
        for name in folders:
            path = os.path.join(current, name)
            if not os.path.islink(path):
                os.chmod(path, 0o555)
    os.chmod(results, 0o555)


def record_file(root: Path, path: Path) -> RecordFile:
    """Makes a file of the record durable and read-only, and returns its entry."""
    size, digest = _secured(path)
    os.chmod(path, 0o444)
    return RecordFile(path=str(path.relative_to(root)), size_bytes=size, sha256=digest)


def _secured(path: str | Path) -> tuple[int, str]:
    """Makes a file durable and returns its size and digest."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        os.fsync(descriptor)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _walk(root: Path, exclusions: list[Exclusion]) -> Iterator[tuple[str, str, os.stat_result]]:
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            # The payload may have locked itself out of its own folders.
            os.chmod(root / folder, 0o755)
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            exclusions.append(Exclusion(path=_shown(folder or "."), reason=error.strerror or str(error)))
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
    return None if _shown(relative) == relative else "its name is not valid UTF-8"


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
