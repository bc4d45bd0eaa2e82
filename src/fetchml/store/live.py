"""The rows of a run store in the memory of one who looks at them every second.

A look costs a stamp of the folder and one of each run that has not ended, however many have.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from fetchml.models.ids import is_run_id
from fetchml.store.index import RunIndex, RunRow, stamp_of

_RACY_NS = 2_000_000_000
"""A folder that changed less than this ago may change again without its time showing it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What one look has found."""

    unfinished: tuple[RunRow, ...]
    """Runs that have not ended, earliest first."""
    ended: tuple[RunRow, ...]
    """Runs that ended since the look before, or ever, at the first; earliest end first."""


class LiveRuns:
    """The rows of one store.

    Args:
        root: Folder of the store.
    """

    def __init__(self, root: Path) -> None:
        self._runs = root / "runs"
        self._index = RunIndex(root)
        self._open: dict[str, RunRow] = {}
        self._ended: set[str] = set()
        self._folder_ns: int | None = None
        """When the folder of all runs had changed last; None: it has to be listed."""
        self._is_first = True

    def look(self) -> Rows:
        """Returns what there is now."""
        if self._is_first:
            self._is_first = False
            rows = self._index.rows()
            ended = [row for row in rows if row.is_final]
            self._open = {row.run_id: row for row in rows if not row.is_final}
            self._ended = {row.run_id for row in ended}
        else:
            fresh: list[RunRow] = []
            for name in self._changed():
                self._open.pop(name, None)
                row = self._index.read(name)
                if row is not None:
                    fresh.append(row)
            self._index.keep(fresh)
            ended = [row for row in fresh if row.is_final]
            self._open.update((row.run_id, row) for row in fresh if not row.is_final)
            self._ended.update(row.run_id for row in ended)
        unfinished = sorted(self._open.values(), key=lambda row: (row.queued_at, row.run_id))
        return Rows(tuple(unfinished), tuple(sorted(ended, key=lambda row: row.ended_at or "")))

    def _changed(self) -> list[str]:
        """Returns the runs that are new or have another record than at the last look."""
        folder = str(self._runs)
        changed = [
            run_id
            for run_id, row in self._open.items()
            if row.stamp != stamp_of(f"{folder}/{run_id}/run_manifest.json")
        ]
        return changed + [name for name in self._names() if name not in self._open and name not in self._ended]

    def _names(self) -> list[str]:
        """Returns the names of all runs if the folder may have changed, else none."""
        try:
            status = os.stat(self._runs)
            if self._folder_ns == status.st_mtime_ns:
                return []
            names = [name for name in os.listdir(self._runs) if is_run_id(name)]
        except FileNotFoundError:
            return []
        is_settled = os.stat(self._runs).st_mtime_ns == status.st_mtime_ns and _is_old(status.st_mtime_ns)
        self._folder_ns = status.st_mtime_ns if is_settled else None
        return names


def _is_old(changed_ns: int) -> bool:
    return abs(time.time_ns() - changed_ns) > _RACY_NS
