"""What drives attempts on this host: its parts, its devices and its clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.engine.choose import MakeEngine, make_engine
from fetchml.engine.port import Engine
from fetchml.environment.maker import EnvironmentMaker, make_environment_maker
from fetchml.execution.output import Listener
from fetchml.execution.sampling import Sampler
from fetchml.gpus.discover import Discovery
from fetchml.gpus.source import ReadingsSource
from fetchml.home import Home
from fetchml.models.claim import Claim
from fetchml.store.folder import AttemptFolder


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


def sampler_of(driver: Driver, claim: Claim, folder: AttemptFolder) -> Sampler:
    """Returns what looks at the use of a run.

    Args:
        driver: The host's parts.
        claim: The claim of the attempt.
        folder: Its folder.
    """
    return Sampler(
        folder.resources,
        claim.run_id,
        claim.held,
        interval_s=driver.home.settings.sampling_interval,
        source=ReadingsSource(driver.home.services) if claim.held else None,
    )
