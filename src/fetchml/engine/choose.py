"""Which engine a run gets, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.podman_engine import PodmanEngine
from fetchml.engine.port import Engine, EngineFacts
from fetchml.engine.process_engine import ProcessEngine
from fetchml.errors import Unavailable
from fetchml.models.plan import EngineKind


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engines of this host are reached."""

    processes: Path
    """Folder for the state of the process engine."""
    docker_host: str | None = None
    podman_socket: str | None = None


ASKED_FOR = "asked for"
"""Why an engine was taken that the user named."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine that answers, and why it was taken."""

    engine: Engine
    facts: EngineFacts
    why: str


def make_engine(kind: EngineKind, settings: EngineSettings) -> Engine:
    """Returns the adapter of an engine; asks the engine nothing."""
    match kind:
        case EngineKind.DOCKER:
            return DockerEngine(settings.docker_host)
        case EngineKind.PODMAN:
            return PodmanEngine(settings.podman_socket)
        case EngineKind.PROCESS:
            return ProcessEngine(settings.processes)
    assert_never(kind)


def addresses(settings: EngineSettings) -> dict[str, str]:
    """Returns where the container engines are looked for, by kind; asks them nothing."""
    return {
        EngineKind.DOCKER.value: DockerEngine(settings.docker_host).host,
        EngineKind.PODMAN.value: PodmanEngine(settings.podman_socket).host,
    }


MakeEngine = Callable[[EngineKind, EngineSettings], Engine]
"""Makes the adapter of an engine."""


def choose(wanted: str, settings: EngineSettings, make: MakeEngine = make_engine) -> Chosen:
    """Returns the engine of that name, or for `auto` the first of docker, podman, process that answers.

    Args:
        wanted: Name of an engine, or `auto`.
        settings: How the engines of this host are reached.
        make: Makes the adapter of an engine.

    Raises:
        Unavailable: The engine that was asked for does not answer.
    """
    if wanted != "auto":
        engine = make(EngineKind(wanted), settings)
        try:
            return Chosen(engine, engine.facts(), ASKED_FOR)
        except Unavailable as error:
            raise Unavailable(
                f"the engine `{wanted}` does not answer",
                detail=str(error),
                hint=error.hint or "start it, or let fetchml choose with `--engine auto`",
                code="engine-unavailable",
            ) from error
    silent: list[str] = []
    for kind in EngineKind:
        engine = make(kind, settings)
        try:
            facts = engine.facts()
        except Unavailable as error:
            silent.append(f"{kind}: {error.summary}")
            continue
        why = "it answers" if not silent else f"it is the first that answers ({'; '.join(silent)})"
        return Chosen(engine, facts, why)
    raise Unavailable("no engine answers", detail="\n".join(silent), code="engine-unavailable")
