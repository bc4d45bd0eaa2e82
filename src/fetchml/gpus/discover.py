"""What this host offers to runs: CPU cores, memory, disk and GPUs, and how they were found.

Found by asking the drivers, or overridden by the environment: `FETCH_ML_GPU_TYPE`, `FETCH_ML_GPU_COUNT`,
`FETCH_ML_TOTAL_CPU`, `FETCH_ML_GPU_SLOTS_PER_GPU`. An override is for machines whose devices cannot be seen, and for
trying things.
"""

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fetchml.errors import ConfigError
from fetchml.gpus.inventory import Inventory, inventory_of
from fetchml.models.host import host_name, total_memory_bytes
from fetchml.models.resources import Arch, Device, GpuVendor, HostCapacity

GPU_TYPE = "FETCH_ML_GPU_TYPE"
GPU_COUNT = "FETCH_ML_GPU_COUNT"
TOTAL_CPU = "FETCH_ML_TOTAL_CPU"
SLOTS_PER_GPU = "FETCH_ML_GPU_SLOTS_PER_GPU"

_ALIASES = {"cpu": "none", "rocm": "amd", "cuda": "nvidia", "metal": "apple"}
_ARCHS = {"x86_64": Arch.AMD64, "amd64": Arch.AMD64, "aarch64": Arch.ARM64, "arm64": Arch.ARM64}
_MAX_GPUS = 64
_MAX_SLOTS = 64

Detect = Callable[[GpuVendor | None], Inventory]
"""Finds the devices, of one maker or of all."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the environment says of this host in place of what is found."""

    vendor: GpuVendor | None = None
    count: int | None = None
    cpus: int | None = None
    slots: int | None = None
    lines: tuple[str, ...] = field(default=(), compare=False)
    """One line for each override, for the log."""

    @property
    def hide_all(self) -> bool:
        """Whether the host is declared to have no GPU."""
        return self.vendor is GpuVendor.NONE or self.count == 0

    def apply(self, detect: Detect) -> Inventory:
        """Returns the devices that are offered.

        Args:
            detect: Finds the devices; not called where the host is declared to have none.
        """
        found = self._offered(detect)
        if self.slots is None:
            return found
        return replace(found, devices=tuple(item.model_copy(update={"slots": self.slots}) for item in found.devices))

    def _offered(self, detect: Detect) -> Inventory:
        if self.vendor is None and self.count is None:
            return detect(None)
        if self.hide_all:
            return Inventory(detection="env")
        found = detect(self.vendor)
        if self.count is None:
            return replace(found, detection="env" if found.devices else "none")
        # Devices that cannot be seen get made-up ids; the runtime then takes them by position.
        unseen = tuple(
            Device(
                id=f"declared-{position}",
                vendor=self.vendor or GpuVendor.NVIDIA,
                model="declared by the environment",
                ordinal=position,
            )
            for position in range(len(found.devices), self.count)
        )
        return replace(found, devices=(*found.devices[: self.count], *unseen), detection="env")


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the host has, and the overrides that decided it."""

    capacity: HostCapacity
    inventory: Inventory
    overrides: tuple[str, ...]
    """One line for each override, for the log."""


def discover(
    environ: Mapping[str, str] = os.environ,
    detect: Detect | None = None,
    disk: Path | None = None,
    services: Path | None = None,
) -> Discovery:
    """Looks at this host.

    Args:
        environ: Where overrides are read from.
        detect: Finds the devices; the default asks the drivers, and waits five seconds at most.
        disk: A folder on the disk that runs use; None leaves the disk out.
        services: Folder in which the worker posts the devices it knows; they are taken from there while it does.

    Raises:
        ConfigError: An override has a value that makes no sense; all of them are named.
    """
    overrides = overrides_of(environ)
    inventory = _known(services) if services is not None else None
    if inventory is None:
        inventory = overrides.apply(detect or _detect)
    return discovery_of(inventory, overrides, disk)


def discovery_of(inventory: Inventory, overrides: Overrides, disk: Path | None = None) -> Discovery:
    """Returns what the host has, where its devices are known.

    Args:
        inventory: The devices, with the overrides applied.
        overrides: The overrides.
        disk: A folder on the disk that runs use; None leaves the disk out.
    """
    capacity = HostCapacity(
        host=host_name(),
        cpus=float(overrides.cpus or _cores()),
        memory_bytes=total_memory_bytes(),
        devices=inventory.devices,
        gpu_detection=inventory.detection,
        arch=_ARCHS.get(platform.machine().lower()),
        disk_bytes=None if disk is None else _disk_bytes(disk),
    )
    return Discovery(capacity, inventory, overrides.lines)


def overrides_of(environ: Mapping[str, str] = os.environ) -> Overrides:
    """Reads the overrides.

    Raises:
        ConfigError: One has a value that makes no sense; all of them are named.
    """
    faults: list[str] = []
    lines: list[str] = []

    def number(name: str, low: int, high: int) -> int | None:
        text = environ.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10) or not low <= int(text) <= high:
            faults.append(f"`{name}={text[:40]}`: expected a whole number from {low} to {high}")
            return None
        lines.append(f"{name}={text}")
        return int(text)

    vendor: GpuVendor | None = None
    if GPU_TYPE in environ:
        word = environ[GPU_TYPE].lower()
        try:
            vendor = GpuVendor(_ALIASES.get(word, word))
            lines.append(f"{GPU_TYPE}={vendor}")
        except ValueError:
            faults.append(f"`{GPU_TYPE}={word[:40]}`: expected one of {', '.join(GpuVendor)}")
    count = number(GPU_COUNT, 0, _MAX_GPUS)
    cpus = number(TOTAL_CPU, 1, 4096)
    slots = number(SLOTS_PER_GPU, 1, _MAX_SLOTS)
    if faults:
        raise ConfigError(
            "an override of this host's resources is wrong", detail="\n".join(faults), code="bad-override"
        )
    return Overrides(vendor, count, cpus, slots, tuple(lines))


def _detect(vendor: GpuVendor | None) -> Inventory:
    from fetchml.gpus.prober import look

    return inventory_of(look(), vendor)


def _known(services: Path) -> Inventory | None:
    from fetchml.gpus.board import posted

    found = posted(services)
    return None if found is None else found.inventory


def _cores() -> int:
    """Returns the cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it, a Mac does not
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def free_disk_bytes(folder: Path) -> int | None:
    """Returns the free space of the disk a folder is on, in bytes, or None if it cannot be told."""
    usage = _disk(folder)
    return None if usage is None else usage[1]


def _disk_bytes(folder: Path) -> int | None:
    usage = _disk(folder)
    return None if usage is None else usage[0]


def _disk(folder: Path) -> tuple[int, int] | None:
    """Returns size and free space of the disk a folder is on."""
    existing = next((place for place in (folder, *folder.parents) if place.exists()), None)
    try:
        usage = None if existing is None else shutil.disk_usage(existing)
    except OSError:
        return None
    return None if usage is None else (usage.total, usage.free)
