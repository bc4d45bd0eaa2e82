"""Lists what a dataset consists of, without reading a file.

Of a file only its stamp is kept: a dataset may have millions of them.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fetchml.datasets.oversight import Tally, silent
from fetchml.datasets.stat_cache import size_of, stamp
from fetchml.errors import FetchmlError, NotFound, Refused
from fetchml.snapshot.capture import shown
from fetchml.snapshot.tree import link_fault

SHOWN = 10
_GONE = frozenset(
    {
        *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED, errno.ECONNRESET, errno.ECONNREFUSED),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENODEV, errno.ENXIO),
    }
)
"""What a share answers whose server is gone."""


@dataclass(slots=True)
class Faults:
    """What cannot be read."""

    lines: list[str] = field(default_factory=list[str])
    is_gone: bool = False
    """Whether a share has said that its server is gone."""

    def add(self, path: bytes, error: OSError) -> None:
        """Notes why a path cannot be read."""
        self.lines.append(f"{shown(path) or '.'}: {error.strerror or error}")
        self.is_gone = self.is_gone or error.errno in _GONE

    def check(self, root: Path) -> None:
        """Ends the reading if there is any.

        Raises:
            Refused: Something cannot be read.
            Unavailable: The server of a share is gone.
        """
        if self.lines:
            raise _unreadable(root, sorted(self.lines), is_gone=self.is_gone)


@dataclass(slots=True)
class Scan:
    """Files and links of a dataset, by path below its root; a dataset of one file has the empty path."""

    files: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    """Stamps."""
    links: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    """Targets."""
    skipped: list[str] = field(default_factory=list[str])
    """What was left out, and why."""
    faults: Faults = field(default_factory=Faults)


def scan(place: bytes, root: Path, tally: Tally) -> Scan:
    """Returns what is there.

    Args:
        place: The dataset, without links on the way to it.
        root: The dataset as its user knows it.
        tally: Told of each entry.

    Raises:
        NotFound: There is nothing.
        Refused: It is neither file nor folder.
    """
    found = Scan()
    for path, status in _walk(place, root, found, tally):
        found.files[path] = stamp(status)
        tally.found(status.st_size)
    _drop_links(found)
    return found


def is_unchanged(place: bytes, root: Path, found: Scan, tally: Tally) -> bool:
    """Tells whether a dataset is as it was found; looks again and keeps nothing."""
    again = Scan()
    count = 0
    for path, status in _walk(place, root, again, tally):
        if found.files.get(path) != stamp(status):
            return False
        count += 1
        tally.tick()
    _drop_links(again)
    return count == len(found.files) and again.links == found.links and not again.faults.lines


def status_of(place: bytes, root: Path) -> os.stat_result:
    """Returns the stat of a dataset.

    Raises:
        NotFound: There is nothing.
        Refused: It cannot be looked at.
    """
    try:
        return os.stat(place)
    except FileNotFoundError as error:
        raise NotFound(
            f"there is nothing at `{root}`", hint="is the disk or share mounted?", code="no-such-data"
        ) from error
    except OSError as error:
        raise _unreadable(root, [error.strerror or str(error)], is_gone=error.errno in _GONE) from error


def total_bytes(found: Scan) -> int:
    """Returns the sum of the sizes of the files."""
    return sum(map(size_of, found.files.values()))


def _walk(place: bytes, root: Path, found: Scan, tally: Tally) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yields the files; iterative, as nobody knows how deep it is. Links are never followed."""
    status = status_of(place, root)
    if stat.S_ISREG(status.st_mode):
        yield b"", status
        return
    if not stat.S_ISDIR(status.st_mode):
        raise Refused(f"`{root}` is neither a file nor a folder", code="dataset-unreadable")
    pending: list[tuple[bytes, frozenset[tuple[int, int]]]] = [(b"", frozenset({(status.st_dev, status.st_ino)}))]
    while pending:
        folder, above = pending.pop()
        tally.tick()
        try:
            with os.scandir(place + b"/" + folder) as listing:
                for entry in listing:
                    path = folder + entry.name
                    try:
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            yield path, status
                        elif not stat.S_ISDIR(status.st_mode):
                            _note_other(place, path, status.st_mode, found)
                        elif (
                            identity := (status.st_dev, status.st_ino)
                        ) in above:  # a bind mount of a folder in itself
                            found.skipped.append(f"{shown(path)}: is a folder it lies in")
                        else:
                            pending.append((path + b"/", above | {identity}))
                    except OSError as error:
                        found.faults.add(path, error)
        except OSError as error:
            found.faults.add(folder, error)


def _note_other(place: bytes, path: bytes, mode: int, found: Scan) -> None:
    if stat.S_ISLNK(mode):
        found.links[path] = os.readlink(place + b"/" + path)
    else:
        found.skipped.append(f"{shown(path)}: is a {_kind(mode)}, not a file")


def _drop_links(found: Scan) -> None:
    """Leaves out the links that leave the dataset."""
    faults = {path: fault for path in found.links if (fault := link_fault(path, found.links)) is not None}
    for path, fault in sorted(faults.items()):
        found.skipped.append(f"{shown(path)}: links {fault} `{shown(found.links[path])}`".replace("project", "dataset"))
    for path in faults:
        del found.links[path]


def _unreadable(root: Path, faults: list[str], *, is_gone: bool) -> FetchmlError:
    more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    detail = "\n".join(faults[:SHOWN] + more)
    if is_gone:
        return silent(root, detail)
    return Refused(
        f"a part of the dataset at `{root}` cannot be read",
        detail=detail,
        hint="check owner and mode of what is named; what cannot be read cannot be verified",
        code="dataset-unreadable",
    )


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"
