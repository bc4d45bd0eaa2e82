"""How fair and how busy the lab is: waits by user, use of the devices, ends by reason."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean, median

from fetchml.config.settings import Settings
from fetchml.home import Home
from fetchml.queueing.learned import seconds_of
from fetchml.queueing.look import hosts_of
from fetchml.store.index import RunIndex, RunRow


@dataclass(frozen=True, slots=True)
class Waits:
    """How long runs waited, in seconds; those that wait still count up to now."""

    count: int
    mean_s: float
    median_s: float
    p95_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class UserStats:
    """What one user has had of the lab."""

    user: str
    waits: Waits
    run_s: float
    gpu_s: float


@dataclass(frozen=True, slots=True)
class Stats:
    """What happened in a span of time."""

    since: datetime
    until: datetime
    runs: int
    """Runs that were queued, ran or ended in it."""
    waits: Waits | None
    users: tuple[UserStats, ...]
    """By use of GPUs, most first."""
    ends: dict[str, int]
    """Runs that ended, by end reason."""
    retried: int
    """Runs that had more than one attempt."""
    gpus: int
    """GPUs of the lab as it is now."""
    utilisation: float | None
    """GPU-seconds held, out of all there were; None without GPUs."""
    fairness: float | None
    """Jain's index of the users' mean slowdowns, 1 for equal; None for fewer than two users.

    R. Jain, D. Chiu, W. Hawe, A Quantitative Measure of Fairness, DEC TR-301, 1984.
    """


def stats(settings: Settings, span: timedelta, now: datetime | None = None) -> Stats:
    """Returns what happened lately.

    Args:
        settings: The settings of this call.
        span: How far to look back.
        now: The present.
    """
    until = now or datetime.now(UTC)
    since = until - span
    rows = [row for row in RunIndex(settings.store).rows() if _is_within(row, since)]
    gpus = sum(len(host.capacity.devices) for host in hosts_of(Home(settings)))
    used = sum(_gpu_seconds(row, since, until) for row in rows)
    by_user: defaultdict[str, list[RunRow]] = defaultdict(list)
    for row in rows:
        by_user[row.user].append(row)
    users = [
        UserStats(
            user,
            waits,
            sum(seconds_of(row) or 0.0 for row in theirs),
            sum(_gpu_seconds(row, since, until) for row in theirs),
        )
        for user, theirs in by_user.items()
        if (waits := _waits(theirs, until)) is not None
    ]
    return Stats(
        since=since,
        until=until,
        runs=len(rows),
        waits=_waits(rows, until),
        users=tuple(sorted(users, key=lambda item: (-item.gpu_s, -item.run_s, item.user))),
        ends=dict(Counter(row.end_reason or "unknown" for row in rows if row.is_final)),
        retried=sum(row.attempt > 1 for row in rows),
        gpus=gpus,
        utilisation=used / (gpus * span.total_seconds()) if gpus else None,
        fairness=_jain([slowdown for theirs in by_user.values() if (slowdown := _slowdown(theirs)) is not None]),
    )


def _is_within(row: RunRow, since: datetime) -> bool:
    if row.state == "damaged":
        return False
    return row.ended_at is None or datetime.fromisoformat(row.ended_at) >= since


def _wait_s(row: RunRow, now: datetime) -> float | None:
    if row.started_at is None and row.is_final:
        return None  # it never started
    start = datetime.fromisoformat(row.started_at) if row.started_at else now
    return max(0.0, (start - datetime.fromisoformat(row.queued_at)).total_seconds())


def _waits(rows: Sequence[RunRow], now: datetime) -> Waits | None:
    waits = sorted(wait for row in rows if (wait := _wait_s(row, now)) is not None)
    if not waits:
        return None
    p95 = waits[min(len(waits) - 1, int(0.95 * len(waits)))]
    return Waits(len(waits), fmean(waits), median(waits), p95, waits[-1])


def _gpu_seconds(row: RunRow, since: datetime, until: datetime) -> float:
    if row.started_at is None:
        return 0.0
    start = max(since, datetime.fromisoformat(row.started_at))
    end = datetime.fromisoformat(row.ended_at) if row.ended_at else until
    return row.gpus * max(0.0, (min(end, until) - start).total_seconds())


_SHORTEST_S = 10.0


def _slowdown(rows: Sequence[RunRow]) -> float | None:
    """Returns the mean bounded slowdown of runs that have ended (D. Feitelson et al., JSSPP 1997)."""
    found: list[float] = []
    for row in rows:
        ran = seconds_of(row)
        if ran is None or row.started_at is None:
            continue
        waited = (datetime.fromisoformat(row.started_at) - datetime.fromisoformat(row.queued_at)).total_seconds()
        found.append(max(1.0, (max(0.0, waited) + ran) / max(ran, _SHORTEST_S)))
    return fmean(found) if found else None


def _jain(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))
