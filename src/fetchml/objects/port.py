"""Content-addressed objects: bytes whose name is their SHA-256.

An object never changes, so storing it twice is harmless and a reader can always check what it got.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ChangedWhileRead(Exception):
    """A file did not have the digest it had a moment ago: something is writing to it."""


@dataclass(frozen=True, slots=True)
class Added:
    """A file as it was read."""

    sha256: str
    status: os.stat_result
    """What the system said of it before and after."""


class ObjectBatch(Protocol):
    """Objects that become durable together, when the batch ends without an error.

    `add_file` may be called by several threads at once, and by no thread any more when the block ends.
    """

    def keep(self, digests: Collection[str]) -> set[str]:
        """Takes into the batch what the store has already, without reading it.

        Returns:
            The digests that have to be added: of objects that are missing, or known to be damaged.
        """
        ...

    def add_file(self, path: Path) -> Added:
        """Adds a file and returns its digest; it is read once, and what was hashed is what is stored.

        Raises:
            ChangedWhileRead: Something wrote to it meanwhile, or it is no regular file.
            OSError: It cannot be read.
        """
        ...

    def put_bytes(self, content: bytes) -> str:
        """Adds bytes and returns their digest."""
        ...

    def put_file(self, path: Path, digest: str) -> None:
        """Adds a file whose digest is known.

        Raises:
            ChangedWhileRead: The content has another digest now.
        """
        ...


class ObjectStore(Protocol):
    """Where objects are kept."""

    def has(self, digest: str) -> bool:
        """Tells whether the object is there; does not read it."""
        ...

    def read(self, digest: str) -> bytes:
        """Returns a whole object, verified.

        Raises:
            NotFound: There is no such object.
            Corrupt: The stored bytes have another digest; the next batch with the right ones replaces them.
        """
        ...

    def copy_to(self, digest: str, target: Path, *, executable: bool = False) -> None:
        """Writes an object to a new read-only file, verified while it is copied.

        Raises:
            NotFound: There is no such object.
            Corrupt: The stored bytes have another digest; the file is then removed.
        """
        ...

    def digests(self, prefix: str = "") -> Iterator[str]:
        """Yields the digest of every object, in no order that counts; bytes are not looked at.

        An object that is stored meanwhile may be missing.

        Args:
            prefix: Hexadecimal digits that the digests begin with.
        """
        ...

    def marks(self, prefixes: Collection[str]) -> dict[str, str]:
        """Returns a mark for groups of objects, which changes when one of the group is removed or found damaged.

        As long as a mark is the same, what was there is there; objects that come may change it, too.

        Args:
            prefixes: The groups, each by the first two digits of its objects.

        Returns:
            Marks by group. Left out is what a later look could not rely on: all groups, in a store that tells nothing
            of its changes.
        """
        ...

    def batch(self) -> AbstractContextManager[ObjectBatch]:
        """Returns a batch; what was added is durable when its `with` block has ended.

        If the block raised, nothing was stored. If storing itself broke off, some objects may be there: each is whole,
        and nobody refers to it.
        """
        ...
