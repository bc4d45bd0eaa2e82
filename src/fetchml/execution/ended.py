"""How the payload of an attempt ended, or why it never started; written down before anything is concluded from it."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from fetchml.diagnosis import EndFacts
from fetchml.models.base import Model, UtcTime


class StopKind(StrEnum):
    """Why a container is being stopped."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"


class StopMark(Model):
    """`stop.json`: written before a container is told to stop, so that a later driver knows why it ended."""

    schema_version: Literal[1] = 1
    kind: StopKind = Field(description="Why")
    by: str | None = Field(default=None, description="Who asked, for a cancel")
    at: UtcTime = Field(description="When")


class Ended(Model):
    """`ended.json`: the end of an attempt, from which everything in the manifest's last state follows."""

    schema_version: Literal[1] = 1
    facts: EndFacts = Field(description="What is known about the end")
    started_at: UtcTime | None = Field(default=None, description="When the payload started; null if it never did")
    ended_at: UtcTime = Field(description="When it ended, or when it was clear that it would not start")
    cpu_s: float | None = Field(default=None, description="CPU seconds used")
    warnings: tuple[str, ...] = Field(default=(), description="What a reader should know")


class ContainerRecord(Model):
    """`container.json`: what the engine was asked for."""

    schema_version: Literal[1] = 1
    name: str = Field(description="Name of the container or process")
    engine: str = Field(description="Engine and version")
    image: str | None = Field(description="Image it was started from, by digest")
    argv: tuple[str, ...] = Field(description="Command it was started with")
    env_names: tuple[str, ...] = Field(description="Names of the variables it was started with")
    created_at: UtcTime = Field(description="When it was created")
