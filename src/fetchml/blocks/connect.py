"""Engines as the settings name them: reached directly, or through a block on the Prefect server."""

from prefect_docker.host import DockerHost  # pyright: ignore[reportMissingTypeStubs]  # it has types and no marker

from fetchml.blocks.container_engine import ContainerEngine
from fetchml.blocks.fields import block_of
from fetchml.config.blocks import CONTAINER_ENGINE
from fetchml.config.settings import Settings
from fetchml.engine.choose import EngineSettings, MakeEngine, make_engine
from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.port import Engine
from fetchml.errors import ConfigError
from fetchml.home import Home
from fetchml.models.plan import EngineKind

_DOCKER_HOST = "docker-host"
"""Slug of prefect-docker's own block."""


def engine_maker(settings: Settings) -> MakeEngine:
    """Returns what makes the engines of these settings; `docker.block` and `podman.block` name blocks."""
    blocks = {EngineKind.DOCKER: settings.docker_block, EngineKind.PODMAN: settings.podman_block}

    def make(kind: EngineKind, engines: EngineSettings) -> Engine:
        block = blocks.get(kind)
        if block is None:
            return make_engine(kind, engines)
        engine = engine_of_block(Home(settings), block)
        if engine.kind is not kind:
            raise ConfigError(
                f"the block `{block}` connects to {engine.kind}", hint=f"`{kind}.block` needs one that is for {kind}"
            )
        return engine

    return make


def engine_of_block(home: Home, name: str) -> DockerEngine:
    """Returns the engine that a saved `ContainerEngine` or `DockerHost` block describes; asks the engine nothing.

    Args:
        home: Whose Prefect server has the block.
        name: `NAME` of a ContainerEngine block, or `docker-host/NAME` of prefect-docker's own.

    Raises:
        ConfigError: There is no such block, or a field of it does not do.
        Unavailable: The Prefect server does not answer.
    """
    if name.startswith(f"{_DOCKER_HOST}/"):
        fields = home.read_block(_DOCKER_HOST, name.removeprefix(f"{_DOCKER_HOST}/"))
        return DockerEngine(connect=block_of(fields, DockerHost).get_client)
    return block_of(home.read_block(CONTAINER_ENGINE, name), ContainerEngine).get_engine()
