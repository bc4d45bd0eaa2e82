"""The queue and the lab as the store has them at one moment, in the form that decisions are made from.

Everything comes from the run store: what waits from its manifests, what is held from its claims, what there is from
what the workers have published. So every worker of a pool, and every command that asks why, decides from the same.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fetchml.admission.lab import Dedication, Forecast, Holding, HostState, Lab, Limits, Pending, Stranger
from fetchml.admission.policy import EASY, STRICT_FIFO, Policy
from fetchml.config.settings import Settings
from fetchml.errors import FetchmlError
from fetchml.home import Home
from fetchml.models.claim import Claim, ClaimKind
from fetchml.models.manifest import RunManifest
from fetchml.queueing.learned import LATEST, Learned
from fetchml.store.hosts import KnownHost
from fetchml.store.index import RunRow


@dataclass(frozen=True, slots=True)
class Moment:
    """The queue and the lab at one moment."""

    pending: tuple[Pending, ...]
    """Runs that may start as soon as there is room."""
    lab: Lab
    policy: Policy
    now: datetime
    resting: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    """Runs that wait for the time of their next attempt, by id."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What Prefect says about the pool; None and empty: no limit. A pool or queue that is paused has a limit of 0."""

    runs: int | None = None
    by_priority: Mapping[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is known of a waiting run."""

    stamp: str
    """Identity of the record it was read from."""
    learned: int
    """How much was learned when it was forecast."""
    run: Pending
    due: datetime | None
    """When its attempt may start."""


@dataclass(frozen=True, slots=True)
class _Started:
    """What is known of a started attempt; it never changes."""

    claim: Claim
    max_runtime_s: int | None


class Queue:
    """The queue of one store, for one who looks at it again and again.

    Args:
        home: The home folder.
        now: The clock.
    """

    def __init__(self, home: Home, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._home = home
        self._now = now
        self._rows = home.live_runs()
        self._learned = Learned()
        self._pending: dict[str, _Waiting] = {}
        self._started: dict[tuple[str, int], _Started] = {}

    def look(self, limits: PoolLimits | None = None, claimed: Mapping[str, Claim] | None = None) -> Moment:
        """Returns what there is now.

        Args:
            limits: What Prefect says about the pool.
            claimed: Claims of the caller by run; its runs may still be shown as queued.
        """
        now, limits, claimed = self._now(), limits or PoolLimits(), claimed or {}
        hosts = hosts_of(self._home)
        rows = self._rows.look()
        self._learned.see((*rows.ended[-LATEST:], *rows.unfinished))
        self._learned.learn(rows.ended, sum(len(host.capacity.devices) for host in hosts))
        queued = [row for row in rows.unfinished if row.state == "queued" and row.run_id not in claimed]
        known = {row.run_id: item for row in queued if (item := self._waiting(row)) is not None}
        self._pending = known
        resting = {run_id: item.due for run_id, item in known.items() if item.due is not None and item.due > now}
        started = list(self._holding(rows.unfinished, claimed, now))
        lab = Lab(
            hosts=hosts,
            holding=tuple(item for item, _ in started),
            usage=self._learned.usage(now),
            run_limit=limits.runs,
            queue_limits=limits.by_priority,
            started_by_priority=Counter(priority for _, priority in started),
        )
        pending = tuple(item.run for run_id, item in known.items() if run_id not in resting)
        return Moment(pending, lab, policy_of(self._home.settings), now, resting)

    def _waiting(self, row: RunRow) -> "_Waiting | None":
        known = self._pending.get(row.run_id)
        if known is not None and (known.stamp, known.learned) == (row.stamp, self._learned.count):
            return known
        if known is None or known.stamp != row.stamp:
            try:
                manifest = self._home.store.read_manifest(row.run_id)
            except FetchmlError:
                return None  # damaged, or removed at this moment; lists show it
            run, due = pending_of(manifest), getattr(manifest.status, "not_before", None)
        else:
            run, due = known.run, known.due
        forecast = self._learned.forecast(row, max_runtime_s=run.request.max_runtime_s)
        if forecast != run.forecast:
            run = replace(run, forecast=forecast)
        return _Waiting(row.stamp, self._learned.count, run, due)

    def _holding(
        self, rows: tuple[RunRow, ...], claimed: Mapping[str, Claim], now: datetime
    ) -> Iterator[tuple[Holding, int]]:
        """Yields what is held, with the priority of the run."""
        current: dict[tuple[str, int], _Started] = {}
        for row in rows:
            key = (row.run_id, row.attempt)
            started = self._started.get(key) or self._begun(row, claimed.get(row.run_id))
            if started is None:
                continue
            current[key] = started
            claim = started.claim
            if claim.kind is not ClaimKind.RUN:
                continue
            elapsed_s = max(0.0, (now - claim.claimed_at).total_seconds())
            forecast = self._learned.forecast(row, elapsed_s=elapsed_s, max_runtime_s=started.max_runtime_s)
            yield _holding(row, claim, forecast), row.priority
        self._started = current

    def _begun(self, row: RunRow, claim: Claim | None) -> "_Started | None":
        """Returns what is known of a started attempt, or None for one that has not started or is damaged."""
        store = self._home.store
        try:
            if claim is None and row.state != "queued":
                claim = store.read_claim(row.run_id, row.attempt)
            if claim is None:
                return None
            return _Started(claim, store.read_plan(row.run_id).resources.max_runtime_s)
        except FetchmlError:
            return None  # one damaged record keeps nobody else waiting; lists show it


def pending_of(manifest: RunManifest) -> Pending:
    """Returns a run as one that waits, without a forecast."""
    identity, queueing, request = manifest.identity, manifest.queueing, manifest.resources.requested
    return Pending(
        run_id=identity.run_id,
        priority=identity.priority,
        queued_at=manifest.times.queued_at,
        request=request,
        user=identity.user,
        group=identity.group,
        host=queueing.host if queueing else None,
        archs=queueing.archs if queueing else (),
        moved_up_at=queueing.moved_up_at if queueing else None,
        attempt=manifest.attempt,
    )


def hosts_of(home: Home) -> tuple[HostState, ...]:
    """Returns the hosts of the lab as their workers published them last."""
    lease_s = home.settings.worker_lease
    return tuple(state for item in home.hosts.known() if (state := host_state(item, lease_s)) is not None)


def host_state(known: KnownHost, lease_s: float) -> HostState | None:
    """Returns a host as decisions see it, or None for one that has never published."""
    published, marks = known.state, known.marks
    if published is None:
        return None
    dedication = marks.dedication
    return HostState(
        capacity=published.capacity,
        is_drained=marks.is_drained,
        is_silent=known.silent_s > lease_s,
        dedication=Dedication(dedication.users, dedication.groups, dedication.until) if dedication else None,
        strangers=tuple(Stranger(item.device_id, item.memory_bytes, item.processes) for item in published.strangers),
        memory_taken=published.memory_taken,
        disk_free_bytes=published.disk_free_bytes,
        suspended=published.suspended,
    )


def policy_of(settings: Settings) -> Policy:
    """Returns the rules of the queue, as the settings of this host have them."""
    policy = {"default": Policy(), "easy": EASY, "fifo": STRICT_FIFO}[settings.queue_policy]
    return replace(
        policy,
        user_limit=Limits(settings.queue_user_gpus, settings.queue_user_runs),
        group_limit=Limits(settings.queue_group_gpus, settings.queue_group_runs),
    )


def _holding(row: RunRow, claim: Claim, forecast: Forecast | None) -> Holding:
    return Holding(
        run_id=row.run_id,
        host=claim.host,
        cpus=claim.cpus,
        memory_bytes=claim.memory_bytes,
        shares=claim.held,
        disk_bytes=claim.disk_bytes,
        user=row.user,
        group=row.group,
        started_at=claim.claimed_at,
        forecast=forecast,
    )
