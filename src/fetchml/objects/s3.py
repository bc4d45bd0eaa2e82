"""Objects in a bucket: `<prefix>sha256/ab/cdef...`, in any server that speaks S3.

A key is the digest of its bytes, so putting it twice, or from two hosts at once, is harmless, and nothing here relies
on conditional writes, which servers ignore in silence. What a batch has uploaded when it breaks off stays: such an
object is whole, nobody refers to it yet, and the next batch with the same bytes finds it.

The server's ETag is never looked at. An upload carries the digest of its bytes, in the signature (http) or as MD5
(https), for servers that check it; the size is asked for afterwards; a reader checks the SHA-256 and leaves a mark
below `<prefix>damaged/` at an object that is wrong, by which the next writer of the same bytes replaces it.
"""

import hashlib
import io
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO, Self, cast

import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import S3Error
from minio.helpers import MAX_MULTIPART_COUNT

from fetchml import durable
from fetchml.errors import Corrupt, FetchmlError, NotFound, Refused, Unavailable
from fetchml.models.ids import is_digest
from fetchml.models.units import MIB
from fetchml.objects.port import Added, ChangedWhileRead, ObjectBatch
from fetchml.objects.s3_client import CONNECTIONS, Keys, is_public, make_client
from fetchml.objects.s3_faults import FAULTS, translate
from fetchml.objects.s3_homes import Homes
from fetchml.objects.s3_place import Credentials, Patience, S3Place
from fetchml.objects.s3_window import FileWindow, Window
from fetchml.objects.source import opened

_CHUNK = MIB
_PART = 16 * MIB
"""What is larger goes up in parts of this size, one after another, so that a lost answer costs one part."""
_UPLOADS = CONNECTIONS
"""Objects of a batch on their way at once; each holds at most one part in memory."""

_ASKED_ONE_BY_ONE = 4
"""Up to so many objects are asked for by name; for more the bucket is listed."""

_DAY = timedelta(days=1)

_BROKEN_OFF = (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.SSLError)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the bucket describes it."""

    size_bytes: int
    modified_at: datetime | None

    def is_aged(self) -> bool:
        """Tells whether it was stored more than a day ago, as far as that is known."""
        return self.modified_at is None or datetime.now(UTC) - self.modified_at > _DAY


class S3Objects:
    """Objects in a bucket.

    Args:
        place: The bucket and the prefix in it; the bucket must exist.
        credentials: Who uses it.
        staging: Folder on this host for what a batch has not uploaded yet; made when it is needed.
        patience: How long and how often the server is asked.
        renew: Returns the credentials as they are now; asked when the server accepts the old ones no more.
        allow_public: Whether to write into a bucket that lists its objects to anyone.
        announces: Whether this home says in the bucket that it stores here, so that nobody else prunes it.
    """

    def __init__(
        self,
        place: S3Place,
        credentials: Credentials,
        staging: Path,
        patience: Patience | None = None,
        *,
        renew: Callable[[], Credentials] | None = None,
        allow_public: bool = True,
        announces: bool = False,
    ) -> None:
        self.place = place
        self._keys = Keys(credentials, renew)
        self._staging = staging
        self._patience = patience or Patience()
        self._made: tuple[int, Minio] | None = None
        self._bucket_seen = False
        self._may_write = allow_public
        self._announces = announces

    def key(self, digest: str) -> str:
        """Returns the key an object has or would have."""
        if not is_digest(digest):
            raise NotFound(f"`{digest[:70]}` is not a SHA-256 digest")
        return f"{self._root}{digest[:2]}/{digest[2:]}"

    def has(self, digest: str) -> bool:
        return self.look(digest) is not None

    def read(self, digest: str) -> bytes:
        sink = io.BytesIO()
        self._fetch(digest, sink)
        return sink.getvalue()

    def copy_to(self, digest: str, target: Path, *, executable: bool = False) -> None:
        self.key(digest)
        with durable.translated("write", target):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(target, flags, 0o600), "w+b", buffering=0) as sink:
                try:
                    self._fetch(digest, sink)
                    os.fchmod(sink.fileno(), 0o555 if executable else 0o444)
                except BaseException:
                    target.unlink(missing_ok=True)
                    raise

    def digests(self, prefix: str = "") -> Iterator[str]:
        yield from self._digests_below(self._root, prefix)

    @property
    def homes(self) -> Homes:
        """Who stores objects here."""
        return Homes(self, self._staging)

    def marks(self, prefixes: Collection[str]) -> dict[str, str]:
        return {}

    @contextmanager
    def batch(self) -> Generator[ObjectBatch]:
        if self._announces:
            self.check_privacy()
            self.homes.announce()
        with _S3Batch(self, self._staging) as batch:
            yield batch
            batch.commit()

    def store(self, digest: str, content: Window, batch: "_S3Batch") -> None:
        """Uploads an object, unless the bucket has it and it is not known to be damaged."""
        there = self.look(digest)
        is_replaced = there is not None
        is_whole = there is not None and there.size_bytes == content.size_bytes and digest not in batch.marked
        # Its age is that of its last use: a tree that was synced again is a young one (decision 21).
        if there is not None and is_whole and not (digest in batch.used and there.is_aged()):
            return
        with self.translated():
            try:
                self.client.put_object(
                    self.place.bucket,
                    self.key(digest),
                    cast("BinaryIO", content),
                    content.size_bytes,
                    part_size=max(_PART, -(-content.size_bytes // MAX_MULTIPART_COUNT)),
                    num_parallel_uploads=1,
                )
            except S3Error as error:
                # The answer to the last request was lost; the next try was told that the upload is over.
                if error.code != "NoSuchUpload":
                    raise
        arrived = self.look(digest)
        has_bytes = 0 if arrived is None else arrived.size_bytes
        if arrived is None or has_bytes != content.size_bytes:
            raise Unavailable(
                f"object `{digest[:12]}` did not arrive whole",
                detail=f"bucket `{self.place.bucket}` at {self.place.endpoint} has {has_bytes} of"
                f" {content.size_bytes} bytes",
                hint="repeat the command; if it happens again, look at the server",
                code="s3-unavailable",
            )
        if is_replaced:
            with self.translated():
                self.client.remove_object(self.place.bucket, self._mark(digest))

    def check_privacy(self) -> None:
        """Refuses a bucket that lists its objects to anyone, unless that is allowed; asked once.

        Raises:
            Refused: It does.
        """
        if not self._may_write:
            if is_public(self.place, self._patience):
                raise Refused(
                    f"the bucket `{self.place.bucket}` is public",
                    detail=f"{self.place.endpoint} lists its objects to anyone, without credentials",
                    hint="take the public access away on the server; if it is meant, set `objects.s3.allow_public`",
                    code="public-bucket",
                )
            self._may_write = True

    def marked(self) -> frozenset[str]:
        """Returns the objects that a reader has found damaged and nobody has replaced since."""
        return frozenset(self._digests_below(self._marks))

    @property
    def _root(self) -> str:
        return f"{self.place.prefix}sha256/"

    @property
    def _marks(self) -> str:
        return f"{self.place.prefix}damaged/sha256/"

    def _mark(self, digest: str) -> str:
        return f"{self._marks}{digest[:2]}/{digest[2:]}"

    @property
    def client(self) -> Minio:
        """The client of this process: connections cannot be shared with a fork."""
        if self._made is None or self._made[0] != os.getpid():
            self._made = (os.getpid(), make_client(self.place, self._keys, self._patience))
        return self._made[1]

    @contextmanager
    def translated(self) -> Generator[None]:
        """Turns errors of the client into those of users."""
        try:
            yield
        except FAULTS as error:
            raise translate(error, self.place, self._keys.now) from error

    def look(self, digest: str) -> Stored | None:
        """Returns what the bucket says of an object; None if it is not there."""
        key = self.key(digest)
        with self.translated():
            try:
                found = self.client.stat_object(self.place.bucket, key)
                return Stored(found.size or 0, found.last_modified)
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
        self._check_bucket()
        return None

    def _check_bucket(self) -> None:
        """Tells a missing object from a missing bucket, once: the answer to a HEAD has no body that says so."""
        if self._bucket_seen:
            return
        with self.translated():
            next(iter(self.client.list_objects(self.place.bucket, prefix=self._root)), None)
        self._bucket_seen = True

    def listed(self, prefix: str) -> Iterator[Object]:
        """Yields what lies below a prefix, in the order of the keys.

        Raises:
            Unavailable: The server lists a page again, which would go on for ever.
        """
        with self.translated():
            last = b""
            for item in self.client.list_objects(self.place.bucket, prefix=prefix, recursive=True):
                name = (item.object_name or "").encode()
                if name <= last:
                    raise self._out_of_order()
                last = name
                yield item

    def _digests_below(self, root: str, prefix: str = "") -> Iterator[str]:
        below = root + prefix if len(prefix) <= 2 else f"{root}{prefix[:2]}/{prefix[2:]}"
        for item in self.listed(below):
            digest = (item.object_name or "").removeprefix(root).replace("/", "", 1)
            if is_digest(digest):
                yield digest

    def _out_of_order(self) -> Unavailable:
        return Unavailable(
            "the S3 server lists its objects out of order",
            detail=f"bucket `{self.place.bucket}` at {self.place.endpoint}: a key came again, or too late",
            hint="repeat the command; if it happens again, the server does not do: S3 lists keys in their order",
            code="s3-unavailable",
        )

    def _fetch(self, digest: str, sink: IO[bytes]) -> None:
        """Writes an object into a file, verified; a body that breaks off is asked for again from its beginning."""
        key, wrong_count = self.key(digest), 0
        for number in range(1, self._patience.tries + 1):
            sink.seek(0)
            sink.truncate()
            try:
                found = self._stream(key, sink)
            except S3Error as error:
                if error.code == "NoSuchKey":
                    raise NotFound(f"there is no object `{digest[:12]}`", detail=str(self.place)) from error
                raise translate(error, self.place, self._keys.now) from error
            except FAULTS as error:
                # A request that failed was repeated by the client already; here it is the body that broke off.
                if not isinstance(error, _BROKEN_OFF) or number == self._patience.tries:
                    raise translate(error, self.place, self._keys.now) from error
                time.sleep(self._patience.pause_s * 2 ** (number - 1))
                continue
            if found == digest:
                return
            wrong_count += 1
            if wrong_count > 1:
                break  # once may have happened on the way
        raise self._damaged(digest)

    def _stream(self, key: str, sink: IO[bytes]) -> str:
        """Writes the bytes of a key into a file and returns their digest."""
        digest = hashlib.sha256()
        response = self.client.get_object(self.place.bucket, key)
        try:
            for chunk in response.stream(_CHUNK, decode_content=False):
                digest.update(chunk)
                sink.write(chunk)
        finally:
            response.close()
        return digest.hexdigest()

    def _damaged(self, digest: str) -> Corrupt:
        """Leaves a mark by which the next batch with the right bytes replaces the object."""
        with suppress(FetchmlError), self.translated():
            self.client.put_object(self.place.bucket, self._mark(digest), io.BytesIO(), 0)
        return Corrupt(
            f"object `{digest[:12]}` is damaged",
            detail=f"the bytes of `{self.key(digest)}` in bucket `{self.place.bucket}` at {self.place.endpoint}"
            " have another SHA-256 than their name",
            hint="queue the run again from the original code, or restore the object from a backup",
            code="object-damaged",
        )


class _S3Batch:
    """New objects in one file on this host, until `commit` uploads them.

    The file has no name, so a process that is killed leaves nothing behind.
    """

    def __init__(self, objects: S3Objects, staging: Path) -> None:
        self._objects = objects
        self._staging = staging
        self.used: set[str] = set()
        """Objects that count as stored now, even if the bucket has them."""
        self._pending: dict[str, Window] = {}
        self._file: IO[bytes] | None = None
        self._files: list[int] = []
        """Files that are uploaded from where they lie."""
        self._end = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()
        self._pending.clear()

    @cached_property
    def marked(self) -> frozenset[str]:
        """Objects that are known to be damaged; asked for only if the bucket has an object of the batch."""
        return self._objects.marked()

    def put_bytes(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self._put(digest, content)
        self.used.add(digest)
        return digest

    def keep(self, digests: Collection[str]) -> set[str]:
        wanted = set(digests) - self._pending.keys()
        if not wanted:
            return set()
        if len(wanted) <= _ASKED_ONE_BY_ONE:
            found = {digest for digest in wanted if self._objects.has(digest)}
        else:
            found = wanted.intersection(self._objects.digests())  # a thousand by each request
        return (wanted - found) | (found & self.marked if found else set())

    def add_file(self, path: Path) -> Added:
        with opened(path) as source:
            if source.is_small:
                added, content = source.read()
                self._put(added.sha256, content)
                return added
            with self._lock:
                size_bytes = 0

                def write(chunk: bytes) -> None:
                    nonlocal size_bytes
                    with durable.translated("write", self._staging):
                        size_bytes += self._write(chunk, size_bytes)

                added = source.pump(write)
                if added.sha256 not in self._pending:
                    self._add(added.sha256, size_bytes)
            return added

    def put_file(self, path: Path, digest: str) -> None:
        if digest in self._pending:
            return
        with durable.translated("read", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            self._files.append(descriptor)
            with open(descriptor, "rb", closefd=False) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise ChangedWhileRead(str(path))
        self._pending[digest] = FileWindow(descriptor, digest, path)

    def commit(self) -> None:
        """Uploads what the bucket does not have; returns when the server has all of it."""
        if not self._pending:
            return
        self._objects.check_privacy()
        pool = ThreadPoolExecutor(min(_UPLOADS, len(self._pending)), "fetchml-upload")
        try:
            uploads = [
                pool.submit(self._objects.store, digest, content, self) for digest, content in self._pending.items()
            ]
            for upload in as_completed(uploads):
                upload.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _put(self, digest: str, content: bytes) -> None:
        with self._lock, durable.translated("write", self._staging):
            if digest not in self._pending:
                self._add(digest, self._write(content))

    def _write(self, content: bytes, ahead: int = 0) -> int:
        """Writes behind the last object that was added and `ahead` bytes of the next; returns the size."""
        if self._file is None:
            durable.make_folder(self._staging)
            self._file = tempfile.TemporaryFile(dir=self._staging, buffering=0)  # noqa: SIM115  # closed by __exit__
        view = memoryview(content)
        offset = self._end + ahead
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[written:], offset + written
        return len(content)

    def _add(self, digest: str, size_bytes: int) -> None:
        descriptor = self._file.fileno() if self._file is not None else -1  # an empty file was never written
        self._pending[digest] = Window(descriptor, self._end, size_bytes)
        self._end += size_bytes
