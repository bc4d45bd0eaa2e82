"""What is known of a project's files from the last time: which were read, and what their digests were.

A file whose device, inode, size and time stamps are as they were is not read again. The cache is one file for each
project: a line with the SHA-256 of the next, that line of JSON about the whole project, and the body, whose SHA-256 is
in that line: a line of JSON, then the paths. It is written best effort, and one that is damaged is none.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast

from fetchml import durable

_VERSION = 4
"""4: what the whole project was, too. 3: none of the files looks like a secret."""
_RACY_NS = 2_000_000_000
"""A file that was changed so shortly before it was read may be changed again without a trace: time stamps are coarse,
two seconds at worst (git calls such files racily clean)."""

_STAMP_FIELDS = 5
_DIGITS = 64

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, and when content and inode were changed, in nanoseconds."""
Known = dict[bytes, tuple[Stamp, str]]
"""Stamp and digest of files, by path."""


@dataclass(frozen=True, slots=True)
class Last:
    """What a project was the last time it was captured."""

    marks: dict[str, str] = field(default_factory=dict[str, str])
    """Marks of the groups that the objects of all known files were seen in; see `ObjectStore.marks`."""
    seen: str | None = None
    """Hash of all that was found in the project, if the same is the same snapshot again; else None."""
    commit_id: str = ""
    file_count: int = 0
    size_bytes: int = 0
    notes: tuple[str, ...] = ()


class Memory:
    """What is known of one project; read when it is asked for.

    Args:
        head: The line about the whole project.
        body: What is known of its files, as it was written.
    """

    def __init__(self, head: Mapping[str, Any] | None = None, body: bytes = b"") -> None:
        self._body = body
        self._digest = None if head is None else head["body"]
        self.last = Last() if head is None else _last(head["last"])

    def files(self) -> Known:
        """Returns what is known of its files; nothing if it cannot be read."""
        if hashlib.sha256(self._body).hexdigest() != self._digest:
            return {}
        try:
            about, _, names = self._body.partition(b"\n")
            value = cast("dict[str, Any]", json.loads(about))
            paths = names.split(b"\0")[:-1]
            stamps = cast("Iterable[Stamp]", zip(*[iter(value["stamps"])] * _STAMP_FIELDS, strict=True))
            joined = cast("str", value["digests"])
            digests = [joined[start : start + _DIGITS] for start in range(0, len(joined), _DIGITS)]
            return dict(zip(paths, zip(stamps, digests, strict=True), strict=True))
        except (ValueError, KeyError, TypeError):
            return {}


class KnownFiles:
    """The caches of all projects.

    Args:
        folder: Folder of the caches; created when the first one is written. Deleting it loses nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, root: Path) -> Memory:
        """Returns what is known of a project; nothing if it cannot be read."""
        try:
            digest, _, rest = self._file(root).read_bytes().partition(b"\n")
            line, _, body = rest.partition(b"\n")
            if hashlib.sha256(line).hexdigest().encode() == digest:
                head = cast("dict[str, Any]", json.loads(line))
                if head["version"] == _VERSION and head["root"] == os.fspath(root):
                    return Memory(head, body)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Memory()

    def load(self, root: Path) -> Known:
        """Returns what is known of a project's files; nothing if it cannot be read."""
        return self.open(root).files()

    def save(self, root: Path, known: Known, last: Last | None = None) -> None:
        """Replaces what is known of a project, if that can be done."""
        about = {
            "stamps": list(chain.from_iterable(stamp for stamp, _ in known.values())),
            "digests": "".join(digest for _, digest in known.values()),
        }
        # Columns rather than rows, and names as the bytes they are: this is read by every command that captures.
        body = json.dumps(about).encode() + b"\n" + b"".join(path + b"\0" for path in known)
        head = {
            "version": _VERSION,
            "root": os.fspath(root),
            "body": hashlib.sha256(body).hexdigest(),
            "last": asdict(last or Last()),
        }
        line = json.dumps(head).encode()
        temporary = self.folder / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                # Not synced: losing it costs a second, waiting for the disk costs every command.
                temporary.write_bytes(b"\n".join((hashlib.sha256(line).hexdigest().encode(), line, body)))
                os.replace(temporary, self._file(root))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def _file(self, root: Path) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _last(value: dict[str, Any]) -> Last:
    value["notes"] = tuple(value["notes"])
    return Last(**value)


def stamp_of(status: os.stat_result) -> Stamp:
    """Returns what changes when a file does."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def unchanged(known: Mapping[bytes, tuple[Stamp, str]], path: bytes, status: os.stat_result) -> str | None:
    """Returns the digest of a file that is as it was when it was read, else None."""
    found = known.get(path)
    return found[1] if found is not None and found[0] == stamp_of(status) else None


def is_settled(status: os.stat_result, read_at_ns: int) -> bool:
    """Tells whether a change after a moment would show in the time stamps of a file."""
    return is_settled_at(max(status.st_mtime_ns, status.st_ctime_ns), read_at_ns)


def is_settled_at(changed_at_ns: int, read_at_ns: int) -> bool:
    """Tells the same of a time stamp."""
    return changed_at_ns + _RACY_NS < read_at_ns
