"""Where the files of a dataset are copied from: a folder or file of this host, or a bucket (see `bucket`)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fetchml import durable
from fetchml.datasets.listing import Entry
from fetchml.errors import FetchmlError, Refused
from fetchml.models.units import MIB
from fetchml.snapshot.capture import shown

CHUNK = MIB
_SHOWN = 5
CHANGED = "dataset-changed"
"""Code of the error about data that is not what was added."""

Check = Callable[[], None]
"""Called again and again while data is on its way; raises to give up."""


def go_on() -> None:
    """Never gives up."""


class Sink(Protocol):
    """A file that data is written to."""

    def write(self, content: bytes, /) -> int:
        """Writes behind what is there."""
        ...

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Goes to a place and returns it."""
        ...

    def tell(self) -> int:
        """Returns the place."""
        ...

    def truncate(self) -> int:
        """Cuts the file at the place."""
        ...


class Source(Protocol):
    """Where data comes from."""

    @property
    def name(self) -> str:
        """The place, for people."""
        ...

    def check(self, wanted: tuple[Entry, ...]) -> None:
        """Looks whether the data can still be what is wanted, as far as that can be told without reading it.

        Raises:
            Refused: It has changed.
            FetchmlError: It cannot be looked at.
        """
        ...

    def append(self, entry: Entry, sink: Sink, check: Check) -> None:
        """Writes the bytes that a file lacks behind those it has; they may be others than were listed.

        Raises:
            Refused: The file is gone, or has another size.
            FetchmlError: It cannot be read.
        """
        ...

    def link(self, entry: Entry) -> bytes:
        """Returns the target of a link."""
        ...


class FolderSource:
    """A folder or file of this host; a share that is mounted is one, too.

    Args:
        root: The folder or file; links on the way to it are followed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._place = os.path.realpath(os.fsencode(root))

    @property
    def name(self) -> str:
        return str(self.root)

    def check(self, wanted: tuple[Entry, ...]) -> None:
        faults: list[str] = []
        for entry in wanted:
            try:
                status = os.lstat(self._path(entry))
            except FileNotFoundError:
                faults.append(f"{shown(entry.path) or 'the file'}: removed")
                continue
            except OSError as error:
                raise durable.translate(error, "read", self.root) from error
            if entry.kind == "file" and status.st_size != entry.size_bytes:
                faults.append(f"{shown(entry.path) or 'the file'}: changed")
        if faults:
            raise changed(str(self.root), faults)

    def append(self, entry: Entry, sink: Sink, check: Check) -> None:
        with durable.translated("copy", self.root):
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(self._path(entry), flags)
            except FileNotFoundError:
                raise changed(str(self.root), [f"{shown(entry.path)}: removed"]) from None
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                have = file.seek(sink.seek(0, os.SEEK_END))
                while chunk := file.read(CHUNK):
                    check()
                    have += len(chunk)
                    if have > entry.size_bytes:
                        break
                    sink.write(chunk)
        if have != entry.size_bytes:
            raise changed(str(self.root), [f"{shown(entry.path)}: changed"])

    def link(self, entry: Entry) -> bytes:
        try:
            return os.readlink(self._path(entry))
        except OSError:
            raise changed(str(self.root), [f"{shown(entry.path)}: changed"]) from None

    def _path(self, entry: Entry) -> bytes:
        return self._place + b"/" + entry.path if entry.path else self._place


def changed(place: str, faults: list[str]) -> Refused:
    """Returns the error about data that is not what was added.

    Args:
        place: Where it is, for people.
        faults: What differs, one line a file.
    """
    more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    return Refused(
        f"the data at `{place}` has changed since it was added",
        detail="; ".join(faults[:_SHOWN] + more),
        hint="put the data back, or add it as a new version",
        code=CHANGED,
    )


def is_changed(error: FetchmlError) -> bool:
    """Tells whether an error is about data that is not what was added."""
    return error.code == CHANGED
