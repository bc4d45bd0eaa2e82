"""The port behind which runs start: Docker, Podman or a plain child process.

A container is known by its name only, and the name is made from run and attempt: a second `create` of one name is
refused by the engine, and `start` acts on a container that never started and on no other. That is what keeps a payload
from running twice whatever dies in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fetchml.containers import ContainerSpec, Places
from fetchml.errors import Refused
from fetchml.models.plan import EngineKind


class Phase(StrEnum):
    """Where a container is in its life."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine says about a container."""

    phase: Phase
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    """128 + n after signal n; None while it runs, or if the engine lost it."""
    out_of_memory: bool | None = False
    """Whether its memory limit killed it; None if the engine cannot tell."""
    lost: bool = False
    """It is gone without a trace of how it ended: the host restarted, or its supervisor was killed."""
    error: str | None = None
    """Why it could not be started, in the engine's words."""
    dropped_bytes: int = 0
    """Output beyond the cap that the engine threw away."""
    cpu_s: float | None = None
    memory_peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container has used so far."""

    cpu_s: float | None = None
    memory_peak_bytes: int | None = None
    memory_bytes: int | None = None
    """What it has now."""
    read_bytes: int | None = None
    """Read from disks; what came from memory is not counted."""
    written_bytes: int | None = None
    pid: int | None = None
    """Its first process, as the host counts."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine says about itself."""

    kind: EngineKind
    version: str
    rootless: bool = False
    detail: str = ""
    architecture: str = ""
    """What its containers run on, as images name it, such as `amd64`; empty where it does not say."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A base image on this host."""

    reference: str
    digest: str
    """`sha256:...` of the image's configuration: the same wherever the same image is."""
    architecture: str = ""
    env_names: tuple[str, ...] = ()
    """Variables that the image sets, sorted."""


class StartFailed(Refused):
    """The engine cannot start the payload: no such program, a missing device, a refused option."""

    default_code = "start-failed"


class Engine(Protocol):
    """What starts and watches containers."""

    kind: EngineKind

    def facts(self) -> EngineFacts:
        """Asks the engine who it is.

        Raises:
            Unavailable: It does not answer; the detail says why.
        """
        ...

    def image(self, reference: str) -> ImageFacts:
        """Finds an image on this host; pulls nothing.

        Raises:
            NotFound: It is not here; the hint says how to get it.
        """
        ...

    def places(self, name: str, results: Path, inbox: Path, support: Path) -> Places:
        """Returns where a container of that name sees its folders."""
        ...

    def create(self, spec: ContainerSpec) -> None:
        """Creates a container; if it exists with the same labels this changes nothing.

        Raises:
            Conflict: Another container has the name.
            NotFound: The image is not here.
            StartFailed: The engine refuses the request.
        """
        ...

    def start(self, name: str) -> None:
        """Starts a container that was created and never started; in any other phase this changes nothing.

        Raises:
            NotFound: There is no such container.
            StartFailed: The payload could not be started.
        """
        ...

    def inspect(self, name: str) -> ContainerState | None:
        """Returns the state of a container, or None if there is none of that name."""
        ...

    def mounted(self, name: str, target: str) -> tuple[int, int] | None:
        """Returns device and inode of what a running container has at a path; None where that cannot be told."""
        ...

    def usage(self, name: str) -> Usage:
        """Returns what a running container has used; empty where the engine cannot tell."""
        ...

    def output(self, name: str, skip_bytes: int) -> Iterator[bytes]:
        """Yields stdout and stderr as they arrive, and ends when the container has ended and all was delivered.

        Args:
            name: The container.
            skip_bytes: Bytes from the beginning to leave out, for a reader that already has them.
        """
        ...

    def stop(self, name: str, grace_s: float) -> None:
        """Sends SIGTERM, then SIGKILL after the grace time; returns when nothing of it runs. Idempotent."""
        ...

    def remove(self, name: str) -> None:
        """Removes a container and whatever it left running; a missing one is fine."""
        ...

    def names(self, store_id: str) -> list[str]:
        """Returns the names of all containers, in any phase, that belong to a store."""
        ...
