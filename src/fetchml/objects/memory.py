"""Objects in memory: a faithful twin of the directory."""

import hashlib
import os
import threading
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fetchml import durable
from fetchml.errors import Corrupt, NotFound
from fetchml.models.ids import is_digest
from fetchml.objects.port import Added, ChangedWhileRead, ObjectBatch
from fetchml.objects.source import opened


class MemoryObjects:
    """Objects as values."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, bytes] = {}
        self._damaged: set[str] = set()

    def has(self, digest: str) -> bool:
        self._check(digest)
        return digest in self._objects

    def read(self, digest: str) -> bytes:
        self._check(digest)
        content = self._objects.get(digest)
        if content is None:
            raise NotFound(f"there is no object `{digest[:12]}`")
        if hashlib.sha256(content).hexdigest() != digest:
            self._damaged.add(digest)
            raise Corrupt(f"object `{digest[:12]}` is damaged", code="object-damaged")
        return content

    def copy_to(self, digest: str, target: Path, *, executable: bool = False) -> None:
        content = self.read(digest)
        with durable.translated("write", target):
            with target.open("xb") as file:
                file.write(content)
            target.chmod(0o555 if executable else 0o444)

    def digests(self, prefix: str = "") -> Iterator[str]:
        yield from [digest for digest in tuple(self._objects) if digest.startswith(prefix)]

    def marks(self, prefixes: Collection[str]) -> dict[str, str]:
        return {}

    @contextmanager
    def batch(self) -> Generator[ObjectBatch]:
        batch = _MemoryBatch(self)
        yield batch
        with self._lock:
            self._objects.update(batch.pending)
            self._damaged -= batch.pending.keys()

    def damage(self, digest: str, content: bytes) -> None:
        """Replaces stored bytes, as a failing disk would; for tests."""
        self._objects[digest] = content

    def is_sound(self, digest: str) -> bool:
        """Tells whether an object is there and nobody has found it damaged."""
        return self.has(digest) and digest not in self._damaged

    def _check(self, digest: str) -> None:
        if not is_digest(digest):
            raise NotFound(f"`{digest[:70]}` is not a SHA-256 digest")


class _MemoryBatch:
    def __init__(self, objects: MemoryObjects) -> None:
        self._objects = objects
        self.pending: dict[str, bytes] = {}

    def keep(self, digests: Collection[str]) -> set[str]:
        return {digest for digest in digests if digest not in self.pending and not self._objects.is_sound(digest)}

    def add_file(self, path: Path) -> Added:
        with opened(path) as source:
            added, content = source.read()
        self.pending[added.sha256] = content
        return added

    def put_bytes(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.pending[digest] = content
        return digest

    def put_file(self, path: Path, digest: str) -> None:
        with durable.translated("read", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ChangedWhileRead(str(path))
        self.pending[digest] = content
