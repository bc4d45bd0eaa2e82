"""The checksum of a dataset: a hash over the listing of its files.

The listing is a line that names the format and the kind, `fetchml.dataset.v1 folder` or `file`, and then one record a
file or link: `<kind> <size> <digest> <path>`, ended by a zero byte and sorted by the bytes of the path. Of a link, size
and digest are those of its target's text. Modes, times, owners and empty folders do not count, so a copy on another
machine has the same checksum. Digests are SHA-256, or BLAKE3 where the first line ends with ` blake3`.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fetchml.datasets.hashing import Reader, new_hash
from fetchml.datasets.oversight import Oversight, Tally, overseen
from fetchml.datasets.scan import SHOWN, Scan, is_unchanged, scan, status_of, total_bytes
from fetchml.datasets.stat_cache import StatCache, size_of
from fetchml.errors import Refused, Unavailable
from fetchml.models.dataset import SHA256, Algorithm
from fetchml.snapshot.capture import shown

_FORMAT = b"fetchml.dataset.v1"
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Digest:
    """What a dataset holds."""

    checksum: str
    """The algorithm, a colon, and the hash of the listing."""
    listing: bytes
    size_bytes: int
    file_count: int
    warnings: tuple[str, ...]
    """What was left out, and what is odd."""
    hashed_count: int
    """Files that were read; those of the cache were not."""


def digest(
    root: Path,
    cache: StatCache | None = None,
    *,
    algorithm: Algorithm = SHA256,
    oversight: Oversight = Oversight(),  # noqa: B008  # it is frozen
) -> Digest:
    """Returns the checksum of a file or folder and what it was made from.

    Args:
        root: The dataset; links on the way to it are followed, links in it are not.
        cache: Digests of files that were hashed before; None reads every byte.
        algorithm: What to hash with.
        oversight: How long it may take, and who is told.

    Raises:
        NotFound: There is nothing.
        Refused: A part cannot be read, it is neither file nor folder, or a folder without files.
        Unavailable: It keeps changing, or does not answer.
        Stopped: It was to be stopped, or its time is up.
    """
    tally = Tally()
    return overseen(lambda: _read(root, cache, algorithm, tally), root, oversight, tally)


def check_present(root: Path, oversight: Oversight = Oversight()) -> None:  # noqa: B008  # it is frozen
    """Looks whether there is data, without reading it.

    Raises:
        NotFound: There is nothing.
        Refused: It cannot be looked at.
        Unavailable: It does not answer.
    """
    overseen(lambda: status_of(_place(root), root), root, oversight)


def read_listing(listing: bytes) -> dict[bytes, bytes]:
    """Returns the records of a listing by path, without the path."""
    records: dict[bytes, bytes] = {}
    for line in listing.partition(b"\n")[2].split(b"\0")[:-1]:
        kind, size, hashed, path = line.split(b" ", 3)
        records[path] = b" ".join((kind, size, hashed))
    return records


def differences(before: bytes, after: bytes) -> Iterator[str]:
    """Yields what differs between two listings, one line a file, sorted by path."""
    if before.partition(b"\n")[0] != after.partition(b"\n")[0]:
        yield "it was a folder and is a file, or the other way round"
    old, new = read_listing(before), read_listing(after)
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            how = "removed" if path not in new else "added" if path not in old else "changed"
            yield f"{shown(path) or 'the file'}: {how}"


def _place(root: Path) -> bytes:
    return os.path.realpath(os.fsencode(root))


def _read(root: Path, cache: StatCache | None, algorithm: Algorithm, tally: Tally) -> Digest:
    place = _place(root)
    known: dict[bytes, bytes] = {}
    hashed = 0
    found = scan(place, root, tally)
    for _ in range(_TRIES):
        found.faults.check(root)
        missing = _missing(place, found, known, cache, algorithm, tally)
        hashed += len(missing)
        if missing:
            Reader(place, algorithm, cache, tally, found.faults).read(missing, found.files, known)
            found.faults.check(root)
        # A second look finds what was added, removed or written to while files were read.
        if len(known) == len(found.files) and (not missing or is_unchanged(place, root, found, tally)):
            return _digest(root, found, known, algorithm, hashed, tally)
        tally.again()
        again = scan(place, root, tally)
        known = {path: value for path, value in known.items() if again.files.get(path) == found.files[path]}
        found = again
    raise Unavailable(
        f"the dataset at `{root}` keeps changing while it is read",
        hint="stop what writes to it, then repeat the command",
        code="dataset-changing",
    )


def _missing(
    place: bytes,
    found: Scan,
    known: dict[bytes, bytes],
    cache: StatCache | None,
    algorithm: Algorithm,
    tally: Tally,
) -> list[bytes]:
    """Fills in what the cache knows and returns the files that have to be read."""
    if cache is not None:
        for path, stamped, value in cache.known(place, algorithm):
            if path not in known and found.files.get(path) == stamped:
                known[path] = value
                tally.known(size_of(stamped))
    return [path for path in found.files if path not in known]


def _digest(
    root: Path, found: Scan, known: dict[bytes, bytes], algorithm: Algorithm, hashed: int, tally: Tally
) -> Digest:
    if not found.files and not found.links:
        raise Refused(
            f"there are no files in `{root}`", hint="is the disk or share mounted there?", code="dataset-empty"
        )
    listing = _listing(found, known, algorithm, tally)
    warnings = [f"left out: {text}" for text in sorted(found.skipped)[:SHOWN]]
    if len(found.skipped) > SHOWN:
        warnings.append(f"left out: {len(found.skipped) - SHOWN} more")
    return Digest(
        checksum=f"{algorithm}:{_hash(listing, algorithm).hex()}",
        listing=listing,
        size_bytes=total_bytes(found),
        file_count=len(found.files),
        warnings=tuple(warnings),
        hashed_count=hashed,
    )


def _listing(found: Scan, known: dict[bytes, bytes], algorithm: Algorithm, tally: Tally) -> bytes:
    text = io.BytesIO()
    text.write(_FORMAT + (b" file" if b"" in found.files else b" folder"))
    text.write(b"\n" if algorithm == SHA256 else b" %s\n" % algorithm.encode())
    for path in sorted((*found.files, *found.links)):
        if path in found.files:
            record = (b"file", size_of(found.files[path]), known[path])
        else:
            target = found.links[path]
            record = (b"link", len(target), _hash(target, algorithm))
        text.write(b"%s %d %s %s\0" % (record[0], record[1], record[2].hex().encode(), path))
        tally.tick()
    return text.getvalue()


def _hash(content: bytes, algorithm: Algorithm) -> bytes:
    hashed = new_hash(algorithm)
    hashed.update(content)
    return hashed.digest()
