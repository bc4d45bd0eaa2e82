"""How commands reach the engines of this host."""

import os

from fetchml.config.settings import Settings
from fetchml.daemons.server import PrivateServer
from fetchml.engine.choose import MakeEngine, make_engine
from fetchml.errors import Unavailable


def engine_maker(settings: Settings) -> MakeEngine:
    """Returns what makes engines; only where `docker.block` is set does this import Prefect and ask its server.

    Raises:
        Unavailable: A block is needed and no server runs.
    """
    if settings.docker_block is None:
        return make_engine
    api_url = settings.prefect_api_url or PrivateServer(settings).api_url
    if api_url is None:
        raise Unavailable(
            "the Prefect server is not running, and `docker.block` is kept there", hint="`fetchml up` starts it"
        )
    # Prefect reads this when it is imported.
    os.environ["PREFECT_API_URL"] = api_url
    from fetchml.blocks.connect import engine_maker as with_block

    return with_block(settings)
