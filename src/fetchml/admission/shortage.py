"""What a host lacks for a run, in numbers."""

from collections.abc import Iterator, Sequence

from fetchml.admission.needs import EPSILON, Needs
from fetchml.admission.reasons import Blocker, Reason
from fetchml.admission.room import Room, Spot


def shortages(needs: Needs, room: Room, *, is_named: bool, kept_for: str | None = None) -> tuple[Reason, ...]:
    """Returns what keeps a run from fitting into a room; empty if it fits.

    Args:
        needs: What the run asks for.
        room: What is free.
        is_named: Whether the reasons name the host; not worth a word where there is only one.
        kept_for: The run ahead that the rest is kept for, if any.
    """
    if room.fit(needs) is not None:
        return ()
    where = room.state.name if is_named else None
    found: list[Reason] = []
    free_cpus = max(0.0, round(room.cpus, 6))  # 1 - 0.9 is less than 0.1
    if needs.cpus > room.cpus + EPSILON:
        found.append(Reason(Blocker.CPUS, needs.cpus, free_cpus, where, kept_for))
    if needs.memory_bytes > room.memory_bytes:
        found.append(Reason(Blocker.MEMORY, needs.memory_bytes, max(0, room.memory_bytes), where, kept_for))
    if room.disk_bytes is not None and needs.disk_bytes > room.disk_bytes:
        found.append(Reason(Blocker.DISK, needs.disk_bytes, max(0, room.disk_bytes), where, kept_for))
    if needs.gpus:
        found += _of_gpus(needs, room, where, kept_for)
    if not found:
        # Everything is there by itself, but the devices' memory is the host's, too.
        free = max(0, room.memory_bytes)
        more = min((spot.memory_bytes or 0 for spot in room.spots.values()), default=0)
        asked = needs.memory_bytes + needs.device_count * (needs.gpu_memory_bytes or more)
        found.append(Reason(Blocker.MEMORY, max(asked, free + 1), free, where, kept_for))
    return tuple(found)


def _of_gpus(needs: Needs, room: Room, where: str | None, kept_for: str | None) -> Iterator[Reason]:
    """Narrows the devices down, step by step; the first step that leaves too few is the reason."""
    count = needs.device_count
    spots = list(room.spots.values())
    if not spots:
        yield Reason(Blocker.GPUS, needs.gpus, 0, where, kept_for)
        return
    right_vendor = [spot for spot in spots if needs.suits_vendor(spot.device)]
    if not right_vendor:
        there = sorted({str(spot.device.vendor) for spot in spots})
        yield Reason(Blocker.GPU_VENDOR, needs.gpus, 0, where, who=(str(needs.vendor), *there))
        return
    right_model = [spot for spot in right_vendor if needs.suits_model(spot.device)]
    if not right_model:
        there = sorted({spot.device.model or "a model without a name" for spot in right_vendor})
        yield Reason(Blocker.GPU_MODEL, needs.gpus, 0, where, who=(str(needs.model), *there))
        return
    suited = [spot for spot in right_model if needs.suits_size(spot.device)]
    if not suited and needs.gpu_memory_bytes is not None:
        largest = max(spot.device.memory_bytes or 0 for spot in right_model)
        if largest < needs.gpu_memory_bytes:
            yield Reason(Blocker.GPU_MEMORY, needs.gpu_memory_bytes, largest, where, kept_for)
            return
    if len(suited) < count:
        yield Reason(Blocker.GPUS, needs.gpus, len(suited), where, kept_for)
        return
    yield from _of_free_gpus(needs, room, suited, where, kept_for)


def _of_free_gpus(
    needs: Needs, room: Room, suited: Sequence[Spot], where: str | None, kept_for: str | None
) -> Iterator[Reason]:
    """Tells why devices of the right kind are not free."""
    free = [spot for spot in suited if spot.holds(needs)]
    if len(free) >= needs.device_count:
        return
    open_ = [spot for spot in suited if not spot.is_closed]
    if needs.share_of(suited[0].device) >= 1:
        yield Reason(Blocker.GPUS, needs.gpus, len(free), where, kept_for)
    elif open_:
        yield _of_share(needs, open_, where, kept_for)
    for spot in suited:
        if spot.is_closed:
            yield from _closed(spot, room)


def _of_share(needs: Needs, spots: Sequence[Spot], where: str | None, kept_for: str | None) -> Reason:
    wide = [spot for spot in spots if spot.share + EPSILON >= needs.share_of(spot.device)]
    if not wide:
        most = max(spots, key=lambda spot: spot.share)
        share = max(0.0, round(most.share, 6))
        return Reason(Blocker.GPU_SHARE, needs.share_of(most.device), share, where, kept_for)
    known = [spot for spot in wide if not spot.unknown_count]
    best = max(known or wide, key=lambda spot: spot.memory_bytes or 0)
    memory = needs.memory_on(best.device) or needs.gpu_memory_bytes or 0
    if not known:
        return Reason(Blocker.GPU_MEMORY_UNKNOWN, memory, 0, where or best.device.id, kept_for)
    return Reason(Blocker.GPU_MEMORY, memory, max(0, best.memory_bytes or 0), where, kept_for)


def _closed(spot: Spot, room: Room) -> Iterator[Reason]:
    name = f"{spot.device.id} on {room.state.name}"
    fault = room.state.suspended.get(spot.device.id)
    if fault is not None:
        yield Reason(Blocker.SUSPENDED, where=name, who=(fault,))
    for stranger in room.state.strangers:
        if stranger.device_id == spot.device.id:
            yield Reason(Blocker.STRANGERS, stranger.memory_bytes or 0, where=name, who=stranger.processes)
