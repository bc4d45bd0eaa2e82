"""What an upload reads: a part of a file, or a file where it lies."""

import hashlib
import os
from pathlib import Path

from fetchml.objects.port import ChangedWhileRead


class Window:
    """A part of a file that is read like a file; each has a place of its own, so threads may share the file."""

    def __init__(self, descriptor: int, offset: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self._offset = offset
        self._left = size_bytes

    def read(self, size: int = -1) -> bytes:
        """Returns the next bytes, at most that many; none at the end."""
        wanted = self._left if size < 0 else min(size, self._left)
        content = os.pread(self._descriptor, wanted, self._offset) if wanted else b""
        self._offset += len(content)
        self._left -= len(content)
        return content


class FileWindow(Window):
    """A file where it lies; its last bytes are given out only if all of them have the digest they should have."""

    def __init__(self, descriptor: int, digest: str, path: Path) -> None:
        super().__init__(descriptor, 0, os.fstat(descriptor).st_size)
        self._digest = digest
        self._path = path
        self._found = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        content = super().read(wanted)
        self._found.update(content)
        is_wrong = not self._left and self._found.hexdigest() != self._digest
        if is_wrong or (wanted and not content):
            raise ChangedWhileRead(str(self._path))
        return content
