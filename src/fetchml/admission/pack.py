"""Which host a run goes to, of those it fits on."""

from collections.abc import Iterable

from fetchml.admission.needs import Needs
from fetchml.admission.room import Room, Take


def preferred(needs: Needs, rooms: Iterable[Room]) -> list[tuple[Room, tuple[Take, ...]]]:
    """Returns the rooms a run fits into, the best first, each with what it would take of the devices.

    Best is where least that others may want is lost: for devices the smallest memory, then the host with the fewest
    idle ones; without devices a host that has none, then the smallest host, then the fullest.
    """
    fitting = [(room, takes) for room in rooms if (takes := room.fit(needs)) is not None]
    if len(fitting) > 1:
        fitting.sort(key=lambda found: _loss(needs, *found))
    return fitting


def _loss(needs: Needs, room: Room, takes: tuple[Take, ...]) -> tuple[float, ...] | tuple[float | str, ...]:
    capacity = room.state.capacity
    if not needs.gpus:
        return (len(room.spots), capacity.memory_bytes, capacity.cpus, room.memory_bytes, room.cpus, room.state.name)
    sizes = [take.spot.device.memory_bytes or 0 for take in takes]
    shared = min(take.spot.share for take in takes)
    idle = room.widest[0]
    return (max(sizes), sum(sizes), round(shared, 6), idle, room.memory_bytes, room.cpus, room.state.name)
