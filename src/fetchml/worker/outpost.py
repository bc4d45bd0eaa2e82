"""What the worker of a host does besides, when the run store is on another one: it sends what was done."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from fetchml.errors import FetchmlError, Unavailable
from fetchml.execution.ownership import is_owned
from fetchml.home import Home
from fetchml.models.claim import Claim
from fetchml.store.folder import RunFolder
from fetchml.store.shipping import Shipping

_LIVE_S = 0.5
"""Time between two turns while a run is live: how late its output is seen elsewhere."""
_IDLE_S = 2.0
_LONGEST_PAUSE_S = 15.0

_Logger = logging.Logger | logging.LoggerAdapter[Any]


async def keep_shipping(home: Home, adopt: Callable[[list[Claim]], None], logger: _Logger) -> None:
    """Sends what this host has done, for as long as the worker lives.

    Args:
        home: The home folder of a host of a lab.
        adopt: Takes claims that turned out to be this host's after an answer was lost.
        logger: The worker's log.
    """
    store = home.outpost
    shipping = Shipping(store, _is_driven, logger)
    pause, was_cut = _IDLE_S, False
    while True:
        try:
            adopt(await asyncio.to_thread(store.settle))
            left = await asyncio.to_thread(shipping.turn)
            if was_cut:
                logger.info("the gateway answers again; what happened meanwhile was sent")
            pause, was_cut = (_LIVE_S if left else _IDLE_S), False
        except FetchmlError as error:
            if not was_cut:
                logger.warning("nothing can be sent now, runs go on: %s", str(error).replace("\n", "; "))
            was_cut = was_cut or isinstance(error, Unavailable)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        except Exception:
            logger.exception("sending failed")
            pause = _LONGEST_PAUSE_S
        await asyncio.sleep(pause)


def _is_driven(folder: RunFolder, attempt: int) -> bool:
    return is_owned(folder.attempt(attempt))
