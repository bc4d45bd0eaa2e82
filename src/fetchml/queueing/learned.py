"""What the runs that have ended tell about those to come: how long they take, and who has used how much."""

from collections.abc import Sequence
from datetime import datetime

from fetchml.admission.durations import Durations, Traits
from fetchml.admission.lab import Forecast
from fetchml.admission.usage import DecayedUsage
from fetchml.store.index import RunRow

_LATEST = 5000
"""Ended runs that are looked at when nothing is known yet; what was longer ago tells little."""
_WITHOUT_GPU = 0.125
"""Part of a GPU that a run without one counts as: it holds something, too."""


class Learned:
    """Learns from the rows of runs that have ended."""

    def __init__(self) -> None:
        self._durations = Durations()
        self._usage = DecayedUsage()
        self.count = 0
        """Runs learned from."""

    def learn(self, ended: Sequence[RunRow], gpus: int) -> None:
        """Takes in runs that have ended.

        Args:
            ended: Their rows, earliest end first.
            gpus: GPUs of the whole lab.
        """
        for row in ended[-_LATEST:]:
            seconds = seconds_of(row)
            if seconds is None or row.ended_at is None:
                continue
            self.count += 1
            self._durations.observe(traits_of(row), seconds)
            part = max(row.gpus, _WITHOUT_GPU) / max(1, gpus)
            self._usage.add(row.user, seconds * part, datetime.fromisoformat(row.ended_at))

    def forecast(self, row: RunRow, *, elapsed_s: float = 0, max_runtime_s: float | None = None) -> Forecast | None:
        """Returns how long a run will take in all, or None if nothing tells."""
        return self._durations.forecast(traits_of(row), elapsed_s=elapsed_s, max_runtime_s=max_runtime_s)

    def usage(self, now: datetime) -> dict[str, float]:
        """Returns what every user has used: seconds of the whole lab, fading with time."""
        return self._usage.at(now)


def traits_of(row: RunRow) -> Traits:
    """Returns what tells how long a run takes."""
    return Traits(user=row.user, gpus=row.gpus, name=row.name)


def seconds_of(row: RunRow) -> float | None:
    """Returns how long a run ran, or None if it never did."""
    if row.started_at is None or row.ended_at is None:
        return None
    try:
        took = datetime.fromisoformat(row.ended_at) - datetime.fromisoformat(row.started_at)
    except (ValueError, TypeError):
        return None
    return max(0.0, took.total_seconds())
