"""Tends runs: sees to it that each has a living flow process until its attempt is over."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from fetchml.errors import FetchmlError
from fetchml.execution.ownership import is_owned
from fetchml.home import Home
from fetchml.models.claim import Claim
from fetchml.worker.nursery import Nursery

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_LOOK_S = 0.5


class Tender:
    """Starts, watches and replaces flow processes.

    Args:
        home: The home folder.
        logger: The worker's log.
        on_release: Called when a process has ended.
    """

    def __init__(
        self, home: Home, logger: "logging.Logger | logging.LoggerAdapter[Any]", on_release: Callable[[], None]
    ) -> None:
        self._home = home
        self._logger = logger
        self._on_release = on_release
        self._nursery = Nursery(self._ended)
        self._exits: dict[int, asyncio.Future[int]] = {}

    async def start(self) -> None:
        """Starts the process that flow processes are forked from."""
        await self._nursery.start()

    def stop(self) -> None:
        """Stops forking; flow processes live on."""
        self._nursery.stop()

    async def tend(self, claim: Claim) -> None:
        """Returns when the attempt is over, whatever dies in between: the run is sealed, or waits for another one."""
        folder = self._home.store.folder(claim.run_id).attempt(claim.attempt)
        pause = _FIRST_PAUSE_S
        while not await asyncio.to_thread(self._is_over, claim):
            if is_owned(folder):
                # The process of an earlier worker: nobody tells us of its end but its lock.
                await asyncio.sleep(_LOOK_S)
                continue
            code = await self._drive(claim)
            if code != 0:
                self._logger.warning("the process of run %s ended with %s; another one adopts it", claim.run_id, code)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _drive(self, claim: Claim) -> int | str:
        job: dict[str, object] = {"run_id": claim.run_id, "attempt": claim.attempt, "flow_run_id": claim.flow_run_id}
        try:
            pid = await self._nursery.fork(job)
        except FetchmlError as error:
            return str(error)
        future = self._exits.setdefault(pid, asyncio.get_running_loop().create_future())
        try:
            return await future
        finally:
            self._exits.pop(pid, None)

    def _ended(self, pid: int, code: int) -> None:
        future = self._exits.setdefault(pid, asyncio.get_running_loop().create_future())
        if not future.done():
            future.set_result(code)
        self._on_release()

    def _is_over(self, claim: Claim) -> bool:
        try:
            return self._home.store.read_manifest(claim.run_id).is_over(claim.attempt)
        except FetchmlError as error:
            self._logger.warning("%s", error)
            return False
