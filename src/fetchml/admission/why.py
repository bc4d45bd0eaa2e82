"""Which reasons a run is given when no host takes it: those of the closest one, and how many others are shut."""

from collections import Counter
from collections.abc import Sequence

from fetchml.admission.access import never_open
from fetchml.admission.lab import HostState
from fetchml.admission.needs import Needs
from fetchml.admission.reasons import Blocker, Reason
from fetchml.admission.room import Room
from fetchml.admission.shortage import shortages

_COUNTED = (Blocker.DRAINED, Blocker.SILENT)


def lacking_now(
    needs: Needs, rooms: Sequence[Room], shut: Sequence[Reason], *, is_named: bool, kept_for: str | None = None
) -> tuple[Reason, ...]:
    """Returns why no host that could run it takes it now.

    Args:
        needs: What the run asks for.
        rooms: What is free on the hosts that are open to it.
        shut: Why the others that could run it are not open; one each.
        is_named: Whether the reasons name the host.
        kept_for: The run ahead that the rest is kept for, if any.
    """
    short = [room for room in rooms if room.fit(needs) is None] if needs.nodes > 1 else rooms
    # To tell in words what is missing costs more than all else, so only the host that is closest is asked.
    closest = min(short, key=lambda room: room.lack(needs), default=None)
    best = shortages(needs, closest, is_named=is_named, kept_for=kept_for) if closest is not None else ()
    fitting = len(rooms) - len(short)
    together = (Reason(Blocker.NO_HOST, needs.nodes, fitting, kept_for=kept_for),) if needs.nodes > 1 else ()
    return (*together, *best, *_summed(shut, is_alone=closest is None))


def lacking_ever(needs: Needs, hosts: Sequence[HostState], user: str, group: str | None) -> tuple[Reason, ...]:
    """Returns why no host can ever run it, however idle; empty if enough of them can."""
    able = 0
    small: list[tuple[Reason, ...]] = []
    shut: list[tuple[Reason, ...]] = []
    elsewhere: list[tuple[Reason, ...]] = []
    for state in hosts:
        barrier = never_open(needs, state, user, group)
        lacks = shortages(needs, Room.empty(state), is_named=len(hosts) > 1)
        if barrier is None and not lacks:
            able += 1
            if able >= needs.nodes:
                return ()
        elif barrier is None:
            small.append(lacks)
        elif barrier.blocker is Blocker.HOST:
            elsewhere.append((barrier,))
        elif lacks:
            small.append((barrier, *lacks))
        else:
            shut.append((barrier,))
    together = (Reason(Blocker.NO_HOST, needs.nodes, able),) if needs.nodes > 1 or not hosts else ()
    return (*together, *min(shut or small or elsewhere, key=distance, default=()))


def distance(reasons: tuple[Reason, ...]) -> tuple[float, float]:
    """Returns how far a host is from running something: first by what cannot change, then by how much it lacks."""
    hardest = max(_HARDNESS.get(reason.blocker, 0) for reason in reasons)
    lack = sum(1 - reason.available / reason.needed if reason.needed > reason.available else 1.0 for reason in reasons)
    return hardest, lack


_HARDNESS = {
    Blocker.STRANGERS: 1,
    Blocker.SUSPENDED: 1,
    Blocker.DEDICATED: 2,
    Blocker.GPU_MODEL: 3,
    Blocker.GPU_VENDOR: 4,
    Blocker.ARCH: 5,
    Blocker.HOST: 6,
}


def _summed(shut: Sequence[Reason], *, is_alone: bool) -> tuple[Reason, ...]:
    """Returns one reason for each way of being shut; several hosts are counted."""
    counts = Counter(reason.blocker for reason in shut)
    summed: list[Reason] = []
    for blocker in _COUNTED:
        if counts[blocker] > 1:
            summed.append(Reason(blocker, 1, counts[blocker]))
        else:
            summed += [reason for reason in shut if reason.blocker is blocker]
    others = [reason for reason in shut if reason.blocker not in _COUNTED]
    return (*summed, *(others if is_alone else others[:1]))
