"""How long runs take, learned from those that have ended.

A run is forecast from the latest runs most like it: those that were queued together with it if enough of them have
ended, else those of the same user, name and number of GPUs, else of wider circles up to all runs. What a run takes on
average decides the order of the queue, since that is what it costs others; what nine in ten stay below is what a
reservation counts on. Of a run that has been going for a while, only those that took longer still tell something.
"""

from bisect import bisect_right, insort
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil

from fetchml.admission.lab import Forecast
from fetchml.models.units import plural

_KEPT = 100
"""Runs that are remembered of each circle; the oldest goes first."""
_ENOUGH = 3
"""Runs that a circle must have."""
_ENOUGH_IN_BURST = 2
"""The same for runs that were queued together: they are more alike than any others."""
_BURST_GAP_S = 60.0
_QUANTILE = 0.9
_OVERDUE = 2.0
"""A run that took longer than all like it is given its age once more."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a run before it starts, as far as it tells how long it takes."""

    user: str
    gpus: float
    name: str | None = None
    """What it is called, by default after its script; None: not known."""
    burst: str | int | None = None
    """What tells runs that were queued together, such as a sweep; None: it was queued alone."""


class Bursts:
    """Tells which runs were queued together, where nobody says so: one after the other, as a loop in a shell does."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, float], tuple[float, int]] = {}
        self._count = 0

    def of(self, user: str, gpus: float, queued_s: float) -> int:
        """Returns the burst of a run; runs are asked for in the order they were queued.

        Args:
            user: Whose it is.
            gpus: GPUs it asks for.
            queued_s: When it was queued, in seconds.
        """
        last_s, burst = self._last.get((user, gpus), (float("-inf"), 0))
        if queued_s - last_s > _BURST_GAP_S:
            self._count += 1
            burst = self._count
        self._last[user, gpus] = queued_s, burst
        return burst


@dataclass(slots=True)
class _Circle:
    """The latest runs of one kind."""

    latest: deque[float] = field(default_factory=deque[float])
    ordered: list[float] = field(default_factory=list[float])
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.latest.append(seconds)
        insort(self.ordered, seconds)
        self.total_s += seconds
        if len(self.latest) > _KEPT:
            oldest = self.latest.popleft()
            self.ordered.pop(bisect_right(self.ordered, oldest) - 1)
            self.total_s -= oldest

    def after(self, elapsed_s: float) -> tuple[float, float]:
        """Returns the mean and the upper quantile of the runs that took longer than this."""
        start = bisect_right(self.ordered, elapsed_s) if elapsed_s > 0 else 0
        count = len(self.ordered) - start
        if count == 0:
            return elapsed_s * _OVERDUE, elapsed_s * _OVERDUE
        total = sum(self.ordered[start:]) if start else self.total_s
        return total / count, self.ordered[start + ceil(_QUANTILE * count) - 1]


class Durations:
    """Learns from runs as they end, and forecasts others."""

    def __init__(self) -> None:
        self._circles: defaultdict[tuple[object, ...], _Circle] = defaultdict(_Circle)

    def observe(self, traits: Traits, seconds: float) -> None:
        """Learns from a run that has ended, however it ended: a failed run takes its time, too.

        Args:
            traits: What was known of it.
            seconds: How long it ran.
        """
        for key, _ in _circles(traits):
            self._circles[key].add(max(0.0, seconds))

    def forecast(self, traits: Traits, *, elapsed_s: float = 0, max_runtime_s: float | None = None) -> Forecast | None:
        """Returns how long a run will take in all; None as long as nothing at all tells.

        Args:
            traits: What is known of it.
            elapsed_s: How long it has been running already.
            max_runtime_s: When it is stopped, if it has such a limit.
        """
        for key, words in _circles(traits):
            circle = self._circles.get(key)
            if circle is None or len(circle.latest) < (_ENOUGH_IN_BURST if key[0] == "burst" else _ENOUGH):
                continue
            expected_s, upper_s = circle.after(elapsed_s)
            basis = f"{len(circle.latest)} runs {words}".rstrip()
            if max_runtime_s is not None:
                return Forecast(min(expected_s, max_runtime_s), min(upper_s, max_runtime_s), basis)
            return Forecast(expected_s, upper_s, basis)
        if max_runtime_s is not None:
            return Forecast(max_runtime_s, max_runtime_s, "its own limit")
        return None


def _circles(traits: Traits) -> Iterator[tuple[tuple[object, ...], str]]:
    """Yields the kinds a run belongs to, the narrowest first, each with words for people."""
    user, gpus = traits.user, plural(traits.gpus, "GPU")
    if traits.burst is not None:
        yield ("burst", user, traits.burst, traits.gpus), f"of {user} queued together with it"
    if traits.name is not None:
        yield ("name", user, traits.name, traits.gpus), f"of {user} called {traits.name} with {gpus}"
    yield ("both", user, traits.gpus), f"of {user} with {gpus}"
    yield ("user", user), f"of {user}"
    yield ("gpus", traits.gpus), f"with {gpus}"
    yield ("all",), ""
