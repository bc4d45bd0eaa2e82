"""Who uses the devices besides the runs of this host: a pure function of the readings."""

from dataclasses import dataclass

from fetchml.admission.lab import Stranger
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from fetchml.models.units import MIB, format_size

_UNEXPLAINED_BYTES = 512 * MIB
"""What drivers keep for themselves, and a little more: above it somebody must be there whom nobody names."""

_NAMED = 8
"""Processes that are named of one device; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What belongs to the runs of this host."""

    run_ids: frozenset[str] = frozenset()
    """Runs that were started and have not ended. A process says by its environment which one it belongs to."""
    device_ids: frozenset[str] = frozenset()
    """Devices they hold: use there that nobody can be named for is theirs."""
    container_ids: frozenset[str] = frozenset()
    """Ids of their containers, for processes whose environment cannot be read."""
    pids: frozenset[int] = frozenset()
    """First processes of runs, for the same reason: what they started is theirs, too."""


def is_ours(process: GpuProcess, ours: Ours) -> bool:
    """Tells whether a process belongs to a run of this host."""
    return (
        process.run_id in ours.run_ids
        or not ours.pids.isdisjoint((process.pid, *process.ancestors))
        or any(container in process.cgroup for container in ours.container_ids if container)
    )


def strangers(readings: Readings, ours: Ours) -> tuple[Stranger, ...]:
    """Returns who computes on the devices and is none of ours, in the order of the devices.

    What only draws is no stranger: a desktop has the first GPU of most workstations open, and nothing would ever run
    there. The memory it takes is in `memory_taken`.
    """
    return tuple(
        Stranger(device.id, _sum(others), _names(others))
        for device in readings.devices
        if (others := [item for item in _others(device, ours) if not item.is_graphics])
    )


def memory_taken(readings: Readings, ours: Ours) -> dict[str, int]:
    """Returns the memory that is gone on each device though no stranger computes there, in bytes.

    That is what draws, and what no driver puts a name to, as in WSL; devices without any are left out.
    """
    found: dict[str, int] = {}
    for device in readings.devices:
        drawing = sum(item.memory_bytes or 0 for item in _others(device, ours) if item.is_graphics)
        if taken := drawing + (0 if device.id in ours.device_ids else unexplained_bytes(device)):
            found[device.id] = taken
    return found


def _others(device: DeviceReading, ours: Ours) -> list[GpuProcess]:
    return [process for process in device.processes or () if not is_ours(process, ours)]


def _sum(processes: list[GpuProcess]) -> int | None:
    sizes = [process.memory_bytes for process in processes]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _names(processes: list[GpuProcess]) -> tuple[str, ...]:
    names = [_named(process) for process in processes[:_NAMED]]
    if len(processes) > _NAMED:
        names.append(f"{len(processes) - _NAMED} more")
    return tuple(names)


def unexplained_bytes(device: DeviceReading) -> int:
    """Returns the memory that no process accounts for; 0 if that is not more than drivers keep for themselves."""
    if device.used_bytes is None or device.has_host_memory:
        return 0
    rest = device.used_bytes - sum(process.memory_bytes or 0 for process in device.processes or ())
    return rest if rest > _UNEXPLAINED_BYTES else 0


def _named(process: GpuProcess) -> str:
    size = "" if process.memory_bytes is None else f", {format_size(process.memory_bytes)}"
    owner = f" of {process.user}" if process.user else ""
    return f"{process.command or 'a process'}{owner} (pid {process.pid}){size}"
