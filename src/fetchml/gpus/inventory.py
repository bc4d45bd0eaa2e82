"""The devices a host offers to runs, told from what its drivers say."""

from dataclasses import dataclass

from fetchml.gpus.readings import DeviceReading, Readings
from fetchml.models.host import total_memory_bytes
from fetchml.models.resources import Device, GpuVendor, MemoryKind


@dataclass(frozen=True, slots=True)
class Inventory:
    """The GPUs of a host and how they were found."""

    devices: tuple[Device, ...] = ()
    detection: str = "none"
    driver_version: str | None = None
    cuda_version: str | None = None
    faults: tuple[str, ...] = ()
    """What kept devices from being found, or from being offered, in words."""


def inventory_of(readings: Readings, vendor: GpuVendor | None = None) -> Inventory:
    """Returns what is offered of the devices that were found.

    Args:
        readings: What the drivers say.
        vendor: The one maker whose devices are wanted; None: any.
    """
    faults = list(readings.faults)
    offered: list[DeviceReading] = []
    for device in readings.devices:
        if device.error is not None:
            faults.append(f"{device.id} is left out: {device.error}")
        elif vendor in (None, device.vendor):
            offered.append(device)
    if vendor is None and not all(device.is_integrated for device in readings.devices):
        # Whoever asks for "a GPU" on a machine with a card does not mean the graphics part of its processor.
        offered = [device for device in offered if not device.is_integrated]
    return Inventory(
        tuple(device_of(device) for device in offered),
        "+".join(readings.methods) if offered else "none",
        readings.driver_version,
        readings.cuda_version,
        tuple(faults),
    )


def device_of(reading: DeviceReading) -> Device:
    """Returns what stays the same of a device."""
    memory = total_memory_bytes() if reading.has_host_memory and reading.memory_bytes is None else reading.memory_bytes
    return Device(
        id=reading.id,
        vendor=GpuVendor(reading.vendor),
        model=reading.model,
        memory_bytes=memory,
        memory_kind=MemoryKind.SHARED if reading.has_host_memory else MemoryKind.DEDICATED,
        nodes=reading.nodes,
        ordinal=reading.ordinal,
    )
