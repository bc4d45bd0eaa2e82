"""What lists show of the runs of a lab, from another host; read without building a model."""

from typing import Any, cast

from fetchml.link.client import Link
from fetchml.store.index import RunRow


class RemoteIndex:
    """The index of a gateway.

    Args:
        link: The gateway.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def rows(self, limit: int | None = None) -> list[RunRow]:
        """Returns all runs, or the latest of them, latest first."""
        return _rows(self._link.get("/v1/rows", {"limit": limit} if limit is not None else None).json())

    def chosen(self, run_ids: list[str]) -> list[RunRow]:
        """Returns some runs, as far as they are there."""
        return _rows(self._link.post("/v1/rows", {"run_ids": run_ids}).json())

    def unfinished(self) -> list[RunRow]:
        """Returns the runs that have not ended, earliest first."""
        return list(reversed(_rows(self._link.get("/v1/rows", {"unfinished": 1}).json())))

    def find(self, text: str) -> RunRow:
        """Returns the run that a text means to the gateway.

        Raises:
            NotFound: No run is meant.
            Conflict: Several runs are; they are named.
        """
        return RunRow(*self._link.get("/v1/find", {"text": text}).json()["row"])


def _rows(content: object) -> list[RunRow]:
    return [RunRow(*row) for row in cast("dict[str, list[Any]]", content)["rows"]]
