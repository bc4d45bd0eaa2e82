"""What the runs that have ended tell about those to come: how long they take, and who has used how much."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from fetchml.admission.durations import Bursts, Durations, Traits
from fetchml.admission.lab import Forecast
from fetchml.admission.usage import DecayedUsage
from fetchml.store.index import RunRow

LATEST = 5000
"""Ended runs that are looked at when nothing is known yet; what was longer ago tells little."""
_WITHOUT_GPU = 0.125
"""Part of a GPU that a run without one counts as: it holds something, too."""


class Learned:
    """Learns from the rows of runs that have ended."""

    def __init__(self) -> None:
        self._durations = Durations()
        self._usage = DecayedUsage()
        self._bursts = Bursts()
        self._burst_of: dict[str, int] = {}
        """Which runs were queued together: a sweep's first tell about the rest."""
        self.count = 0
        """Runs learned from."""

    def see(self, rows: Iterable[RunRow]) -> None:
        """Takes note of runs as they are queued; those that are known already are passed over."""
        fresh = [row for row in rows if row.run_id not in self._burst_of and row.state != "damaged"]
        for row in sorted(fresh, key=lambda row: row.queued_at):
            queued_s = datetime.fromisoformat(row.queued_at).timestamp()
            self._burst_of[row.run_id] = self._bursts.of(row.user, row.gpus, queued_s)

    def learn(self, ended: Sequence[RunRow], gpus: int) -> None:
        """Takes in runs that have ended.

        Args:
            ended: Their rows, earliest end first.
            gpus: GPUs of the whole lab.
        """
        for row in ended[-LATEST:]:
            seconds = seconds_of(row)
            if seconds is None or row.ended_at is None:
                continue
            self.count += 1
            self._durations.observe(self._traits(row), seconds)
            part = max(row.gpus, _WITHOUT_GPU) / max(1, gpus)
            self._usage.add(row.user, seconds * part, datetime.fromisoformat(row.ended_at))

    def forecast(self, row: RunRow, *, elapsed_s: float = 0, max_runtime_s: float | None = None) -> Forecast | None:
        """Returns how long a run will take in all, or None if nothing tells."""
        return self._durations.forecast(self._traits(row), elapsed_s=elapsed_s, max_runtime_s=max_runtime_s)

    def _traits(self, row: RunRow) -> Traits:
        return Traits(user=row.user, gpus=row.gpus, name=row.name, burst=self._burst_of.get(row.run_id))

    def usage(self, now: datetime) -> dict[str, float]:
        """Returns what every user has used: seconds of the whole lab, fading with time."""
        return self._usage.at(now)


def seconds_of(row: RunRow) -> float | None:
    """Returns how long a run ran, or None if it never did."""
    if row.started_at is None or row.ended_at is None:
        return None
    try:
        took = datetime.fromisoformat(row.ended_at) - datetime.fromisoformat(row.started_at)
    except (ValueError, TypeError):
        return None
    return max(0.0, took.total_seconds())
