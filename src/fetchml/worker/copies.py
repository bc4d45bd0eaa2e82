"""Has sealed runs copied to the bucket, by a process of its own; nothing that goes wrong there reaches a run."""

import asyncio
import logging
import os
from contextlib import suppress
from typing import Any

from fetchml.archive.copier import Copier, copying_command
from fetchml.errors import FetchmlError
from fetchml.home import Home

_LOOK_S = 60.0
"""Time between two looks for runs that wait, when none was sealed meanwhile: edits, and what another process left."""
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 600.0


async def keep_copying(
    home: Home, sealed: asyncio.Event, logger: "logging.Logger | logging.LoggerAdapter[Any]"
) -> None:
    """Looks for runs that wait whenever one was sealed, and once a minute; after a failure ever more rarely.

    Args:
        home: The home folder.
        sealed: Set when a run was sealed.
        logger: The worker's log.
    """
    copier = Copier(home)
    pause = _FIRST_PAUSE_S
    while True:
        sealed.clear()
        try:
            is_done = not await asyncio.to_thread(copier.waiting) or await _copy(home) == 0
        except (FetchmlError, OSError) as error:
            logger.warning("runs are not copied now: %s", str(error).replace("\n", "; "))
            is_done = False
        if is_done:
            pause = _FIRST_PAUSE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await sealed.wait()
        else:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


async def _copy(home: Home) -> int:
    """Starts the process that copies, and returns its exit code; it is ended with the worker."""
    process = await asyncio.create_subprocess_exec(
        *copying_command(),
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, "FETCHML_HOME": str(home.path)},
        start_new_session=True,
    )
    try:
        return await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
