"""Who owns an attempt, and who asked to stop it."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from fetchml.models.base import Model, UtcTime
from fetchml.models.resources import DeviceShare


class ClaimKind(StrEnum):
    """What the owner of a claim is going to do."""

    RUN = "run"
    CANCEL = "cancel"


class Claim(Model):
    """The one owner of an attempt.

    It is created exclusively, once: whoever creates it may start the payload (`run`) or end the run unstarted
    (`cancel`). The token fences every later write.
    """

    schema_version: Literal[1] = 1
    run_id: str = Field(description="Run that is claimed")
    attempt: int = Field(ge=1, description="Attempt that is claimed")
    kind: ClaimKind = Field(description="What the owner does with it")
    host: str = Field(description="Host of the owner")
    worker: str = Field(description="Name of the worker, or the user for a cancel")
    boot_id: str = Field(description="Boot of the host; a container of another boot is dead")
    token: str = Field(min_length=32, description="Random fencing token, hexadecimal")
    claimed_at: UtcTime = Field(description="When it was claimed")
    cpus: float = Field(ge=0, description="CPU cores reserved")
    memory_bytes: int = Field(ge=0, description="Memory reserved, in bytes")
    disk_bytes: int = Field(default=0, ge=0, description="Disk space reserved, in bytes")
    device_ids: tuple[str, ...] = Field(default=(), description="GPUs reserved")
    shares: tuple[DeviceShare, ...] = Field(
        default=(),
        exclude_if=lambda found: not found,
        description="Part and memory of each GPU; left out if all of each is reserved",
    )
    flow_run_id: str | None = Field(default=None, description="Flow run the attempt belongs to")
    waited_for: tuple[str, ...] = Field(default=(), description="Last reasons the run waited, in words")

    @property
    def held(self) -> tuple[DeviceShare, ...]:
        """The devices it holds, and how much of each."""
        return self.shares or tuple(DeviceShare(device_id=device_id, share=1) for device_id in self.device_ids)


class CancelRequest(Model):
    """Someone asked for the run to stop; its owner carries it out."""

    schema_version: Literal[1] = 1
    by: str = Field(description="Who asked")
    at: UtcTime = Field(description="When")
    reason: str | None = Field(default=None, description="Why")
