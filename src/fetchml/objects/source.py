"""A file on its way into a store: opened without following links, read once, and refused if it changes meanwhile."""

import hashlib
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from fetchml.objects.port import Added, ChangedWhileRead

CHUNK = 1024 * 1024
SMALL_BYTES = 4 * CHUNK
"""What is no larger is read whole, so that nothing is written of what the store has already."""


class Source:
    """An open file.

    Args:
        path: Its path, for errors.
        descriptor: It, open for reading.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._before = os.fstat(descriptor)
        if not stat.S_ISREG(self._before.st_mode):
            raise ChangedWhileRead(str(path))

    @property
    def is_small(self) -> bool:
        """Whether it may be read whole."""
        return self._before.st_size <= SMALL_BYTES

    def read(self) -> tuple[Added, bytes]:
        """Returns the whole content, and what it is."""
        parts: list[bytes] = []
        left = self._before.st_size + 1  # one more than there should be: a file that grew is seen at once
        while left > 0 and (chunk := os.read(self._descriptor, left)):
            parts.append(chunk)
            left -= len(chunk)
        content = b"".join(parts)
        return self._added(hashlib.sha256(content).hexdigest(), len(content)), content

    def pump(self, write: Callable[[bytes], object]) -> Added:
        """Gives the content to a function, part by part, and returns what it is."""
        digest, size_bytes = hashlib.sha256(), 0
        while chunk := os.read(self._descriptor, CHUNK):
            digest.update(chunk)
            write(chunk)
            size_bytes += len(chunk)
        return self._added(digest.hexdigest(), size_bytes)

    def _added(self, digest: str, size_bytes: int) -> Added:
        before, after = self._before, os.fstat(self._descriptor)
        if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
            size_bytes,
            after.st_mtime_ns,
            after.st_ctime_ns,
        ) or after.st_size != size_bytes:
            raise ChangedWhileRead(str(self._path))
        return Added(digest, after)


@contextmanager
def opened(path: Path) -> Generator[Source]:
    """Opens a file; one that is replaced by a link or a pipe is an error, and keeps nobody waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield Source(path, descriptor)
    finally:
        os.close(descriptor)
