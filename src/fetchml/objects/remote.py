"""The objects of a lab, from another host: read through a folder here, sent to the gateway when they are new."""

import os
import secrets
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fetchml import durable
from fetchml.errors import Corrupt, NotFound, Refused
from fetchml.link.client import Link
from fetchml.link.wire import CHUNK_BYTES
from fetchml.models.ids import is_digest
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.port import Added, ChangedWhileRead, ObjectBatch


class RemoteObjects:
    """Objects of a gateway, of which this host keeps those it has used.

    Args:
        near: The folder on this host; what is in it can be fetched again.
        link: The gateway.
    """

    def __init__(self, near: DirectoryObjects, link: Link) -> None:
        self.near = near
        self._link = link

    def has(self, digest: str) -> bool:
        return self.near.has(digest) or not self.missing([digest])

    def read(self, digest: str) -> bytes:
        return self._with(digest, lambda: self.near.read(digest))

    def copy_to(self, digest: str, target: Path, *, executable: bool = False) -> None:
        self._with(digest, lambda: self.near.copy_to(digest, target, executable=executable))

    def digests(self, prefix: str = "") -> Iterator[str]:
        raise Refused(
            "the objects of a lab are listed on its control host",
            hint="call the command there",
            code="on-control-host",
        )

    def marks(self, prefixes: Collection[str]) -> dict[str, str]:
        return {}  # what is near says nothing about the lab

    @contextmanager
    def batch(self) -> Generator[ObjectBatch]:
        with self.near.batch() as near:
            batch = _RemoteBatch(near)
            yield batch
        for digest in self.missing(sorted(batch.wanted)):
            self._send(digest)

    def missing(self, digests: Collection[str]) -> list[str]:
        """Returns which of some objects the lab lacks."""
        if not digests:
            return []
        return list(self._link.post("/v1/objects/missing", {"digests": list(digests)}).json()["missing"])

    def _with(self, digest: str, use: Callable[[], bytes | None]) -> bytes:
        try:
            return use() or b""
        except (NotFound, Corrupt):
            self._fetch(digest)
        return use() or b""

    def _fetch(self, digest: str) -> None:
        """Brings an object to this host; it is there when it is whole and its digest is right."""
        if not is_digest(digest):
            raise NotFound(f"`{digest[:70]}` is not a SHA-256 digest")
        durable.make_folder(self.near.root)
        temporary = self.near.root / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(12)}"
        try:
            with durable.translated("write", temporary), temporary.open("xb") as sink:
                offset, size = 0, None
                while size is None or offset < size:
                    reply = self._link.get(f"/v1/objects/{digest}", {"offset": offset})
                    size = reply.size_bytes or 0
                    sink.write(reply.content)
                    offset += len(reply.content)
                    if not reply.content:
                        break
            try:
                with self.near.batch() as batch:
                    batch.put_file(temporary, digest)
            except ChangedWhileRead as error:
                raise Corrupt(f"object `{digest[:12]}` arrived damaged", code="object-damaged") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _send(self, digest: str) -> None:
        path = self.near.path(digest)
        with durable.translated("read", path):
            source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            total, offset = os.fstat(source).st_size, 0
            while True:
                part = os.pread(source, CHUNK_BYTES, offset)
                query = {"offset": offset, "total": total}
                self._link.call("PUT", f"/v1/objects/{digest}", part, query=query)
                offset += len(part)
                if offset >= total or not part:
                    return
        finally:
            os.close(source)


class _RemoteBatch:
    """A batch of the folder on this host that remembers what the lab has to have when it ends."""

    def __init__(self, near: ObjectBatch) -> None:
        self._near = near
        self.wanted: set[str] = set()

    def keep(self, digests: Collection[str]) -> set[str]:
        missing = self._near.keep(digests)
        self.wanted |= set(digests) - missing
        return missing

    def add_file(self, path: Path) -> Added:
        added = self._near.add_file(path)
        self.wanted.add(added.sha256)
        return added

    def put_bytes(self, content: bytes) -> str:
        digest = self._near.put_bytes(content)
        self.wanted.add(digest)
        return digest

    def put_file(self, path: Path, digest: str) -> None:
        self._near.put_file(path, digest)
        self.wanted.add(digest)
