"""What a host of the lab says about itself, and what operators say about it."""

from typing import Annotated, Literal

from pydantic import Field

from fetchml.models.base import Model, UtcTime
from fetchml.models.resources import DeviceShare, HostCapacity

MAX_HOST_NAME = 64

HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Name of a host: it names a folder as well, so it holds nothing that a path could be made of."""


class HeldRun(Model):
    """What a started run holds on its host."""

    run_id: str = Field(description="The run")
    attempt: int = Field(ge=1, description="Number of the attempt")
    cpus: float = Field(ge=0, description="CPU cores")
    memory_bytes: int = Field(ge=0, description="Memory, in bytes")
    disk_bytes: int = Field(default=0, ge=0, description="Disk space, in bytes")
    shares: tuple[DeviceShare, ...] = Field(default=(), description="Devices, and how much of each")
    user: str = Field(default="", description="Whose run it is")
    group: str | None = Field(default=None, description="Group it belongs to")
    started_at: UtcTime | None = Field(default=None, description="When the attempt began; null if it is not known")


class SeenStranger(Model):
    """Use of a device by processes that are none of ours."""

    device_id: str = Field(min_length=1, max_length=128, description="The device")
    memory_bytes: int | None = Field(ge=0, description="Memory they have on it, in bytes; null: unknown")
    processes: tuple[str, ...] = Field(default=(), description="Who they are, for people")


class PublishedHost(Model):
    """What the worker of a host publishes with each heartbeat."""

    schema_version: Literal[1] = 1
    capacity: HostCapacity = Field(description="What the host offers to runs")
    worker: str = Field(description="Name of the worker")
    pid: int = Field(ge=0, description="Its process id")
    version: str = Field(description="Version of fetchml")
    boot_id: str = Field(description="Boot of the host; what another boot started is dead")
    started_at: UtcTime = Field(description="When the worker started, on the clock of its host")
    published_at: UtcTime = Field(description="When it said this, on the clock of its host")
    running: tuple[HeldRun, ...] = Field(default=(), description="Runs that hold resources")
    strangers: tuple[SeenStranger, ...] = Field(default=(), description="Devices that others use")
    memory_taken: dict[str, int] = Field(
        default_factory=dict, description="GPU memory that is gone though nobody computes there, by device, in bytes"
    )
    suspended: dict[str, str] = Field(
        default_factory=dict, description="Devices that do not answer just now, by id, with what is wrong"
    )
    engines: dict[str, str] = Field(default_factory=dict, description="Where it looks for container engines, by kind")
    disk_free_bytes: int | None = Field(default=None, ge=0, description="Free disk space, in bytes; null: unknown")
    load: float | None = Field(default=None, ge=0, description="Load average of the last minute; null: unknown")

    @property
    def host(self) -> str:
        """Name of the host."""
        return self.capacity.host


class HostDedication(Model):
    """Whom a host is kept for."""

    users: tuple[str, ...] = Field(default=(), description="Users it is kept for")
    groups: tuple[str, ...] = Field(default=(), description="Groups it is kept for")
    until: UtcTime | None = Field(default=None, description="When that ends; null: never")
    by: str = Field(default="", description="Who said so")
    at: UtcTime | None = Field(default=None, description="When")
    reason: str | None = Field(default=None, description="Why")


class HostMarks(Model):
    """What operators have said about a host; kept apart from what its worker says."""

    schema_version: Literal[1] = 1
    is_drained: bool = Field(default=False, description="Nothing new is started on it")
    drain_reason: str | None = Field(default=None, description="Why")
    drained_by: str | None = Field(default=None, description="Who said so")
    drained_at: UtcTime | None = Field(default=None, description="When")
    dedication: HostDedication | None = Field(default=None, description="Whom it is kept for; null: for everyone")
