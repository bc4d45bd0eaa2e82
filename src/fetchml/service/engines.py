"""How commands reach the engines of this host."""

from fetchml.config.settings import Settings
from fetchml.engine.choose import MakeEngine, make_engine


def engine_maker(settings: Settings) -> MakeEngine:
    """Returns what makes engines; only where a block is named does this import Prefect and ask its server."""
    if settings.docker_block is None and settings.podman_block is None:
        return make_engine
    from fetchml.blocks.connect import engine_maker as with_block

    return with_block(settings)
