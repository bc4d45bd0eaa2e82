"""The records of runs beside the objects: plan and manifest of a run under its id; a run is there once its manifest is.

A record is no object: it has a name, and what people may edit of a sealed manifest changes it. Whoever writes one has
stored all objects before that it names.
"""

from collections.abc import Iterator
from typing import Protocol

MANIFEST = "run_manifest.json"
PLAN = "plan.json"


class Records(Protocol):
    """Where records are kept."""

    def run_ids(self) -> Iterator[str]:
        """Yields the ids of the runs that have a manifest, in no order that counts."""
        ...

    def read(self, run_id: str, name: str) -> bytes | None:
        """Returns a file of a record, or None if it is not there."""
        ...

    def write(self, run_id: str, name: str, content: bytes) -> None:
        """Stores a file of a record, in the place of an earlier one; durable when it returns."""
        ...


class MemoryRecords:
    """Records as values: a faithful twin of those in a bucket."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}

    def run_ids(self) -> Iterator[str]:
        yield from [run_id for run_id, name in tuple(self.files) if name == MANIFEST]

    def read(self, run_id: str, name: str) -> bytes | None:
        return self.files.get((run_id, name))

    def write(self, run_id: str, name: str, content: bytes) -> None:
        self.files[run_id, name] = content
