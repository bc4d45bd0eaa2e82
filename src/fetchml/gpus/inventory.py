"""The devices a detector found."""

from dataclasses import dataclass

from fetchml.models.resources import Device


@dataclass(frozen=True, slots=True)
class Inventory:
    """The GPUs of a host and how they were found."""

    devices: tuple[Device, ...] = ()
    detection: str = "none"
    driver_version: str | None = None
    cuda_version: str | None = None
