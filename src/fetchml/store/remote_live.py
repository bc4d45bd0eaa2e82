"""The rows of a lab's runs, for a host of it that looks at them every second or two."""

from fetchml.link.client import Link
from fetchml.store.index import RunRow
from fetchml.store.live import Rows
from fetchml.store.remote_index import RemoteIndex

_ENDED = 2000
"""Runs whose ends are read at the first look, the latest; durations are learned from them."""


class RemoteLive:
    """The rows of a gateway.

    Args:
        link: The gateway.
    """

    def __init__(self, link: Link) -> None:
        self._index = RemoteIndex(link)
        self._open: frozenset[str] | None = None

    def look(self) -> Rows:
        """Returns what there is now; of runs that came and ended between two looks nothing is said."""
        unfinished = self._index.unfinished()
        here = frozenset(row.run_id for row in unfinished)
        if self._open is None:
            ended = [row for row in self._index.rows(_ENDED) if row.is_final]
        else:
            gone = sorted(self._open - here)
            ended = [row for row in self._index.chosen(gone) if row.is_final] if gone else list[RunRow]()
        self._open = here
        return Rows(tuple(unfinished), tuple(sorted(ended, key=lambda row: row.ended_at or "")))
