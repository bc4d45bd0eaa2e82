"""A dataset in a bucket of an S3 server: the keys below a prefix as the files of a folder, or one key as a file.

Time and ETag of an object tell that it was replaced, and nothing else: they are no checksum. What a folder cannot hold
is refused, as a copy without it would be another dataset.
"""

import copy
import os
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat

import urllib3
from minio import Minio
from minio.error import S3Error

from fetchml.datasets.bucket_url import SCHEME
from fetchml.datasets.hashing import new_hash
from fetchml.datasets.listing import Entry, make_listing, path_fault
from fetchml.datasets.source import CHUNK, Check, Sink, changed, go_on
from fetchml.errors import ConfigError, Forbidden, NotFound, Refused, Unavailable
from fetchml.models.dataset import SHA256, Algorithm
from fetchml.objects.s3_client import CONNECTIONS, Keys, make_client
from fetchml.objects.s3_faults import FAULTS, translate
from fetchml.objects.s3_place import Credentials, Patience, S3Place
from fetchml.snapshot.capture import shown

_SHOWN = 10
_BROKEN_OFF = (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.SSLError)


@dataclass(frozen=True, slots=True)
class BucketFile:
    """An object of a dataset."""

    entry: Entry
    state: str
    """Changes when the object is replaced."""


class BucketSource:
    """A dataset in a bucket.

    Args:
        place: The bucket; its prefix is that of the dataset, and ends with a slash where it is a folder.
        credentials: Who reads it.
        patience: How long and how often the server is asked.
        renew: Returns the credentials as they are now; asked when the server accepts the old ones no more.
    """

    def __init__(
        self,
        place: S3Place,
        credentials: Credentials,
        patience: Patience | None = None,
        renew: Callable[[], Credentials] | None = None,
    ) -> None:
        self.place = place
        self._keys = Keys(credentials, renew)
        self._patience = patience or Patience()
        self._client: Minio = make_client(place, self._keys, self._patience)

    @property
    def name(self) -> str:
        """The address of the dataset."""
        return f"{SCHEME}{self.place.bucket}/{self.place.prefix}"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return not self.place.prefix or self.place.prefix.endswith("/")

    def files(self) -> tuple[BucketFile, ...]:
        """Returns what the dataset holds, sorted by the bytes of the path.

        Raises:
            NotFound: There is nothing.
            Refused: A key cannot be the path of a file.
            FetchmlError: The server says no, or nothing.
        """
        found = sorted(self._folder() if self.is_folder else self._file(), key=lambda item: item.entry.path)
        if not found:
            raise NotFound(f"there is nothing at `{self.name}`", hint="check bucket and prefix", code="no-such-data")
        faults = list(_faults([item.entry.path for item in found])) if self.is_folder else []
        if faults:
            more = [f"... and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
            raise Refused(
                f"the keys below `{self.name}` cannot be the files of a folder",
                detail="\n".join(faults[:_SHOWN] + more),
                hint="rename or remove these objects, or add a prefix without them",
                code="dataset-unreadable",
            )
        return tuple(found)

    def or_file(self) -> "BucketSource":
        """Returns this folder, or the object that has its name without the slash if there are no keys below it.

        Raises:
            ConfigError: There are both.
            FetchmlError: The server says no, or nothing.
        """
        file = copy.copy(self)
        file.place = replace(self.place, prefix=self.place.prefix[:-1])
        has_folder = next(self._folder(), None) is not None
        if next(file._file(), None) is None:  # noqa: SLF001  # of the same class
            return self
        if has_folder:
            raise ConfigError(
                f"`{file.name}` is an object, and there are objects below it",
                hint=f"`{self.name}` means those below it; to have the object, copy it to another prefix",
                code="dataset-unreadable",
            )
        return file

    def check(self, wanted: tuple[Entry, ...]) -> None:
        there = {item.entry.path: item.entry.size_bytes for item in self.files()}
        faults = [
            f"{shown(entry.path) or 'the object'}: {'changed' if entry.path in there else 'removed'}"
            for entry in wanted
            if entry.kind != "file" or there.get(entry.path) != entry.size_bytes
        ]
        if faults:
            raise changed(self.name, faults)

    def append(self, entry: Entry, sink: Sink, check: Check) -> None:
        for number in range(1, self._patience.tries + 1):
            if sink.seek(0, os.SEEK_END) >= entry.size_bytes:
                break
            try:
                self._append(entry, sink, check)
                if sink.tell() == entry.size_bytes:
                    return
                raise changed(self.name, [f"{shown(entry.path)}: changed"])
            except S3Error as error:
                if error.code in ("NoSuchKey", "InvalidRange"):
                    how = "removed" if error.code == "NoSuchKey" else "changed"
                    raise changed(self.name, [f"{shown(entry.path) or 'the object'}: {how}"]) from error
                raise self._translated(error) from error
            except FAULTS as error:
                # A request that failed was repeated by the client already; here it is the body that broke off.
                if not isinstance(error, _BROKEN_OFF) or number == self._patience.tries:
                    raise self._translated(error) from error
                time.sleep(self._patience.pause_s * 2 ** (number - 1))
        if sink.tell() != entry.size_bytes:
            raise changed(self.name, [f"{shown(entry.path)}: changed"])

    def link(self, entry: Entry) -> bytes:
        raise changed(self.name, [f"{shown(entry.path)}: is a link, which a bucket cannot hold"])

    def hashed(
        self, entries: tuple[Entry, ...], algorithm: Algorithm = SHA256, check: Check = go_on
    ) -> Iterator[Entry]:
        """Yields files with the digest of what is in the bucket now; all of it is read and nothing kept.

        Raises:
            Refused: A file is gone, or has another size.
            FetchmlError: It cannot be read.
        """
        with ThreadPoolExecutor(CONNECTIONS, "fetchml-download") as pool:
            try:
                yield from pool.map(self._hashed, entries, repeat(algorithm), repeat(check))
            finally:
                pool.shutdown(cancel_futures=True)

    def listing(self, algorithm: Algorithm = SHA256, check: Check = go_on) -> bytes:
        """Returns the listing of what is in the bucket now; all of it is read.

        Raises:
            NotFound: There is nothing.
            Refused: It changes meanwhile, or a key cannot be the path of a file.
            FetchmlError: It cannot be read.
        """
        entries = tuple(item.entry for item in self.files())
        return make_listing(self.hashed(entries, algorithm, check), algorithm, is_folder=self.is_folder)

    def _hashed(self, entry: Entry, algorithm: Algorithm, check: Check) -> Entry:
        sink = _Hash(algorithm)
        self.append(entry, sink, check)
        return Entry(entry.kind, entry.path, entry.size_bytes, sink.digest.digest().hex())

    def _append(self, entry: Entry, sink: Sink, check: Check) -> None:
        start = sink.tell()
        response = self._client.get_object(self.place.bucket, self._key(entry), offset=start)
        try:
            # The status does not tell: rclone says 200 and sends the part that was asked for.
            if start and not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
                sink.seek(0)  # the server sends all of it
                sink.truncate()
            for chunk in response.stream(CHUNK, decode_content=False):
                check()
                if sink.tell() + len(chunk) > entry.size_bytes:
                    raise changed(self.name, [f"{shown(entry.path)}: changed"])
                sink.write(chunk)
        finally:
            response.close()

    def _key(self, entry: Entry) -> str:
        return self.place.prefix + entry.path.decode("utf-8")

    def _folder(self) -> Iterator[BucketFile]:
        prefix = self.place.prefix
        with self._translating():
            for item in self._client.list_objects(self.place.bucket, prefix=prefix, recursive=True):
                path = (item.object_name or "").removeprefix(prefix)
                size = item.size or 0
                # An empty object that ends with a slash is what tools leave for a folder; empty folders do not count.
                if size == 0 and (not path or path.endswith("/")):
                    continue
                entry = Entry("file", path.encode("utf-8", "surrogateescape"), size, None)
                yield BucketFile(entry, f"{item.last_modified} {item.etag}")

    def _file(self) -> Iterator[BucketFile]:
        with self._translating():
            try:
                item = self._client.stat_object(self.place.bucket, self.place.prefix)
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                next(iter(self._client.list_objects(self.place.bucket, prefix=self.place.prefix)), None)
                return  # the bucket is there
        yield BucketFile(Entry("file", b"", item.size or 0, None), f"{item.last_modified} {item.etag}")

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            yield
        except FAULTS as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        found = translate(error, self.place, self._keys.now)
        if found.code == "no-such-bucket":
            return ConfigError(
                "the bucket of the dataset does not exist",
                detail=found.detail,
                hint="mend the address, or `objects.s3.endpoint`, which says on which server buckets are",
                code=found.code,
            )
        if found.code == "s3-denied":
            hint = "check the key and its secret, and its policy: it needs s3:GetObject and s3:ListBucket"
            return Forbidden(found.summary, detail=found.detail, hint=hint, code=found.code)
        if isinstance(found, NotFound):
            return Unavailable(f"an object of `{self.name}` is gone", detail=found.detail, code="dataset-changing")
        return found


class _Hash:
    """A file that keeps nothing but the digest of what is written to it."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm: Algorithm = algorithm
        self.digest = new_hash(algorithm)
        self._size = 0

    def write(self, content: bytes, /) -> int:
        self.digest.update(content)
        self._size += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and offset == 0:
            self.digest, self._size = new_hash(self._algorithm), 0
        return self._size

    def tell(self) -> int:
        return self._size

    def truncate(self) -> int:
        return self._size


def _faults(paths: list[bytes]) -> Iterator[str]:
    """Yields what keeps keys from being the files of one folder."""
    files = set(paths)
    for path in paths:
        if b"\xef\xbf\xbd" in path:  # what is not UTF-8 is shown as U+FFFD, and cannot be asked for
            yield f"{shown(path)}: is not UTF-8"
        elif (fault := path_fault(path)) is not None:
            yield f"{shown(path) or '(the prefix itself)'}: {fault}"
        else:
            parts = path.split(b"/")
            for depth in range(1, len(parts)):
                above = b"/".join(parts[:depth])
                if above in files:
                    yield f"{shown(path)}: lies below `{shown(above)}`, which is a file"
                    break
