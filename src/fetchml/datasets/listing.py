"""The files of a dataset as its listing names them."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fetchml.datasets.digest import read_listing
from fetchml.datasets.hashing import new_hash
from fetchml.errors import Corrupt
from fetchml.models.dataset import SHA256, Algorithm, algorithm_of
from fetchml.models.units import MIB
from fetchml.snapshot.capture import shown

_MAX_NAME_BYTES = 255
_BLOCK = 4096
_CHUNK = 4 * MIB


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or link of a dataset."""

    kind: str
    """file or link."""
    path: bytes
    """Path below the root; empty where the dataset is one file."""
    size_bytes: int
    digest: str | None
    """Of its bytes, or of the target of a link; None where it is to be found out."""


def entries_of(listing: bytes, checksum: str) -> tuple[Entry, ...]:
    """Returns the files and links of a listing.

    Args:
        listing: The listing.
        checksum: What it must have.

    Raises:
        Corrupt: It is another one, or names what no folder can hold.
    """
    if checksum_of(listing, algorithm_of(checksum)) != checksum:
        raise _damaged(checksum, "its own checksum is another one")
    found: list[Entry] = []
    for path, record in read_listing(listing).items():
        kind, size, digest = record.decode("ascii").split(" ")
        fault = path_fault(path) if path else None
        if fault is not None:
            raise _damaged(checksum, f"{shown(path)}: {fault}")
        found.append(Entry(kind, path, int(size), digest))
    return tuple(found)


def make_listing(entries: Iterable[Entry], algorithm: Algorithm, *, is_folder: bool) -> bytes:
    """Returns the listing of files whose digests are known, as `digest` makes it for a folder or file with them."""
    head = b"fetchml.dataset.v1 " + (b"folder" if is_folder else b"file")
    head += b"\n" if algorithm == SHA256 else b" %s\n" % algorithm.encode()
    records = [
        b"%s %d %s %s\0" % (entry.kind.encode(), entry.size_bytes, (entry.digest or "").encode(), entry.path)
        for entry in sorted(entries, key=lambda entry: entry.path)
    ]
    return head + b"".join(records)


def checksum_of(listing: bytes, algorithm: Algorithm) -> str:
    """Returns the checksum of the dataset that has a listing."""
    return f"{algorithm}:{text_digest(listing, algorithm)}"


def path_fault(path: bytes) -> str | None:
    """Returns why no file of a folder can have a path, in words; None if one can."""
    if b"\0" in path:
        return "has a zero byte in its name"
    parts = path.split(b"/")
    if b"" in parts:
        return "has an empty name in its path"
    if not {b".", b".."}.isdisjoint(parts):
        return "has `.` or `..` in its path"
    if any(len(part) > _MAX_NAME_BYTES for part in parts):
        return f"has a name longer than {_MAX_NAME_BYTES} bytes"
    return None


def file_digest(path: bytes, algorithm: Algorithm, check: Callable[[], None]) -> str:
    """Returns the digest of a file as listings hold it; `check` is called again and again, and raises to give up."""
    hashed = new_hash(algorithm)
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            check()
            hashed.update(chunk)
    return hashed.digest().hex()


def text_digest(text: bytes, algorithm: Algorithm) -> str:
    """Returns the digest of a text, such as the target of a link, as listings hold it."""
    hashed = new_hash(algorithm)
    hashed.update(text)
    return hashed.digest().hex()


def size_on_disk(entries: tuple[Entry, ...]) -> int:
    """Returns about how many bytes files take on a disk, which gives them out in blocks."""
    return sum(-(-entry.size_bytes // _BLOCK) * _BLOCK for entry in entries)


def place_of(entry: Entry, data: bytes) -> bytes:
    """Returns the path of an entry below a folder, or the folder's own where the dataset is one file."""
    return os.path.join(data, entry.path) if entry.path else data


def _damaged(checksum: str, why: str) -> Corrupt:
    return Corrupt(
        f"the listing of {checksum[:23]} is damaged",
        detail=why,
        hint="add the dataset again",
        code="record-damaged",
    )
