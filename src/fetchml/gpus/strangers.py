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
    """Returns the use of each device by processes that are none of ours, in the order of the devices.

    A stranger with processes computes there. One without any only takes memory: a desktop, or something that no driver
    names, as in WSL.
    """
    found = (_stranger(device, ours) for device in readings.devices)
    return tuple(item for item in found if item is not None)


def _stranger(device: DeviceReading, ours: Ours) -> Stranger | None:
    listed = device.processes or ()
    others = [process for process in listed if not is_ours(process, ours)]
    computing = [process for process in others if not process.is_graphics]
    sizes = [process.memory_bytes for process in others]
    known = sum(size for size in sizes if size is not None)
    memory = None if computing and None in sizes else known
    rest = _unexplained(device, ours)
    if rest is not None:
        memory = max(rest + known, memory or 0)
    if not computing and not memory:
        return None
    names = [_named(process) for process in computing[:_NAMED]]
    if len(computing) > _NAMED:
        names.append(f"{len(computing) - _NAMED} more")
    return Stranger(device.id, memory, tuple(names))


def _unexplained(device: DeviceReading, ours: Ours) -> int | None:
    """Returns the memory that no process accounts for, where it is none of ours; None if that is not much."""
    if device.used_bytes is None or device.has_host_memory or device.id in ours.device_ids:
        return None
    rest = device.used_bytes - sum(process.memory_bytes or 0 for process in device.processes or ())
    return rest if rest > _UNEXPLAINED_BYTES else None


def _named(process: GpuProcess) -> str:
    size = "" if process.memory_bytes is None else f", {format_size(process.memory_bytes)}"
    owner = f" of {process.user}" if process.user else ""
    return f"{process.command or 'a process'}{owner} (pid {process.pid}){size}"
