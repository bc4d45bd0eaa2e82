"""Decides which waiting runs this host takes now, and claims them."""

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.admission.decide import Admit, Decision, Refuse, Wait, decide
from fetchml.admission.lab import Pending
from fetchml.daemons.worker import Waiting
from fetchml.errors import FetchmlError
from fetchml.execution.cancel import cancel_unstarted
from fetchml.execution.claims import run_claim
from fetchml.home import Home
from fetchml.models.claim import Claim, ClaimKind
from fetchml.models.host import host_name
from fetchml.models.resources import DeviceShare
from fetchml.queueing.look import Moment, PoolLimits, Queue
from fetchml.store.outpost import OutpostRunStore

_SHOWN = 500
"""Waiting runs, from the front of the queue, whose reasons are published; `fetchml why` finds those of any."""


@dataclass(frozen=True, slots=True)
class Start:
    """A run that fits now, on this host."""

    run_id: str
    attempt: int
    queued_at: datetime
    shares: tuple[DeviceShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """The outcome of one look at the queue."""

    starts: tuple[Start, ...]
    """Runs to start here, in order; each still has to be claimed."""
    changed: bool
    """Whether what runs or waits differs from the look before."""
    decisions: tuple[Decision, ...] = ()
    """What was decided, for all hosts."""


class Placer:
    """Places runs on one host.

    Args:
        home: The home folder.
        worker: Name of the worker, for the claims.
    """

    def __init__(self, home: Home, worker: str) -> None:
        self._home = home
        self._worker = worker
        self._host = host_name()
        self._queue = Queue(home)
        self._claims: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._waiting: dict[str, Waiting] = {}
        self._last_reasons: dict[str, tuple[str, ...]] = {}

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the runs that hold resources here, sorted."""
        with self._lock:
            return tuple(sorted(self._claims))

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What is held here."""
        with self._lock:
            return tuple(self._claims.values())

    @property
    def waiting(self) -> dict[str, Waiting]:
        """Why the others wait, those in front."""
        with self._lock:
            return dict(self._waiting)

    def held(self, run_id: str) -> Claim | None:
        """Returns the claim of a run this host holds, or None."""
        with self._lock:
            return self._claims.get(run_id)

    def release(self, run_id: str) -> None:
        """Frees what a run held."""
        with self._lock:
            self._claims.pop(run_id, None)

    def recover(self) -> list[Claim]:
        """Returns the claims of this host whose attempts are not over, and holds their resources again.

        Cancellations that were cut short are completed on the way.
        """
        store = self._home.store
        if isinstance(store, OutpostRunStore):
            with suppress(FetchmlError):  # the worker asks again and again
                store.settle()
            return self.hold(store.own())
        found: list[Claim] = []
        for row in self._home.index.unfinished():
            claim = self._home.store.read_claim(row.run_id, row.attempt)
            if claim is None:
                continue
            if claim.kind is ClaimKind.CANCEL:
                cancel_unstarted(
                    self._home.store, row.run_id, claim.worker, lambda: datetime.now(UTC), self._home.keys.signer
                )
            elif claim.host == self._host:
                found.append(claim)
        return self.hold(found)

    def hold(self, claims: Iterable[Claim]) -> list[Claim]:
        """Holds the resources of claims; returns those that it did not hold before."""
        with self._lock:
            fresh = [claim for claim in claims if claim.run_id not in self._claims]
            self._claims.update({claim.run_id: claim for claim in fresh})
        return fresh

    def place(self, limits: PoolLimits) -> Placed:
        """Decides what may start now.

        Args:
            limits: What Prefect says about the pool.
        """
        freed = self._release_over()
        with self._lock:
            claimed = dict(self._claims)
        moment = self._queue.look(limits, claimed)
        decisions = decide(moment.pending, moment.lab, moment.policy, moment.now)
        waiting: dict[str, Waiting] = {}
        starts: list[Start] = []
        runs = {run.run_id: run for run in moment.pending}
        for decision in decisions:
            match decision:
                case Wait(run_id=run_id, position=position, reasons=reasons):
                    if position <= _SHOWN:
                        waiting[run_id] = Waiting(position=position, reasons=tuple(str(item) for item in reasons))
                case _:
                    start = self._start(decision, runs)
                    if start is not None:
                        starts.append(start)
        waiting.update(_resting(moment))
        with self._lock:
            changed = freed or bool(starts) or waiting != self._waiting
            self._waiting = waiting
        self._last_reasons = {run_id: item.reasons for run_id, item in waiting.items()} | {
            start.run_id: self._last_reasons.get(start.run_id, ()) for start in starts
        }
        return Placed(tuple(starts), changed, tuple(decisions))

    def claim(self, start: Start, flow_run_id: str) -> Claim | None:
        """Takes a run; this is what makes its start single.

        Returns:
            The claim, or None if the run was cancelled in this moment or another worker was first.
        """
        store = self._home.store
        claim = run_claim(
            store.read_plan(start.run_id),
            start.run_id,
            start.attempt,
            worker=self._worker,
            now=datetime.now(UTC),
            shares=start.shares,
            flow_run_id=flow_run_id,
            waited_for=self._last_reasons.get(start.run_id, ()),
        )
        if not store.claim(claim):
            return None
        with self._lock:
            self._claims[start.run_id] = claim
        return claim

    def _start(self, decision: Admit | Refuse, runs: Mapping[str, Pending]) -> Start | None:
        """Returns what to start here, or None if another host starts it.

        A run that no host can ever take starts all the same: its own preflight refuses it, with a complete record.
        """
        run = runs[decision.run_id]
        if isinstance(decision, Refuse):
            return Start(run.run_id, run.attempt, run.queued_at)
        if len(decision.parts) != 1 or decision.parts[0].host != self._host:
            return None
        return Start(run.run_id, run.attempt, run.queued_at, decision.parts[0].shares)

    def _release_over(self) -> bool:
        """Frees what attempts held that are over: their processes still talk to Prefect, which needs no device."""
        over = [claim for claim in self.claims if self._is_over(claim)]
        for claim in over:
            self.release(claim.run_id)
        return bool(over)

    def _is_over(self, claim: Claim) -> bool:
        try:
            return self._home.store.read_manifest(claim.run_id).is_over(claim.attempt)
        except FetchmlError:
            return False  # what cannot be read is held on to


def _resting(moment: Moment) -> dict[str, Waiting]:
    """Returns the runs whose next attempt is not due, behind all others."""
    behind = len(moment.pending) + 1
    return {
        run_id: Waiting(position=behind + place, reasons=(f"its next attempt is due at {due:%H:%M:%S} UTC",))
        for place, (run_id, due) in enumerate(sorted(moment.resting.items(), key=lambda item: item[1])[:_SHOWN])
    }
