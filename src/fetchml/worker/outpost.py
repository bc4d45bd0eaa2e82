"""What the worker of a host does when the run store is on another one: sends what was done, and says that it lives."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

import fetchml
from fetchml.errors import FetchmlError, Unavailable
from fetchml.execution.ownership import is_owned
from fetchml.home import Home
from fetchml.models.claim import Claim
from fetchml.models.host import boot_id
from fetchml.models.lab_host import HeldRun, PublishedHost
from fetchml.models.resources import DeviceShare
from fetchml.store.folder import RunFolder
from fetchml.store.shipping import Shipping

_LIVE_S = 0.5
"""Time between two turns while a run is live: how late its output is seen elsewhere."""
_IDLE_S = 2.0
_LONGEST_PAUSE_S = 15.0
HEARTBEAT_S = 5.0

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


async def keep_publishing(home: Home, state: Callable[[], PublishedHost], logger: _Logger) -> None:
    """Says again and again that this host lives, and what runs on it."""
    was_cut = False
    while True:
        try:
            await asyncio.to_thread(home.hosts.publish, state())
            was_cut = False
        except FetchmlError as error:
            if not was_cut:
                logger.warning("the control host does not hear this host: %s", str(error).replace("\n", "; "))
            was_cut = True
        except Exception:
            logger.exception("publishing failed")
        await asyncio.sleep(HEARTBEAT_S)


def held_runs(claims: list[Claim]) -> tuple[HeldRun, ...]:
    """Returns what claims hold; a claim names whole devices."""
    return tuple(
        HeldRun(
            run_id=claim.run_id,
            attempt=claim.attempt,
            cpus=claim.cpus,
            memory_bytes=claim.memory_bytes,
            shares=tuple(DeviceShare(device_id=device_id, share=1) for device_id in claim.device_ids),
            started_at=claim.claimed_at,
        )
        for claim in claims
    )


def identity() -> dict[str, Any]:
    """Returns what a worker says of itself that never changes."""
    return {"pid": os.getpid(), "version": fetchml.__version__, "boot_id": boot_id()}


def load_average() -> float | None:
    """Returns the load of the last minute, or None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _is_driven(folder: RunFolder, attempt: int) -> bool:
    return is_owned(folder.attempt(attempt))
