"""What a run asks for, in the form that is compared.

Thousands of waiting runs ask for the same few things. Equal needs are one object, as far as possible, so that what is
true of one of them is found once and looked up by identity.
"""

from functools import lru_cache
from math import ceil
from typing import NamedTuple

from fetchml.models.resources import Arch, Device, GpuVendor, ResourceRequest

EPSILON = 1e-6
"""Shares and cores are sums of fractions; what differs by less is equal."""


class Needs(NamedTuple):
    """What a run asks of each of its hosts."""

    cpus: float
    memory_bytes: int
    disk_bytes: int
    gpus: float
    gpu_memory_bytes: int | None
    gpu_memory_max_bytes: int | None
    vendor: GpuVendor | None
    model: str | None
    """In small letters."""
    archs: tuple[str, ...]
    """Instruction sets that will do; empty: any."""
    host: str | None
    nodes: int

    @classmethod
    def of(
        cls, request: ResourceRequest, *, host: str | None = None, archs: tuple[str, ...] = (), nodes: int = 1
    ) -> "Needs":
        """Returns the needs of a request.

        Args:
            request: What was asked for.
            host: The one host it may go to; None: any.
            archs: Instruction sets the image is for; empty: any.
            nodes: Hosts needed at the same time.
        """
        if request.arch is not None:
            # An image that is not for the set that was asked for leaves nothing, which no host satisfies.
            archs = (str(request.arch),) if not archs or request.arch in archs else (f"{request.arch} by this image",)
        vendor = None if request.gpu_vendor is GpuVendor.NONE else request.gpu_vendor
        return _one(
            cls(
                cpus=request.cpus,
                memory_bytes=request.memory_bytes,
                disk_bytes=request.disk_bytes or 0,
                gpus=request.gpus,
                gpu_memory_bytes=request.gpu_memory_bytes if request.gpus else None,
                gpu_memory_max_bytes=request.gpu_memory_max_bytes if request.gpus else None,
                vendor=vendor if request.gpus else None,
                model=request.gpu_model.lower() if request.gpu_model and request.gpus else None,
                archs=tuple(sorted(archs)),
                host=host,
                nodes=nodes,
            )
        )

    @property
    def device_count(self) -> int:
        """Devices it takes on each host; a share takes one."""
        return ceil(self.gpus - EPSILON)

    def share_of(self, device: Device) -> float:
        """Returns the part of a device it takes, between 0 and 1; 1 is the whole device."""
        if self.gpus >= 1 - EPSILON:
            return 1.0
        if device.slots is None:
            return self.gpus
        return min(1.0, ceil(self.gpus * device.slots - EPSILON) / device.slots)

    def memory_on(self, device: Device) -> int | None:
        """Returns the memory it takes of a device, in bytes; None: the device does not say how much it has."""
        share = self.share_of(device)
        if self.gpu_memory_bytes is not None and share < 1:
            return self.gpu_memory_bytes
        return None if device.memory_bytes is None else int(share * device.memory_bytes)

    def suits_vendor(self, device: Device) -> bool:
        """Whether the maker of a device is the one asked for."""
        return self.vendor is None or device.vendor is self.vendor

    def suits_model(self, device: Device) -> bool:
        """Whether the model of a device has the words asked for."""
        return self.model is None or self.model in device.model.lower()

    def suits_size(self, device: Device) -> bool:
        """Whether the whole memory of a device is in the range asked for."""
        if self.gpu_memory_bytes is None and self.gpu_memory_max_bytes is None:
            return True
        size = device.memory_bytes
        if size is None:
            return False
        return (self.gpu_memory_bytes or 0) <= size <= (self.gpu_memory_max_bytes or size)

    def suits(self, device: Device) -> bool:
        """Whether a device is of the kind asked for, be it free or not."""
        return self.suits_vendor(device) and self.suits_model(device) and self.suits_size(device)

    def suits_arch(self, arch: Arch | None) -> bool:
        """Whether a host of this instruction set will do; one that does not say is taken at its word."""
        return not self.archs or arch is None or arch in self.archs


@lru_cache(maxsize=4096)
def _one(needs: Needs) -> Needs:
    """Returns the object that stands for all equal ones."""
    return needs
