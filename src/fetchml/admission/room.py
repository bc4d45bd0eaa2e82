"""What is free on one host, and whether a run fits into it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fetchml.admission.lab import Holding, HostState
from fetchml.admission.needs import EPSILON, Needs
from fetchml.models.resources import Device, DeviceShare, MemoryKind


@dataclass(slots=True)
class Spot:
    """What is free on one device."""

    device: Device
    share: float
    memory_bytes: int | None
    """In bytes; None: the device does not say how much it has."""
    unknown_count: int = 0
    """Holders that never said how much memory they take."""
    is_closed: bool = False
    """Strangers use it, or it does not answer."""

    def holds(self, needs: Needs) -> bool:
        """Whether what a run takes of one device is free here; its kind is not looked at."""
        if self.is_closed:
            return False
        share = needs.share_of(self.device)
        if share > self.share + EPSILON:
            return False
        if share >= 1:
            return True
        memory = needs.memory_on(self.device)
        if memory is None or self.memory_bytes is None:
            return needs.gpu_memory_bytes is None
        return not self.unknown_count and memory <= self.memory_bytes


class Take(NamedTuple):
    """What a run would take of one device."""

    spot: Spot
    share: float
    memory_bytes: int | None

    @property
    def as_share(self) -> DeviceShare:
        """The same, to be kept."""
        return DeviceShare(device_id=self.spot.device.id, share=self.share, memory_bytes=self.memory_bytes)


@dataclass(slots=True)
class Room:
    """What is free on one host."""

    state: HostState
    cpus: float
    memory_bytes: int
    disk_bytes: int | None
    spots: dict[str, Spot]
    _widest: tuple[int, float] | None = None

    @classmethod
    def empty(cls, state: HostState) -> "Room":
        """Returns the room of a host on which nothing runs, neither ours nor others'."""
        capacity = state.capacity
        spots = {item.id: Spot(item, 1.0, item.memory_bytes) for item in capacity.devices}
        return cls(state, capacity.cpus, capacity.memory_bytes, capacity.disk_bytes, spots)

    @classmethod
    def of(cls, state: HostState, holding: Iterable[Holding]) -> "Room":
        """Returns what is free on a host now."""
        room = cls.empty(state)
        for device_id in (*state.suspended, *(item.device_id for item in state.strangers)):
            if device_id in room.spots:
                room.spots[device_id].is_closed = True
        if room.disk_bytes is not None and state.disk_free_bytes is not None:
            room.disk_bytes = min(room.disk_bytes, state.disk_free_bytes)
        for device_id, taken in state.memory_taken.items():
            spot = room.spots.get(device_id)
            if spot is not None and spot.memory_bytes is not None:
                spot.memory_bytes -= taken
        for item in holding:
            room.take(item)
        return room

    def copy(self) -> "Room":
        """Returns a copy that can be changed."""
        spots = {
            name: Spot(spot.device, spot.share, spot.memory_bytes, spot.unknown_count, spot.is_closed)
            for name, spot in self.spots.items()
        }
        return Room(self.state, self.cpus, self.memory_bytes, self.disk_bytes, spots)

    def both(self, other: "Room") -> "Room":
        """Returns what is free here and in another room of the same host."""
        spots: dict[str, Spot] = {}
        for name, spot in self.spots.items():
            late = other.spots[name]
            memory = (
                None
                if spot.memory_bytes is None or late.memory_bytes is None
                else min(spot.memory_bytes, late.memory_bytes)
            )
            spots[name] = Spot(
                spot.device,
                min(spot.share, late.share),
                memory,
                max(spot.unknown_count, late.unknown_count),
                spot.is_closed or late.is_closed,
            )
        disk = None if self.disk_bytes is None or other.disk_bytes is None else min(self.disk_bytes, other.disk_bytes)
        return Room(self.state, min(self.cpus, other.cpus), min(self.memory_bytes, other.memory_bytes), disk, spots)

    @property
    def widest(self) -> tuple[int, float]:
        """The number of devices nobody uses, and the largest share of one that is free."""
        if self._widest is None:
            free = [spot.share for spot in self.spots.values() if not spot.is_closed]
            self._widest = sum(1 for share in free if share > 1 - EPSILON), max(free, default=0.0)
        return self._widest

    def lack(self, needs: Needs) -> float:
        """Returns roughly how far the room is from what a run needs: 0 for nothing, 1 for each thing of which all."""
        idle, share = self.widest
        gpus = 0.0
        if needs.gpus:
            gpus = 1 - min(1.0, (idle if needs.gpus > 1 - EPSILON else share) / needs.gpus)
        cpus = max(0.0, needs.cpus - self.cpus - EPSILON) / needs.cpus
        return gpus + cpus + max(0, needs.memory_bytes - self.memory_bytes) / needs.memory_bytes

    def fit(self, needs: Needs) -> tuple[Take, ...] | None:
        """Returns what a run would take of which devices; empty for none, None if it does not fit now.

        The smallest devices that will do are taken, and of these the fullest, so that large and idle ones stay free.
        """
        if (
            needs.cpus > self.cpus + EPSILON
            or needs.memory_bytes > self.memory_bytes
            or (self.disk_bytes is not None and needs.disk_bytes > self.disk_bytes)
        ):
            return None
        if not needs.gpus:
            return ()
        wanted = needs.device_count
        idle, share = self.widest
        if idle < wanted and (wanted > 1 or needs.gpus > share + EPSILON):
            return None
        fitting = [spot for spot in self.spots.values() if spot.holds(needs) and needs.suits(spot.device)]
        if len(fitting) < wanted:
            return None
        fitting.sort(key=_smallest_first)
        left = self.memory_bytes - needs.memory_bytes
        taken: list[Take] = []
        for spot in fitting:
            memory = self._memory(needs, spot.device)
            costs = _host_memory(spot.device, memory)
            if costs <= left:
                left -= costs
                taken.append(Take(spot, needs.share_of(spot.device), memory))
                if len(taken) == wanted:
                    return tuple(taken)
        return None

    def _memory(self, needs: Needs, device: Device) -> int | None:
        """Returns the memory a run takes of a device."""
        memory = needs.memory_on(device)
        if device.memory_kind is not MemoryKind.SHARED or memory is None:
            return memory
        # The bytes are the host's. What nobody asked for gives way to what the run needs there itself.
        return needs.gpu_memory_bytes or max(0, min(memory, self.state.capacity.memory_bytes - needs.memory_bytes))

    def take(self, held: Holding) -> None:
        """Removes what a run holds."""
        self._move(held, -1)

    def give(self, held: Holding) -> None:
        """Adds what a run held."""
        self._move(held, 1)

    def _move(self, held: Holding, sign: int) -> None:
        self._widest = None
        self.cpus += sign * held.cpus
        self.memory_bytes += sign * held.memory_bytes
        if self.disk_bytes is not None:
            self.disk_bytes += sign * held.disk_bytes
        for share in held.shares:
            spot = self.spots.get(share.device_id)
            if spot is None:  # it vanished, and with it what was held of it
                continue
            spot.share += sign * share.share
            if share.memory_bytes is None and spot.memory_bytes is not None:
                spot.unknown_count -= sign
            elif spot.memory_bytes is not None:
                spot.memory_bytes += sign * (share.memory_bytes or 0)
            self.memory_bytes += sign * _host_memory(spot.device, share.memory_bytes)


def _host_memory(device: Device, memory_bytes: int | None) -> int:
    """Returns the bytes of the host's memory that a share with so much of the device's takes; all if unknown."""
    if device.memory_kind is not MemoryKind.SHARED:
        return 0
    return (device.memory_bytes or 0) if memory_bytes is None else memory_bytes


def _smallest_first(spot: Spot) -> tuple[int, float, str]:
    return (spot.device.memory_bytes or 0, round(spot.share, 6), spot.device.id)
