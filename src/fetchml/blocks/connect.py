"""Engines as the settings name them: reached directly, or through a block on the Prefect server."""

from fetchml.blocks.container_engine import engine_of_block
from fetchml.config.settings import Settings
from fetchml.engine.choose import EngineSettings, MakeEngine, make_engine
from fetchml.engine.port import Engine
from fetchml.errors import ConfigError
from fetchml.models.plan import EngineKind


def engine_maker(settings: Settings) -> MakeEngine:
    """Returns what makes the engines of these settings; `docker.block` names a block to connect to Docker with."""
    block = settings.docker_block
    if block is None:
        return make_engine

    def make(kind: EngineKind, engines: EngineSettings) -> Engine:
        if kind is not EngineKind.DOCKER:
            return make_engine(kind, engines)
        try:
            engine = engine_of_block(block)
        except ValueError as error:
            raise ConfigError(
                f"there is no block `{block}` on the Prefect server",
                detail="`docker.block` names it",
                hint="save a block of type `fetchml Container Engine`, or write `docker-host/NAME` for a Docker Host",
                code="no-such-block",
            ) from error
        if engine.kind is not kind:
            raise ConfigError(
                f"the block `{block}` connects to {engine.kind}", hint=f"`docker.block` needs one that is for {kind}"
            )
        return engine

    return make
