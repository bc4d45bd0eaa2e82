"""What this host offers to runs: CPU cores, memory and GPUs, and how they were found.

Found by NVML, or overridden by the environment: `FETCH_ML_GPU_TYPE`, `FETCH_ML_GPU_COUNT`, `FETCH_ML_TOTAL_CPU`,
`FETCH_ML_GPU_SLOTS_PER_GPU`. An override is for machines whose devices cannot be seen, and for trying things.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fetchml.errors import ConfigError
from fetchml.gpus.inventory import Inventory
from fetchml.models.host import host_name
from fetchml.models.resources import Device, GpuVendor, HostCapacity

GPU_TYPE = "FETCH_ML_GPU_TYPE"
GPU_COUNT = "FETCH_ML_GPU_COUNT"
TOTAL_CPU = "FETCH_ML_TOTAL_CPU"
SLOTS_PER_GPU = "FETCH_ML_GPU_SLOTS_PER_GPU"

_ALIASES = {"cpu": "none", "rocm": "amd", "cuda": "nvidia", "metal": "apple"}
_MAX_GPUS = 64


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the host has, and the overrides that decided it."""

    capacity: HostCapacity
    inventory: Inventory
    overrides: tuple[str, ...]
    """One line for each override, for the log."""


def discover(environ: Mapping[str, str] = os.environ, detect: Callable[[], Inventory] | None = None) -> Discovery:
    """Looks at this host.

    Args:
        environ: Where overrides are read from.
        detect: Finds the devices; the default asks NVML.

    Raises:
        ConfigError: An override has a value that makes no sense; all of them are named.
    """
    faults: list[str] = []
    overrides: list[str] = []

    def number(name: str, low: int, high: int) -> int | None:
        text = environ.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10) or not low <= int(text) <= high:
            faults.append(f"`{name}={text[:40]}`: expected a whole number from {low} to {high}")
            return None
        overrides.append(f"{name}={text}")
        return int(text)

    vendor: GpuVendor | None = None
    if GPU_TYPE in environ:
        word = environ[GPU_TYPE].lower()
        try:
            vendor = GpuVendor(_ALIASES.get(word, word))
            overrides.append(f"{GPU_TYPE}={vendor}")
        except ValueError:
            faults.append(f"`{GPU_TYPE}={word[:40]}`: expected one of {', '.join(GpuVendor)}")
    count = number(GPU_COUNT, 0, _MAX_GPUS)
    cpus = number(TOTAL_CPU, 1, 4096)
    slots = number(SLOTS_PER_GPU, 1, 64)
    if slots is not None and slots != 1:
        faults.append(
            f"`{SLOTS_PER_GPU}={slots}`: sharing one GPU between runs is not supported yet; leave it out or set 1"
        )
    if faults:
        raise ConfigError(
            "an override of this host's resources is wrong", detail="\n".join(faults), code="bad-override"
        )
    inventory = _overridden(vendor, count, detect or _detect)
    capacity = HostCapacity(
        host=host_name(),
        cpus=float(cpus or len(os.sched_getaffinity(0))),
        memory_bytes=total_memory_bytes(),
        devices=inventory.devices,
        gpu_detection=inventory.detection,
    )
    return Discovery(capacity, inventory, tuple(overrides))


def total_memory_bytes() -> int:
    """Returns the memory of this host, or of the control group it is confined to, in bytes."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                total = min(total, int(file.read()))
        except (OSError, ValueError):
            continue
    return total


def _overridden(vendor: GpuVendor | None, count: int | None, detect: Callable[[], Inventory]) -> Inventory:
    if vendor is None and count is None:
        return detect()
    if vendor is GpuVendor.NONE or count == 0:
        return Inventory(detection="env")
    found = detect()
    devices = tuple(device for device in found.devices if vendor in (None, device.vendor))
    if count is None:
        return Inventory(devices, "env" if devices else "none", found.driver_version, found.cuda_version)
    # Devices that cannot be seen get made-up ids; the runtime then takes them by position.
    unseen = tuple(
        Device(id=str(position), vendor=vendor or GpuVendor.NVIDIA, model="declared by the environment")
        for position in range(len(devices), count)
    )
    return Inventory((*devices[:count], *unseen), "env", found.driver_version, found.cuda_version)


def _detect() -> Inventory:
    from fetchml.gpus.nvml import detect_nvidia

    return detect_nvidia()
