"""What a run asks for, what a host has, and what a run used."""

from enum import StrEnum
from typing import Self

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


class ResourceRequest(Model):
    """What one run asks for. Part of the plan: it can change what a run computes."""

    gpus: float = Field(default=0, ge=0, le=64, description="GPUs; a fraction below 1 is a share of one device")
    gpu_memory_bytes: int | None = Field(
        default=None, ge=MIB, le=MAX_SIZE_BYTES, description="GPU memory needed on each device, in bytes"
    )
    gpu_vendor: GpuVendor | None = Field(default=None, description="Maker the devices must have; null means any")
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
        return self


class Device(Model):
    """One GPU of a host, named by an id that survives a reboot."""

    id: str = Field(min_length=1, max_length=128, description="Stable id: UUID or PCI address, never an index")
    vendor: GpuVendor = Field(description="Maker of the device")
    model: str = Field(default="", max_length=256, description="Name the driver gives")
    memory_bytes: int | None = Field(default=None, ge=0, description="Memory of the device, in bytes")


class HostCapacity(Model):
    """What one host offers to runs."""

    host: str = Field(description="Host name")
    cpus: float = Field(gt=0, description="CPU cores that runs may use")
    memory_bytes: int = Field(gt=0, description="Memory that runs may use, in bytes")
    devices: tuple[Device, ...] = Field(default=(), description="GPUs, one entry each")
    gpu_detection: str = Field(default="none", description="How the devices were found: nvml, env or none")


class ResourceUse(Model):
    """What a run really used; null where the engine cannot tell."""

    wall_s: float | None = Field(default=None, ge=0, description="Seconds from start to end")
    cpu_s: float | None = Field(default=None, ge=0, description="CPU seconds, user and system")
    memory_peak_bytes: int | None = Field(default=None, ge=0, description="Largest memory seen, in bytes")
    output_bytes: int | None = Field(default=None, ge=0, description="Bytes written to stdout and stderr")
