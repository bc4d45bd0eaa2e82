"""What is known of a project's files from the last time: which were read, and what their digests were.

A file whose device, inode, size and time stamps are as they were is not read again. The cache is one file for each
project: a line with the SHA-256 of the rest, then JSON. It is written best effort, and one that is damaged is none.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.models.ids import is_digest

_VERSION = 1
_RACY_NS = 2_000_000_000
"""A file that was changed so shortly before it was read may be changed again without a trace: time stamps are coarse,
two seconds at worst (git calls such files racily clean)."""

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
            value = cast("dict[str, Any]", json.loads(body))
            if value["version"] != _VERSION or value["root"] != os.fspath(root):
                return {}
            return {
                os.fsencode(path): ((device, inode, size, changed, altered), digest)
                for path, device, inode, size, changed, altered, digest in value["files"]
                if is_digest(digest)
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def save(self, root: Path, known: Known) -> None:
        """Replaces what is known of a project, if that can be done."""
        files = [[os.fsdecode(path), *stamp, digest] for path, (stamp, digest) in known.items()]
        body = json.dumps({"version": _VERSION, "root": os.fspath(root), "files": files}).encode()
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
