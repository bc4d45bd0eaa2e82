"""Objects as files: `<root>/sha256/ab/cdef...`, read-only."""

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Self

from fetchml import durable
from fetchml.errors import Corrupt, NotFound
from fetchml.models.ids import is_digest
from fetchml.objects.port import Added, ChangedWhileRead, ObjectBatch
from fetchml.objects.source import opened

_CHUNK = 1024 * 1024
_YOUNG_S = 3600
"""Up to this age an object is as good as new; ages count in days."""
_SETTLED_S = 60
"""Age at which the kernel has long written a name to the disk by itself."""
_COARSE_S = 2.0
"""How coarse the time stamps of a file system are at worst."""
_SOUND_MODE = 0o444
"""Mode of an object; a reader that finds one damaged takes the mode away, and the next writer replaces it."""
_SYNC_THREADS = 16
"""Measured on ext4: 300 files synced one by one take 90 ms, by 16 threads 48 ms; the journal commits them together."""


class DirectoryObjects:
    """Objects below a folder on a local disk.

    Args:
        root: Folder of the objects; created when the first one is stored.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Returns where an object is or would be."""
        if not is_digest(digest):
            raise NotFound(f"`{digest[:70]}` is not a SHA-256 digest")
        return self.root / "sha256" / digest[:2] / digest[2:]

    def has(self, digest: str) -> bool:
        return durable.exists(self.path(digest))

    def read(self, digest: str) -> bytes:
        path = self.path(digest)
        if path.is_symlink():
            raise _link(digest, path)
        with durable.translated("read", path):
            content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise _damaged(digest, path)
        return content

    def copy_to(self, digest: str, target: Path, *, executable: bool = False) -> None:
        path = self.path(digest)
        if path.is_symlink():
            raise _link(digest, path)
        with durable.translated("read", path):
            source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with durable.translated("write", target):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                sink = os.open(target, flags, 0o600)
                try:
                    found = _pump(source, sink)
                    os.fchmod(sink, 0o555 if executable else 0o444)
                finally:
                    os.close(sink)
        finally:
            os.close(source)
        if found != digest:
            target.unlink(missing_ok=True)
            raise _damaged(digest, path)

    def digests(self, prefix: str = "") -> Iterator[str]:
        for folder in _names_in(self.root / "sha256"):
            if not folder.startswith(prefix[:2]):
                continue
            for name in _names_in(self.root / "sha256" / folder):
                digest = folder + name
                if digest.startswith(prefix) and is_digest(digest):
                    yield digest

    def marks(self, prefixes: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        before_ns = (time.time() - _COARSE_S) * 1e9
        for prefix in prefixes:
            with suppress(OSError):
                status = os.lstat(f"{self.root}/sha256/{prefix}")
                # A change within one tick of the file system's clock would leave the time stamps as they are.
                if max(status.st_mtime_ns, status.st_ctime_ns) < before_ns:
                    found[prefix] = f"{status.st_dev} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
        return found

    @contextmanager
    def batch(self) -> Generator[ObjectBatch]:
        with _DirectoryBatch(self) as batch:
            yield batch
            batch.commit()


class _DirectoryBatch:
    """New objects under temporary names until `commit` syncs and links them all."""

    def __init__(self, objects: DirectoryObjects) -> None:
        self._objects = objects
        self._pending: dict[str, Path] = {}
        self._damaged: set[str] = set()
        self._unsure: set[str] = set()
        """Folders of objects that were there already, linked so lately that the disk may not have their names."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for temporary in self._pending.values():
            with suppress(OSError):
                temporary.unlink()
        self._pending.clear()

    def put_bytes(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if self._is_new(digest):
            self._write(digest, content)
        elif digest not in self._pending:
            self._use(self._objects.path(digest))
        return digest

    @staticmethod
    def _use(path: Path) -> None:
        """Makes an object a young one: its age is that of its last use (decision 21)."""
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _YOUNG_S:  # another time stamp is another sync of its folder
                os.utime(path)

    def keep(self, digests: Collection[str]) -> set[str]:
        return {digest for digest in digests if digest not in self._pending and self._is_new(digest)}

    def add_file(self, path: Path) -> Added:
        with opened(path) as source:
            if source.is_small:
                added, content = source.read()
                if self._is_new(added.sha256):
                    self._write(added.sha256, content)
                return added
            temporary = self._new_file()
            try:
                with _created(temporary) as sink:
                    added = source.pump(lambda chunk: _written(sink, chunk, temporary))
                if not self._is_new(added.sha256) or self._pending.setdefault(added.sha256, temporary) != temporary:
                    temporary.unlink()
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            return added

    def put_file(self, path: Path, digest: str) -> None:
        if not self._is_new(digest):
            return
        temporary = self._new_file()
        with durable.translated("read", path):
            source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with durable.translated("write", temporary), temporary.open("xb", buffering=0) as sink:
                self._pending[digest] = temporary
                found = _pump(source, sink.fileno())
        finally:
            os.close(source)
        if found != digest:
            del self._pending[digest]
            temporary.unlink(missing_ok=True)
            raise ChangedWhileRead(str(path))

    def commit(self) -> None:
        """Makes every object of the batch durable and visible."""
        folders = {self._objects.path(digest).parent for digest in self._pending}
        for folder in folders:
            durable.make_folder(folder)
        folders |= {Path(folder) for folder in self._unsure}
        if not folders:
            return
        with durable.translated("write", self._objects.root):
            _at_once(durable.sync_file, list(self._pending.values()))
            for digest, temporary in self._pending.items():
                temporary.chmod(_SOUND_MODE)
                if digest in self._damaged:
                    os.replace(temporary, self._objects.path(digest))
                    continue
                with suppress(FileExistsError):  # another process stored the same bytes
                    os.link(temporary, self._objects.path(digest))
            _at_once(durable.sync_folder, list(folders))

    def _is_new(self, digest: str) -> bool:
        if digest in self._pending:
            return False
        if not is_digest(digest):
            raise NotFound(f"`{digest[:70]}` is not a SHA-256 digest")
        folder = f"{self._root}/{digest[:2]}"  # paths as text: ten thousand are looked for in an unchanged tree
        try:
            status = os.lstat(f"{folder}/{digest[2:]}")
        except FileNotFoundError:
            return True
        if stat.S_IMODE(status.st_mode) != _SOUND_MODE:
            self._damaged.add(digest)
            return True
        if time.time() - status.st_ctime < _SETTLED_S:  # a link changes the inode
            self._unsure.add(folder)
        return False

    def _write(self, digest: str, content: bytes) -> None:
        temporary = self._new_file()
        try:
            with _created(temporary) as sink:
                _written(sink, content, temporary)
            if self._pending.setdefault(digest, temporary) != temporary:
                temporary.unlink()  # another thread came across the same bytes
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _new_file(self) -> Path:
        return self._staging / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(12)}"

    @cached_property
    def _root(self) -> str:
        return str(self._objects.root / "sha256")

    @cached_property
    def _staging(self) -> Path:
        folder = self._objects.root / "incoming"
        durable.make_folder(folder)
        return folder


def _names_in(folder: Path) -> list[str]:
    """Returns the names in a folder; none if it is no folder."""
    try:
        with durable.translated("read", folder):
            return os.listdir(folder)
    except NotFound:
        return []


def _at_once(sync: Callable[[Path], None], paths: list[Path]) -> None:
    """Calls what waits for the disk for several paths at a time."""
    if len(paths) <= 1:
        for path in paths:
            sync(path)
        return
    with ThreadPoolExecutor(min(_SYNC_THREADS, len(paths))) as pool:
        list(pool.map(sync, paths))


@contextmanager
def _created(path: Path) -> Generator[int]:
    with durable.translated("write", path):
        sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield sink
    finally:
        os.close(sink)


def _written(sink: int, content: bytes, path: Path) -> None:
    with durable.translated("write", path):
        durable.write_all(sink, content)


def _pump(source: int, sink: int) -> str:
    """Copies a file and returns the digest of what was copied."""
    digest = hashlib.sha256()
    while chunk := os.read(source, _CHUNK):
        digest.update(chunk)
        durable.write_all(sink, chunk)
    return digest.hexdigest()


def _link(digest: str, path: Path) -> Corrupt:
    return Corrupt(
        f"object `{digest[:12]}` is a link",
        detail=f"`{path}` may lead to anything",
        hint="put the file itself there, or queue the run again from the original code",
        code="object-damaged",
    )


def _damaged(digest: str, path: Path) -> Corrupt:
    with suppress(OSError):
        path.chmod(0o600)
        os.utime(path.parent)  # the mark of its group is another one now
    return Corrupt(
        f"object `{digest[:12]}` is damaged",
        detail=f"the bytes in `{path}` have another SHA-256 than their name",
        hint="queue the run again from the original code, or restore the file from a backup",
        code="object-damaged",
    )
