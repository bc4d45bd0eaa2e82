"""What a run asks for, what a host has, and what a run used."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from fetchml.models.base import Model
from fetchml.models.units import GIB, MAX_DURATION_S, MAX_SIZE_BYTES, MIB

MIN_MEMORY_BYTES = 16 * MIB
"""Below this no Python starts; Docker's own floor is 6 MB."""


class GpuVendor(StrEnum):
    """Maker of a device; a run for one maker is never placed on another."""

    NVIDIA = "nvidia"
    AMD = "amd"
    INTEL = "intel"
    APPLE = "apple"
    NONE = "none"


class Arch(StrEnum):
    """Instruction set of a host, as container images name it."""

    AMD64 = "amd64"
    ARM64 = "arm64"


def _is_none(found: object) -> bool:
    return found is None


class ResourceRequest(Model):
    """What one run asks for. Part of the plan: it can change what a run computes.

    Plans from before a field was there keep their hash, since what nobody asked for is left out of the JSON.
    """

    gpus: float = Field(default=0, ge=0, le=64, description="GPUs; a fraction below 1 is a share of one device")
    gpu_memory_bytes: int | None = Field(
        default=None, ge=MIB, le=MAX_SIZE_BYTES, description="GPU memory needed on each device, in bytes"
    )
    gpu_memory_max_bytes: int | None = Field(
        default=None,
        ge=MIB,
        le=MAX_SIZE_BYTES,
        exclude_if=_is_none,
        description="Most memory a device may have in all, in bytes, so that larger ones stay free; left out if any",
    )
    gpu_vendor: GpuVendor | None = Field(default=None, description="Maker the devices must have; null means any")
    gpu_model: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        exclude_if=_is_none,
        description="Words the model of the devices must contain, without regard to case; left out if any",
    )
    arch: Arch | None = Field(
        default=None, exclude_if=_is_none, description="Instruction set of the host; left out if any"
    )
    disk_bytes: int | None = Field(
        default=None,
        ge=MIB,
        le=MAX_SIZE_BYTES,
        exclude_if=_is_none,
        description="Free disk space it needs, in bytes; left out if not said",
    )
    cpus: float = Field(default=2, gt=0, le=4096, description="CPU cores")
    memory_bytes: int = Field(
        default=8 * GIB, ge=MIN_MEMORY_BYTES, le=MAX_SIZE_BYTES, description="Memory limit, in bytes; swap is off"
    )
    shm_bytes: int = Field(
        default=GIB, ge=MIB, le=MAX_SIZE_BYTES, description="Size of /dev/shm in a container, in bytes"
    )
    max_runtime_s: int | None = Field(
        default=None, gt=0, le=MAX_DURATION_S, description="Seconds a run may take before it is stopped"
    )

    @model_validator(mode="after")
    def _whole_above_one(self) -> Self:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(
                "--gpus: above one GPU the number must be whole, as shares of several devices are never summed"
            )
        least, most = self.gpu_memory_bytes, self.gpu_memory_max_bytes
        if least is not None and most is not None and most < least:
            raise ValueError("--gpu-memory: the upper end of the range is below the lower one")
        return self


class MemoryKind(StrEnum):
    """Where the memory of a device comes from."""

    DEDICATED = "dedicated"
    """Its own, or a part of the host's that the host's figure leaves out already."""
    SHARED = "shared"
    """The host's: what a run takes of it is missing there, and is counted once."""


class Device(Model):
    """One GPU of a host, or a MIG instance of one, named by an id that survives a reboot."""

    id: str = Field(min_length=1, max_length=128, description="Stable id: UUID or PCI address, never an index")
    vendor: GpuVendor = Field(description="Maker of the device")
    model: str = Field(default="", max_length=256, description="Name the driver gives")
    memory_bytes: int | None = Field(default=None, ge=0, description="Memory of the device, in bytes")
    memory_kind: MemoryKind = Field(
        default=MemoryKind.DEDICATED,
        exclude_if=lambda found: found is MemoryKind.DEDICATED,
        description="shared: its memory is the host's; left out if it is its own",
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        le=64,
        exclude_if=_is_none,
        description="Equal parts a fraction is rounded up to; 1: never shared; left out if any share will do",
    )
    nodes: tuple[str, ...] = Field(
        default=(),
        exclude_if=lambda found: not found,
        description="Device files a container needs to use it; left out where the runtime knows them",
    )
    ordinal: int | None = Field(
        default=None,
        ge=0,
        exclude_if=_is_none,
        description="Position at discovery, for runtimes that take no id; never used to name the device",
    )


class DeviceShare(Model):
    """What a run holds of one device."""

    device_id: str = Field(min_length=1, max_length=128, description="The device")
    share: float = Field(gt=0, le=1, description="Part of its computing power; 1 is the whole device")
    memory_bytes: int | None = Field(default=None, ge=0, description="Memory reserved on it, in bytes; null: unknown")


class HostCapacity(Model):
    """What one host offers to runs."""

    host: str = Field(description="Host name")
    cpus: float = Field(gt=0, description="CPU cores that runs may use")
    memory_bytes: int = Field(gt=0, description="Memory that runs may use, in bytes")
    devices: tuple[Device, ...] = Field(default=(), description="GPUs, one entry each")
    gpu_detection: str = Field(
        default="none", description="How the devices were found: nvml, sysfs, metal, several of them, env or none"
    )
    arch: Arch | None = Field(default=None, exclude_if=_is_none, description="Instruction set; left out if unknown")
    disk_bytes: int | None = Field(
        default=None,
        ge=0,
        exclude_if=_is_none,
        description="Size of the disk that runs use, in bytes; left out if unknown",
    )


class ResourceUse(Model):
    """What a run really used; null where the engine cannot tell."""

    wall_s: float | None = Field(default=None, ge=0, description="Seconds from start to end")
    cpu_s: float | None = Field(default=None, ge=0, description="CPU seconds, user and system")
    memory_peak_bytes: int | None = Field(default=None, ge=0, description="Largest memory seen, in bytes")
    output_bytes: int | None = Field(default=None, ge=0, description="Bytes written to stdout and stderr")
    samples: int | None = Field(
        default=None, ge=1, exclude_if=_is_none, description="Lines of resources.jsonl the following is told from"
    )
    disk_read_bytes: int | None = Field(
        default=None, ge=0, exclude_if=_is_none, description="Bytes read from disks; left out if not known"
    )
    disk_written_bytes: int | None = Field(
        default=None, ge=0, exclude_if=_is_none, description="Bytes written to disks; left out if not known"
    )
    gpu_utilisation_percent: float | None = Field(
        default=None, ge=0, le=100, exclude_if=_is_none, description="Mean over time and over its GPUs, in percent"
    )
    gpu_memory_peak_bytes: dict[str, int] = Field(
        default_factory=dict,
        exclude_if=lambda found: not found,
        description="Largest memory seen in use on each of its GPUs, in bytes, by id",
    )
    gpu_memory_of: Literal["run", "device"] | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Whose that memory was: the run's own processes, or all that used the device",
    )
    gpu_temperature_max_c: float | None = Field(
        default=None, exclude_if=_is_none, description="Highest temperature of its GPUs, in degrees Celsius"
    )
    gpu_throttled: tuple[str, ...] = Field(
        default=(), exclude_if=lambda found: not found, description="Why its GPUs were slower than they can be"
    )
    energy_wh: float | None = Field(
        default=None,
        ge=0,
        exclude_if=_is_none,
        description="Energy its GPUs took, in watt hours: their power over time, times its share of each",
    )
