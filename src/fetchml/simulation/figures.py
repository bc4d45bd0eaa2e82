"""What a replay comes to in numbers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil

from fetchml.simulation.replay import Placed

BOUND_S = 10.0
"""A slowdown is measured against at least this; see D. Feitelson et al., JSSPP 1997."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one scheduler on one trace; times in seconds."""

    jobs: int
    average_wait_s: float
    median_wait_s: float
    p95_wait_s: float
    longest_wait_s: float
    average_jct_s: float
    """From submission to end."""
    average_bounded_slowdown: float
    """(wait + duration) / max(duration, 10 s), at least 1."""
    utilisation: float
    """GPU-seconds used / (GPUs x time from the first submission to the last end)."""
    worst_user_wait_s: float
    """The largest mean wait of a user."""
    jain_index: float
    """(sum x)^2 / (n sum x^2) of the users' mean bounded slowdowns: 1 if all are slowed down alike, 1/n if one bears
    it all (R. Jain et al., DEC-TR-301, 1984)."""

    def as_json(self) -> dict[str, float]:
        """Returns the figures by name."""
        return asdict(self)

    def relative_to(self, other: "Figures") -> dict[str, float | None]:
        """Returns each figure as a part of another scheduler's; None where that is 0."""
        theirs = other.as_json()
        return {name: (value / theirs[name] if theirs[name] else None) for name, value in self.as_json().items()}


def figures_of(placed: Sequence[Placed], gpus: int) -> Figures:
    """Returns the figures of a replay.

    Args:
        placed: All jobs that ran; at least one.
        gpus: GPUs of the lab.
    """
    waits = sorted(item.wait_s for item in placed)
    count = len(waits)
    users: defaultdict[str, list[Placed]] = defaultdict(list)
    for item in placed:
        users[item.job.user].append(item)
    slowdowns = [_mean([_slowdown(item) for item in items]) for items in users.values()]
    span_s = max(item.end_s for item in placed) - min(item.job.submit_s for item in placed)
    used_s = sum(item.job.duration_s * item.job.gpus for item in placed)
    return Figures(
        jobs=count,
        average_wait_s=_mean(waits),
        median_wait_s=waits[count // 2],
        p95_wait_s=waits[ceil(0.95 * count) - 1],
        longest_wait_s=waits[-1],
        average_jct_s=_mean([item.end_s - item.job.submit_s for item in placed]),
        average_bounded_slowdown=_mean([_slowdown(item) for item in placed]),
        utilisation=used_s / (gpus * span_s) if gpus and span_s else 0.0,
        worst_user_wait_s=max(_mean([item.wait_s for item in items]) for items in users.values()),
        jain_index=sum(slowdowns) ** 2 / (len(slowdowns) * sum(value**2 for value in slowdowns)),
    )


def _slowdown(item: Placed) -> float:
    return max(1.0, (item.wait_s + item.job.duration_s) / max(BOUND_S, item.job.duration_s))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
