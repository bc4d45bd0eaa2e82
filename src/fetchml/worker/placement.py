"""Decides which scheduled runs this host takes now, and claims them."""

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.admission.decide import Admit, Part, Refuse, Wait, decide
from fetchml.admission.lab import Holding, HostState, Lab, Pending
from fetchml.admission.policy import Policy
from fetchml.daemons.worker import Waiting
from fetchml.errors import FetchmlError, NotFound
from fetchml.execution.cancel import cancel_unstarted
from fetchml.execution.claims import run_claim
from fetchml.home import Home
from fetchml.models.claim import Claim, ClaimKind
from fetchml.models.host import host_name
from fetchml.models.resources import DeviceShare, HostCapacity
from fetchml.models.status import Queued
from fetchml.store.outpost import OutpostRunStore


@dataclass(frozen=True, slots=True)
class Placed:
    """The outcome of one look at the queue."""

    admitted: tuple[Admit, ...]
    """Runs that fit now, in order; each still has to be claimed."""
    unknown: tuple[str, ...]
    """Names of scheduled flow runs that belong to no run of this store."""
    changed: bool
    """Whether what runs or waits differs from the look before."""


class Placer:
    """Places runs on one host.

    Args:
        home: The home folder.
        capacity: What the host offers.
        worker: Name of the worker, for the claims.
    """

    def __init__(self, home: Home, capacity: HostCapacity, worker: str) -> None:
        self._home = home
        self._capacity = capacity
        self._worker = worker
        self._claims: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._waiting: dict[str, Waiting] = {}
        self._last_reasons: dict[str, tuple[str, ...]] = {}
        self._known: dict[str, Pending] = {}
        """Requests of queued runs; they never change, and reading 200 manifests at each look would cost 0.2 s."""

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the runs that hold resources, sorted."""
        with self._lock:
            return tuple(sorted(self._claims))

    @property
    def waiting(self) -> dict[str, Waiting]:
        """Why the others wait."""
        with self._lock:
            return dict(self._waiting)

    @property
    def claims(self) -> list[Claim]:
        """The claims of the runs that hold resources."""
        with self._lock:
            return list(self._claims.values())

    def held(self, run_id: str) -> Claim | None:
        """Returns the claim of a run this host holds, or None."""
        with self._lock:
            return self._claims.get(run_id)

    def release(self, run_id: str) -> None:
        """Frees what a run held."""
        with self._lock:
            self._claims.pop(run_id, None)

    def recover(self) -> list[Claim]:
        """Returns the claims of this host whose runs have not ended, and holds their resources again.

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
            elif claim.host == host_name():
                found.append(claim)
        return self.hold(found)

    def hold(self, claims: Iterable[Claim]) -> list[Claim]:
        """Holds the resources of claims; returns those that it did not hold before."""
        with self._lock:
            fresh = [claim for claim in claims if claim.run_id not in self._claims]
            self._claims.update({claim.run_id: claim for claim in fresh})
        return fresh

    def place(self, run_ids: Sequence[str]) -> Placed:
        """Decides what may start now.

        Args:
            run_ids: What Prefect has scheduled for this store, by name of the flow run.
        """
        freed = self._release_sealed()
        unknown: list[str] = []
        pending: list[Pending] = []
        for run_id in run_ids:
            if self.held(run_id) is not None:
                continue
            try:
                found = self._pending(run_id)
            except NotFound:
                unknown.append(run_id)
                continue
            if found is not None:
                pending.append(found)
        self._known = {item.run_id: item for item in pending}
        with self._lock:
            holding = tuple(self._holding(claim) for claim in self._claims.values())
        lab = Lab((HostState(self._capacity),), holding)
        admitted: list[Admit] = []
        waiting: dict[str, Waiting] = {}
        for decision in decide(pending, lab, Policy(), datetime.now(UTC)):
            match decision:
                case Admit():
                    admitted.append(decision)
                case Refuse(run_id, _):
                    # It starts all the same: the attempt's own preflight refuses it, with a complete record.
                    admitted.append(Admit(run_id, (Part(self._capacity.host),)))
                case Wait(run_id=run_id, position=position, reasons=reasons):
                    waiting[run_id] = Waiting(position=position, reasons=tuple(str(reason) for reason in reasons))
        with self._lock:
            changed = freed or bool(admitted) or waiting != self._waiting
            self._waiting = waiting
        self._last_reasons |= {run_id: item.reasons for run_id, item in waiting.items()}
        return Placed(tuple(admitted), tuple(unknown), changed)

    def claim(self, admit: Admit, flow_run_id: str) -> Claim | None:
        """Takes an admitted run; this is what makes its start single.

        Returns:
            The claim, or None if the run was cancelled in this moment or another worker was first.
        """
        store = self._home.store
        waited = self._last_reasons.pop(admit.run_id, ())
        claim = run_claim(
            store.read_plan(admit.run_id),
            admit.run_id,
            store.read_manifest(admit.run_id).attempt,
            worker=self._worker,
            now=datetime.now(UTC),
            device_ids=tuple(share.device_id for part in admit.parts for share in part.shares),
            flow_run_id=flow_run_id,
            waited_for=waited,
        )
        if not store.claim(claim):
            self._known.pop(admit.run_id, None)
            return None
        with self._lock:
            self._claims[admit.run_id] = claim
        return claim

    def _holding(self, claim: Claim) -> Holding:
        """Returns what a claim holds; a claim names whole devices."""
        shares = tuple(DeviceShare(device_id=device_id, share=1) for device_id in claim.device_ids)
        return Holding(claim.run_id, self._capacity.host, claim.cpus, claim.memory_bytes, shares)

    def _pending(self, run_id: str) -> Pending | None:
        """Returns the request of a run if it waits."""
        known = self._known.get(run_id)
        if known is not None:
            return known
        manifest = self._home.store.read_manifest(run_id)
        status = manifest.status
        if not isinstance(status, Queued) or (status.not_before or datetime.now(UTC)) > datetime.now(UTC):
            return None
        return Pending(run_id, manifest.identity.priority, manifest.times.queued_at, manifest.resources.requested)

    def _release_sealed(self) -> bool:
        """Frees what attempts held that are over: their processes still talk to Prefect, which needs no device."""
        with self._lock:
            held = list(self._claims.values())
        over = [claim for claim in held if self._home.store.read_manifest(claim.run_id).is_over(claim.attempt)]
        for claim in over:
            self.release(claim.run_id)
        return bool(over)
