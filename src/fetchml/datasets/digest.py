"""The checksum of a dataset: SHA-256 over the listing of its files.

The listing is a line that names the format and the kind, `fetchml.dataset.v1 folder` or `file`, and then one record a
file or link: `<kind> <size> <sha256> <path>`, ended by a zero byte and sorted by the bytes of the path. Of a link, size
and SHA-256 are those of its target's text. Modes, times, owners and empty folders do not count, so a copy on another
machine has the same checksum.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fetchml.datasets.stat_cache import StatCache, stamp
from fetchml.errors import NotFound, Refused, Unavailable
from fetchml.snapshot.capture import shown
from fetchml.snapshot.tree import link_fault

_FORMAT = b"fetchml.dataset.v1"
_TRIES = 3
_SHOWN = 10
_MAX_THREADS = 8


@dataclass(frozen=True, slots=True)
class Record:
    """A file or link of a dataset."""

    kind: str
    """file or link."""
    path: bytes
    """Path below the root; empty where the dataset is one file."""
    size_bytes: int
    sha256: str

    @property
    def line(self) -> bytes:
        """The record as the listing holds it, without the zero byte."""
        return f"{self.kind} {self.size_bytes} {self.sha256} ".encode("ascii") + self.path


@dataclass(frozen=True, slots=True)
class Digest:
    """What a dataset holds."""

    checksum: str
    listing: bytes
    size_bytes: int
    file_count: int
    warnings: tuple[str, ...]
    """What was left out, and what is odd."""
    hashed_count: int
    """Files that were read; those of the cache were not."""


@dataclass(slots=True)
class _Scan:
    files: dict[bytes, os.stat_result] = field(default_factory=dict[bytes, os.stat_result])
    links: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    skipped: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])

    @property
    def stamps(self) -> dict[bytes, str]:
        return {path: stamp(status) for path, status in self.files.items()}


def digest(root: Path, cache: StatCache | None = None) -> Digest:
    """Returns the checksum of a file or folder and what it was made from.

    Args:
        root: The dataset; links on the way to it are followed, links in it are not.
        cache: Digests of files that were hashed before; None reads every byte.

    Raises:
        NotFound: There is nothing.
        Refused: A part cannot be read, or it is neither file nor folder.
        Unavailable: It keeps changing.
    """
    place = os.path.realpath(os.fsencode(root))
    known: dict[bytes, tuple[str, str]] = {}
    hashed = 0
    found = _scan(place, root)
    for _ in range(_TRIES):
        _refuse_unreadable(root, found)
        todo = {path: status for path, status in found.files.items() if known.get(path, ("",))[0] != stamp(status)}
        hashed += _hash_all(place, todo, known, found.faults, cache)
        _refuse_unreadable(root, found)
        # A second look finds what was added, removed or written to while the files were read.
        again = _scan(place, root) if todo else found
        if (
            again.stamps == found.stamps == {path: known[path][0] for path in found.files}
            and again.links == found.links
        ):
            return _digest(found, known, hashed)
        found = again
    raise Unavailable(
        f"the dataset at `{root}` keeps changing while it is read",
        hint="stop what writes to it, then repeat the command",
        code="dataset-changing",
    )


def check_present(root: Path) -> None:
    """Looks whether there is data, without reading it.

    Raises:
        NotFound: There is nothing.
        Refused: It cannot be looked at.
    """
    _status(os.path.realpath(os.fsencode(root)), root)


def read_listing(listing: bytes) -> dict[bytes, bytes]:
    """Returns the records of a listing by path, without the path."""
    records: dict[bytes, bytes] = {}
    for line in listing.partition(b"\n")[2].split(b"\0")[:-1]:
        kind, size, sha256, path = line.split(b" ", 3)
        records[path] = b" ".join((kind, size, sha256))
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


def _scan(place: bytes, root: Path) -> _Scan:
    found = _Scan()
    status = _status(place, root)
    if stat.S_ISREG(status.st_mode):
        found.files[b""] = status
    elif stat.S_ISDIR(status.st_mode):
        _walk(place, (status.st_dev, status.st_ino), found)
        for path in sorted(found.links):
            fault = link_fault(path, found.links)
            if fault is not None:
                found.skipped.append(
                    f"{shown(path)}: links {fault} `{shown(found.links[path])}`".replace("project", "dataset")
                )
        for path in [path for path in found.links if link_fault(path, found.links) is not None]:
            del found.links[path]
    else:
        raise Refused(f"`{root}` is neither a file nor a folder", code="dataset-unreadable")
    return found


def _status(place: bytes, root: Path) -> os.stat_result:
    try:
        return os.stat(place)
    except FileNotFoundError as error:
        raise NotFound(
            f"there is nothing at `{root}`", hint="is the disk or share mounted?", code="no-such-data"
        ) from error
    except OSError as error:
        raise _unreadable(root, [error.strerror or str(error)]) from error


def _walk(place: bytes, top: tuple[int, int], found: _Scan) -> None:
    """Lists a folder; iterative, as nobody knows how deep it is. Links are never followed."""
    pending: list[tuple[bytes, frozenset[tuple[int, int]]]] = [(b"", frozenset({top}))]
    while pending:
        folder, above = pending.pop()
        try:
            with os.scandir(place + b"/" + folder) as listing:
                entries = list(listing)
        except OSError as error:
            found.faults.append(f"{shown(folder) or '.'}: {error.strerror}")
            continue
        for entry in entries:
            path = folder + entry.name
            try:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    identity = (status.st_dev, status.st_ino)
                    if identity in above:  # a bind mount of a folder in itself
                        found.skipped.append(f"{shown(path)}: is a folder it lies in")
                    else:
                        pending.append((path + b"/", above | {identity}))
                elif stat.S_ISREG(status.st_mode):
                    found.files[path] = status
                elif stat.S_ISLNK(status.st_mode):
                    found.links[path] = os.readlink(place + b"/" + path)
                else:
                    found.skipped.append(f"{shown(path)}: is a {_kind(status.st_mode)}, not a file")
            except OSError as error:
                found.faults.append(f"{shown(path)}: {error.strerror}")


def _hash_all(
    place: bytes,
    todo: dict[bytes, os.stat_result],
    known: dict[bytes, tuple[str, str]],
    faults: list[str],
    cache: StatCache | None,
) -> int:
    """Fills in what is not known and returns how many files were read."""
    absolute = {path: place + b"/" + path if path else place for path in todo}
    cached = cache.look_up({absolute[path]: status for path, status in todo.items()}) if cache else {}
    for path, status in todo.items():
        if absolute[path] in cached:
            known[path] = (stamp(status), cached[absolute[path]])
    missing = [path for path in todo if absolute[path] not in cached]
    fresh: list[tuple[bytes, os.stat_result, str]] = []
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        for path, result in zip(missing, pool.map(_hashed, (absolute[path] for path in missing)), strict=True):
            if isinstance(result, str):
                faults.append(f"{shown(path)}: {result}")
            elif result is not None:
                known[path] = (stamp(result[0]), result[1])
                fresh.append((absolute[path], *result))
    if cache is not None:
        cache.remember(fresh)
    for path in missing:
        known.setdefault(path, ("", ""))  # it changed while it was read
    return len(missing)


def _hashed(path: bytes) -> tuple[os.stat_result, str] | str | None:
    """Returns stat and SHA-256 of a file, why it cannot be read, or None if it changed meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return None
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]  # a raw file will do
            after = os.fstat(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    return (after, sha256) if stamp(before) == stamp(after) else None


def _digest(found: _Scan, known: dict[bytes, tuple[str, str]], hashed: int) -> Digest:
    records = [Record("file", path, status.st_size, known[path][1]) for path, status in found.files.items()]
    records += [
        Record("link", path, len(target), hashlib.sha256(target).hexdigest()) for path, target in found.links.items()
    ]
    kind = b"file" if b"" in found.files else b"folder"
    lines = [record.line + b"\0" for record in sorted(records, key=lambda record: record.path)]
    listing = _FORMAT + b" " + kind + b"\n" + b"".join(lines)
    warnings = [f"left out: {text}" for text in sorted(found.skipped)[:_SHOWN]]
    if len(found.skipped) > _SHOWN:
        warnings.append(f"left out: {len(found.skipped) - _SHOWN} more")
    if not records:
        warnings.append("it is empty")
    return Digest(
        checksum=f"sha256:{hashlib.sha256(listing).hexdigest()}",
        listing=listing,
        size_bytes=sum(status.st_size for status in found.files.values()),
        file_count=len(found.files),
        warnings=tuple(warnings),
        hashed_count=hashed,
    )


def _refuse_unreadable(root: Path, found: _Scan) -> None:
    if found.faults:
        raise _unreadable(root, sorted(found.faults))


def _unreadable(root: Path, faults: list[str]) -> Refused:
    more = [f"... and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    return Refused(
        f"a part of the dataset at `{root}` cannot be read",
        detail="\n".join(faults[:_SHOWN] + more),
        hint="check owner and mode of what is named; what cannot be read cannot be verified",
        code="dataset-unreadable",
    )


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"
