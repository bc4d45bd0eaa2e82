"""What drives attempts on this host: its parts, its devices and its clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.engine.choose import MakeEngine, make_engine
from fetchml.engine.port import Engine
from fetchml.environment.maker import EnvironmentMaker, make_environment_maker
from fetchml.execution.output import Listener
from fetchml.gpus.discover import Discovery
from fetchml.home import Home


def _nobody(_: list[str]) -> None:
    """Listens to nothing."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Driver:
    """The host side of an attempt."""

    home: Home
    discovery: Discovery
    listener: Listener = _nobody
    """Gets the lines of output as they arrive."""
    now: Callable[[], datetime] = _utc_now
    engines: MakeEngine = make_engine
    """Makes the engine of a run."""
    environments: Callable[[Engine, Home], EnvironmentMaker] = lambda engine, home: make_environment_maker(
        engine, home.environments, home.package_cache
    )
    """Makes what builds the environments of an engine."""
