"""Which waiting runs may start now, and where: a pure function of the queue and the lab.

Runs are considered in the order of the policy. The first that does not fit gets a reservation; those behind it may
start if they do not delay it. Runs that only a limit holds back, or a host that is shut, reserve nothing and hold up
nobody.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf, isinf
from typing import NamedTuple

from fetchml.admission.access import never_open, not_open_now
from fetchml.admission.lab import Holding, HostState, Lab, Pending
from fetchml.admission.limits import Held
from fetchml.admission.needs import Needs
from fetchml.admission.order import in_order
from fetchml.admission.pack import preferred
from fetchml.admission.policy import Passing, Policy
from fetchml.admission.reasons import Blocker, Reason
from fetchml.admission.reserve import Reservation, ends_at, held_by, reserve
from fetchml.admission.room import Room, Take
from fetchml.admission.why import lacking_ever, lacking_now
from fetchml.models.resources import DeviceShare, HostCapacity


@dataclass(frozen=True, slots=True)
class Part:
    """What a run takes of one host."""

    host: str
    shares: tuple[DeviceShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Admit:
    """The run may start, on all of these hosts together."""

    run_id: str
    parts: tuple[Part, ...]


class Wait(NamedTuple):
    """The run waits. A tuple, as ten thousand of them are made at each look at a long queue."""

    run_id: str
    position: int
    """Place among those that wait, from 1."""
    reasons: tuple[Reason, ...]
    starts_by: datetime | None = None
    """When it starts at the latest, by the forecasts of those in its way; only the run that others make room for."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """No host of the lab can ever run it."""

    run_id: str
    reasons: tuple[Reason, ...]


Decision = Admit | Wait | Refuse


def decide(pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime) -> list[Decision]:
    """Returns one decision for each waiting run, in the order they are considered.

    Args:
        pending: Runs that wait, in any order.
        lab: The hosts, and what is held of them.
        policy: The rules.
        now: The present.
    """
    return _Board(lab, policy, now).decide(in_order(pending, lab, policy, now))


def fits_never(
    needs: Needs, hosts: Sequence[HostState], user: str = "", group: str | None = None
) -> tuple[Reason, ...]:
    """Returns why no host can ever run something; empty if it can wait for its turn.

    Args:
        needs: What is asked for.
        hosts: All hosts of the lab, whatever state they are in.
        user: Who asks: a host that is kept for others for ever is none for them.
        group: The group the run belongs to.
    """
    return lacking_ever(needs, hosts, user, group)


@dataclass(slots=True)
class _Kind:
    """What runs with the same needs have in common; once there is no room for one, there is none for the next."""

    never: tuple[Reason, ...] = ()
    rooms: list[Room] = field(default_factory=list[Room])
    """Hosts that are open to it."""
    shut: list[Reason] = field(default_factory=list[Reason])
    """Why others that could run it are not."""
    no_room: tuple[Reason, ...] = ()
    kept: tuple[Reason, ...] = ()
    """Why a run of this kind may not pass one ahead of it."""
    kept_from_s: float = inf
    """Runs of this kind that end no earlier than this may not pass."""


class _Board:
    """What is free, held and kept while decisions are made."""

    def __init__(self, lab: Lab, policy: Policy, now: datetime) -> None:
        self._lab = lab
        self._policy = policy
        self._now = now
        self._now_s = now.timestamp()
        self._hosts = sorted(lab.hosts, key=lambda state: state.name)
        by_host: defaultdict[str, list[Holding]] = defaultdict(list)
        for item in sorted(lab.holding, key=lambda item: (item.run_id, item.host)):
            by_host[item.host].append(item)
        self._rooms = {state.name: Room.of(state, by_host[state.name]) for state in self._hosts}
        kinds: dict[object, int] = {}
        self._alike = [
            (room, kinds.setdefault(_hardware(room.state.capacity), len(kinds))) for room in self._rooms.values()
        ]
        """Each host with a number for what it has: hosts with the same number can run the same when they are idle."""
        self._held: list[tuple[float, Holding]] = [
            (ends_at(item.started_at, item.forecast.upper_s if item.forecast else None, now), item)
            for item in lab.holding
        ]
        self._limits = Held(lab, policy)
        self._is_personal = any(state.dedication is not None for state in self._hosts)
        self._kinds: dict[object, _Kind] = {}
        self._reservation: Reservation | None = None
        self._first: str | None = None
        """The run ahead that nobody may pass, where the policy has it so."""
        self._waiting = 0

    def decide(self, runs: Sequence[Pending]) -> list[Decision]:
        """Returns a decision for each run, in this order."""
        decisions: list[Decision] = []
        answer, kinds = decisions.append, self._kinds
        has_limits = self._limits.are_any
        for run in runs:
            kind = kinds.get(id(run.needs)) if not self._is_personal else None
            # Of thousands that wait, nearly all are as one before them; these are not looked at any further.
            if kind is not None and kind.no_room and not has_limits and self._first is None:
                self._waiting += 1
                answer(Wait(run.run_id, self._waiting, kind.no_room))
            else:
                answer(self._one(run))
        return decisions

    def _one(self, run: Pending) -> Decision:
        kind = self._kind(run)
        if kind.never:
            return Refuse(run.run_id, kind.never)
        limits = self._limits.over(run)
        if limits:
            return self._wait(run, limits)
        if self._first is not None:
            return self._wait(run, (Reason(Blocker.RUN_AHEAD, kept_for=self._first),))
        if kind.no_room:
            return self._wait(run, kind.no_room)
        if kind.kept and self._ends(run) >= kind.kept_from_s:
            return self._wait(run, kind.kept)
        found = preferred(run.needs, kind.rooms)
        if len(found) < run.needs.nodes:
            kind.no_room = lacking_now(run.needs, kind.rooms, kind.shut, is_named=len(self._hosts) > 1)
            return self._hold_up(run, kind)
        if self._reservation is None:
            return self._admit(run, found)
        return self._pass(run, kind, self._reservation)

    def _kind(self, run: Pending) -> _Kind:
        key = (id(run.needs), run.user, run.group) if self._is_personal else id(run.needs)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._new_kind(run)
        return kind

    def _new_kind(self, run: Pending) -> _Kind:
        if not self._hosts:
            return _Kind(no_room=(Reason(Blocker.NO_HOST, 1),))
        kind = _Kind()
        fits: dict[int, bool] = {}
        for room, hardware in self._alike:
            state = room.state
            if never_open(run.needs, state, run.user, run.group) is not None:
                continue
            if hardware not in fits:
                fits[hardware] = Room.empty(state).fit(run.needs) is not None
            if not fits[hardware]:
                continue
            shut = not_open_now(state, run.user, run.group, self._now)
            if shut is None:
                kind.rooms.append(room)
            else:
                kind.shut.append(shut)
        if len(kind.rooms) + len(kind.shut) < run.needs.nodes:
            kind.never = fits_never(run.needs, self._hosts, run.user, run.group)
        return kind

    def _hold_up(self, run: Pending, kind: _Kind) -> Wait:
        """Lets a run wait, and others for it if the policy says so."""
        starts_by: datetime | None = None
        if self._policy.passing is Passing.NONE:
            self._first = run.run_id
        elif self._policy.passing is Passing.BACKFILL and self._reservation is None:
            self._reservation = reserve(run, kind.rooms, self._held, self._now)
            if self._reservation is not None and not isinf(self._reservation.starts_s):
                starts_by = datetime.fromtimestamp(self._reservation.starts_s, UTC)
        return self._wait(run, kind.no_room, starts_by)

    def _pass(self, run: Pending, kind: _Kind, ahead: Reservation) -> Decision:
        """Starts a run behind the one that waits, if it does not delay it."""
        ends_s = self._ends(run)
        allowed = [ahead.allowed(room, ends_s) for room in kind.rooms]
        found = preferred(run.needs, allowed)
        if len(found) < run.needs.nodes:
            kind.kept_from_s = ends_s
            kind.kept = lacking_now(run.needs, allowed, kind.shut, is_named=len(self._hosts) > 1, kept_for=ahead.run_id)
            return self._wait(run, kind.kept)
        return self._admit(run, found)

    def _ends(self, run: Pending) -> float:
        return self._now_s + run.forecast.upper_s if run.forecast is not None else inf

    def _admit(self, run: Pending, found: Sequence[tuple[Room, tuple[Take, ...]]]) -> Admit:
        ends_s = self._ends(run)
        parts: list[Part] = []
        gpus = 0.0
        for room, takes in found[: run.needs.nodes]:
            held = held_by(run, room, takes)
            self._rooms[held.host].take(held)
            self._held.append((ends_s, held))
            if self._reservation is not None:
                self._reservation.take(held, ends_s)
            parts.append(Part(held.host, held.shares))
            gpus += sum(share.share for share in held.shares)
        self._limits.admit(run, gpus)
        return Admit(run.run_id, tuple(parts))

    def _wait(self, run: Pending, reasons: tuple[Reason, ...], starts_by: datetime | None = None) -> Wait:
        self._waiting += 1
        return Wait(run.run_id, self._waiting, reasons, starts_by)


def _hardware(capacity: HostCapacity) -> tuple[object, ...]:
    """Returns what makes two hosts alike: what fits on one of them when it is idle fits on the other."""
    devices = sorted(
        (str(item.vendor), item.model, item.memory_bytes or -1, str(item.memory_kind), item.slots or 0)
        for item in capacity.devices
    )
    return (capacity.cpus, capacity.memory_bytes, capacity.disk_bytes, *devices)
