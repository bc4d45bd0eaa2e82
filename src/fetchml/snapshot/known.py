"""What is known of a project's files from the last time: which were read, and what their digests were.

A file whose device, inode, size and time stamps are as they were is not read again. The cache is one file for each
project: a line with the SHA-256 of the rest, a line of JSON, then the paths. It is written best effort, and one that is
damaged is none.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

from fetchml import durable

_VERSION = 3
"""3: none of the files looks like a secret."""
_RACY_NS = 2_000_000_000
"""A file that was changed so shortly before it was read may be changed again without a trace: time stamps are coarse,
two seconds at worst (git calls such files racily clean)."""

_STAMP_FIELDS = 5
_DIGITS = 64

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, and when content and inode were changed, in nanoseconds."""
Known = dict[bytes, tuple[Stamp, str]]
"""Stamp and digest of files, by path."""


class KnownFiles:
    """The caches of all projects.

    Args:
        folder: Folder of the caches; created when the first one is written. Deleting it loses nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, root: Path) -> Known:
        """Returns what is known of a project; nothing if it cannot be read."""
        try:
            head, _, body = self._file(root).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != head:
                return {}
            about, _, names = body.partition(b"\n")
            value = cast("dict[str, Any]", json.loads(about))
            if value["version"] != _VERSION or value["root"] != os.fspath(root):
                return {}
            paths = names.split(b"\0")[:-1]
            stamps = cast("Iterable[Stamp]", zip(*[iter(value["stamps"])] * _STAMP_FIELDS, strict=True))
            joined = cast("str", value["digests"])
            digests = [joined[start : start + _DIGITS] for start in range(0, len(joined), _DIGITS)]
            return dict(zip(paths, zip(stamps, digests, strict=True), strict=True))
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def save(self, root: Path, known: Known) -> None:
        """Replaces what is known of a project, if that can be done."""
        about = {
            "version": _VERSION,
            "root": os.fspath(root),
            "stamps": list(chain.from_iterable(stamp for stamp, _ in known.values())),
            "digests": "".join(digest for _, digest in known.values()),
        }
        # Columns rather than rows, and names as the bytes they are: this is read by every command that captures.
        body = json.dumps(about).encode() + b"\n" + b"".join(path + b"\0" for path in known)
        temporary = self.folder / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                # Not synced: losing it costs a second, waiting for the disk costs every command.
                temporary.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                os.replace(temporary, self._file(root))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def _file(self, root: Path) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def stamp_of(status: os.stat_result) -> Stamp:
    """Returns what changes when a file does."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def unchanged(known: Mapping[bytes, tuple[Stamp, str]], path: bytes, status: os.stat_result) -> str | None:
    """Returns the digest of a file that is as it was when it was read, else None."""
    found = known.get(path)
    return found[1] if found is not None and found[0] == stamp_of(status) else None


def is_settled(status: os.stat_result, read_at_ns: int) -> bool:
    """Tells whether a change after a moment would show in the time stamps of a file."""
    return max(status.st_mtime_ns, status.st_ctime_ns) + _RACY_NS < read_at_ns
