"""Which runs that have not ended read which dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fetchml.errors import FetchmlError
from fetchml.store.index import RunIndex
from fetchml.store.port import RunStore


@dataclass(frozen=True, slots=True)
class Readers:
    """Runs by the checksum of the datasets they read."""

    begun: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Of runs that have begun and have not ended."""
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Of runs that wait."""
    started: frozenset[str] = frozenset()
    """Runs whose payload was started, and has not ended as far as it is known."""
    unreadable: tuple[str, ...] = ()
    """Runs of which it cannot be told what they read: it may be everything."""

    def of(self, checksum: str) -> tuple[str, ...]:
        """Returns the runs that read a dataset or will, as far as it can be told."""
        return (*self.begun.get(checksum, ()), *self.waiting.get(checksum, ()), *self.unreadable)

    def is_read(self, checksum: str) -> bool:
        """Tells whether a run that has begun reads a dataset, or may."""
        return bool(self.begun.get(checksum) or self.unreadable)

    def is_open(self, checksum: str) -> bool:
        """Tells whether the payload of a run may have a dataset open now."""
        return bool(self.unreadable) or not self.started.isdisjoint(self.begun.get(checksum, ()))


def readers(store: RunStore, root: Path) -> Readers:
    """Returns who reads what now.

    Args:
        store: The run store.
        root: Its folder.
    """
    begun: dict[str, tuple[str, ...]] = {}
    waiting: dict[str, tuple[str, ...]] = {}
    started: set[str] = set()
    unreadable: list[str] = []
    for row in RunIndex(root).unfinished():
        try:
            plan = store.read_plan(row.run_id)
        except FetchmlError:
            unreadable.append(row.run_id)
            continue
        if row.state not in ("queued", "preparing"):
            started.add(row.run_id)
        of = waiting if row.state == "queued" else begun
        for item in plan.datasets:
            of[item.checksum] = (*of.get(item.checksum, ()), row.run_id)
    return Readers(begun, waiting, frozenset(started), tuple(unreadable))
