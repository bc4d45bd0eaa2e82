"""A reservation for the first run that waits: when and where it starts at the latest, by the forecasts.

EASY backfill (D. Lifka, The ANL/IBM SP scheduling system, JSSPP 1995): whoever is behind may start if it ends before
that moment, or uses only what is left over then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf, isinf

from fetchml.admission.lab import Holding, Pending
from fetchml.admission.pack import preferred
from fetchml.admission.room import Room, Take


@dataclass(slots=True)
class Reservation:
    """What is kept for a run."""

    run_id: str
    starts_s: float
    """Latest moment it starts, in seconds since 1970; infinity if a run in its way has no forecast."""
    rooms: dict[str, Room]
    """What is left over at that moment beside it, on each of its hosts."""

    def allowed(self, room: Room, ends_s: float) -> Room:
        """Returns the part of a room that a run behind may use if it ends by then."""
        late = self.rooms.get(room.state.name)
        return room if late is None or self._is_over(ends_s) else room.both(late)

    def take(self, held: Holding, ends_s: float) -> None:
        """Notes that a run behind has started."""
        late = self.rooms.get(held.host)
        if late is not None and not self._is_over(ends_s):
            late.take(held)

    def _is_over(self, ends_s: float) -> bool:
        """Whether a run that ends then is gone when this one starts."""
        return ends_s <= self.starts_s and not isinf(ends_s)


def ends_at(started_at: datetime | None, upper_s: float | None, now: datetime) -> float:
    """Returns when a run ends at the latest, in seconds since 1970: now if it is overdue, never without a forecast."""
    if upper_s is None or started_at is None:
        return inf
    return max(now.timestamp(), started_at.timestamp() + upper_s)


def reserve(
    run: Pending, rooms: Sequence[Room], held: Sequence[tuple[float, Holding]], now: datetime
) -> Reservation | None:
    """Returns what is kept for a run that does not fit now; None if it would not fit even if all our runs ended.

    Args:
        run: The run.
        rooms: What is free now on the hosts that are open to it.
        held: What is held on them, with the moments it ends.
        now: The present.
    """
    later = {room.state.name: room.copy() for room in rooms}
    fits = {name for name, room in later.items() if room.fit(run.needs) is not None}
    moments = sorted(
        ((ends_s, item.run_id, item) for ends_s, item in held if item.host in later), key=lambda entry: entry[:2]
    )
    starts_s = now.timestamp()
    position = 0
    while len(fits) < run.needs.nodes:
        if position == len(moments):
            return None
        starts_s = moments[position][0]
        changed: set[str] = set()
        while position < len(moments) and moments[position][0] == starts_s:
            item = moments[position][2]
            later[item.host].give(item)
            changed.add(item.host)
            position += 1
        fits |= {name for name in changed if later[name].fit(run.needs) is not None}
    kept: dict[str, Room] = {}
    for room, takes in preferred(run.needs, [later[name] for name in sorted(fits)])[: run.needs.nodes]:
        room.take(held_by(run, room, takes))
        kept[room.state.name] = room
    return Reservation(run.run_id, starts_s, kept)


def held_by(run: Pending, room: Room, takes: Sequence[Take]) -> Holding:
    """Returns what a run holds of a host once it starts there."""
    needs = run.needs
    shares = tuple(take.as_share for take in takes)
    return Holding(run.run_id, room.state.name, needs.cpus, needs.memory_bytes, shares, needs.disk_bytes)
