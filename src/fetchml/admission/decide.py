"""Which waiting runs may start now: a pure function of the queue and the host.

First form: one host; CPU cores, memory and whole GPUs. Runs are taken by priority, then by the time they were queued.
A run that does not fit keeps what it needs reserved, so that a later and smaller run may only use what is left over
and nobody waits for ever behind a stream of small ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fetchml.models.resources import Device, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import format_size


@dataclass(frozen=True, slots=True)
class Pending:
    """A run that waits."""

    run_id: str
    priority: int
    queued_at: datetime
    request: ResourceRequest


@dataclass(frozen=True, slots=True)
class Holding:
    """What a started run holds."""

    run_id: str
    cpus: float
    memory_bytes: int
    device_ids: tuple[str, ...]


class Resource(StrEnum):
    """What a run can wait for."""

    CPUS = "cpus"
    MEMORY = "memory"
    GPUS = "gpus"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing a run waits for, or can never have, in numbers."""

    resource: Resource
    needed: float
    available: float
    reserved_for: str | None = None
    """The run ahead that the rest is kept for."""

    def __str__(self) -> str:
        show = _shown_size if self.resource is Resource.MEMORY else _shown_number
        text = f"needs {show(self.needed)} {self.resource}, {show(self.available)} free"
        return f"{text} (kept for {self.reserved_for})" if self.reserved_for else text


@dataclass(frozen=True, slots=True)
class Admit:
    """The run may start, on these devices."""

    run_id: str
    device_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """The run waits."""

    run_id: str
    position: int
    """Place among those that wait, from 1."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """The host can never run it."""

    run_id: str
    reasons: tuple[Reason, ...]


Decision = Admit | Wait | Refuse


def decide(pending: Sequence[Pending], holding: Sequence[Holding], host: HostCapacity) -> list[Decision]:
    """Returns one decision for each waiting run, in the order they are considered.

    Args:
        pending: Runs that wait, in any order.
        holding: What every started run holds.
        host: What the host has.
    """
    held_devices = {device for item in holding for device in item.device_ids}
    free = _Free(
        cpus=host.cpus - sum(item.cpus for item in holding),
        memory_bytes=host.memory_bytes - sum(item.memory_bytes for item in holding),
        devices=[device for device in host.devices if device.id not in held_devices],
    )
    decisions: list[Decision] = []
    waiting = 0
    blocked_by: str | None = None
    for run in sorted(pending, key=lambda item: (-item.priority, item.queued_at, item.run_id)):
        impossible = fits_never(run.request, host)
        if impossible:
            decisions.append(Refuse(run.run_id, impossible))
            continue
        short = free.lacking(run.request, blocked_by)
        if short:
            waiting += 1
            decisions.append(Wait(run.run_id, waiting, short))
            blocked_by = blocked_by or run.run_id
        else:
            decisions.append(
                Admit(run.run_id, tuple(device.id for device in free.suitable(run.request)[: _gpus(run.request)]))
            )
        free.take(run.request)
    return decisions


def fits_never(request: ResourceRequest, host: HostCapacity) -> tuple[Reason, ...]:
    """Returns why the host can never run a request; empty if it can."""
    empty = _Free(host.cpus, host.memory_bytes, list(host.devices))
    return empty.lacking(request, None)


@dataclass(slots=True)
class _Free:
    """What is left while decisions are made."""

    cpus: float
    memory_bytes: int
    devices: list[Device]

    def suitable(self, request: ResourceRequest) -> list[Device]:
        """Returns the free devices that meet a request, the smallest memory first so that large ones stay free."""
        fitting = [
            device
            for device in self.devices
            if (request.gpu_vendor in (None, GpuVendor.NONE) or device.vendor is request.gpu_vendor)
            and (request.gpu_memory_bytes is None or (device.memory_bytes or 0) >= request.gpu_memory_bytes)
        ]
        return sorted(fitting, key=lambda device: (device.memory_bytes or 0, device.id))

    def lacking(self, request: ResourceRequest, blocked_by: str | None) -> tuple[Reason, ...]:
        needs = (
            (Resource.CPUS, request.cpus, max(0.0, round(self.cpus, 6))),  # 1 - 0.9 is less than 0.1
            (Resource.MEMORY, float(request.memory_bytes), float(max(0, self.memory_bytes))),
            (Resource.GPUS, float(_gpus(request)), float(len(self.suitable(request)))),
        )
        return tuple(Reason(what, needed, have, blocked_by) for what, needed, have in needs if needed > have)

    def take(self, request: ResourceRequest) -> None:
        """Removes what a run uses, or as much of it as there is while it waits."""
        self.cpus -= request.cpus
        self.memory_bytes -= request.memory_bytes
        taken = {device.id for device in self.suitable(request)[: _gpus(request)]}
        self.devices = [device for device in self.devices if device.id not in taken]


def _gpus(request: ResourceRequest) -> int:
    """Returns the whole devices a request takes; shares of a device are not placed yet."""
    return -int(-request.gpus // 1)


def _shown_size(value: float) -> str:
    return format_size(int(value))


def _shown_number(value: float) -> str:
    return f"{value:g}"
