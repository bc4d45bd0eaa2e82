"""Streams: the output of a run as it arrives, and the changes of runs, over WebSockets."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from fetchml.errors import FetchmlError, NotFound
from fetchml.gateway.lab import Lab
from fetchml.gateway.rules import KEY, Permission
from fetchml.keys.access import AccessKey, AccessKind
from fetchml.link.wire import error_to_json
from fetchml.store.below import file_below
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex

_CHUNK = 256 * 1024
_LOOK_S = 0.2
_EVENTS_EVERY_S = 0.5
_MAX_STREAMS = 256


class Streams:
    """The streams of a lab.

    Args:
        lab: What is served.
        grants: What a key may do, by its kind.
    """

    def __init__(self, lab: Lab, grants: Mapping[AccessKind, frozenset[Permission]]) -> None:
        self._lab = lab
        self._grants = grants
        self._open = 0

    def routes(self) -> list[BaseRoute]:
        """Returns the routes of the streams."""
        return [
            WebSocketRoute("/v1/runs/{run_id}/output", self._guarded(self._output)),
            WebSocketRoute("/v1/events", self._guarded(self._events)),
        ]

    def _guarded(self, serve: Callable[[WebSocket], Awaitable[None]]) -> Callable[[WebSocket], Awaitable[None]]:
        async def guarded(socket: WebSocket) -> None:
            key: AccessKey = socket.scope[KEY]
            if Permission.READ not in self._grants[key.kind] or self._open >= _MAX_STREAMS:
                await socket.close(1008)
                return
            self._open += 1
            try:
                await socket.accept()
                await _until_left(socket, serve(socket))
            except FetchmlError as error:
                with suppress(RuntimeError, WebSocketDisconnect):
                    await socket.send_json(error_to_json(error))
                    await socket.close(1011)
            except (WebSocketDisconnect, RuntimeError):
                pass
            finally:
                self._open -= 1

        return guarded

    async def _output(self, socket: WebSocket) -> None:
        """Sends the output of a run from a position on, byte for byte, until the run has ended."""
        run_id, text = socket.path_params["run_id"], socket.query_params.get("offset", "0")
        position = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
        chosen = socket.query_params.get("attempt", "")
        attempt = int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 6 else None
        follow = socket.query_params.get("follow", "1") != "0"
        while True:
            is_last = not follow or await run_in_threadpool(self._has_ended, run_id, attempt)
            while part := await run_in_threadpool(self._part, run_id, attempt, position):
                position += len(part)
                await socket.send_bytes(part)
            if is_last:
                await socket.close(1000)
                return
            await asyncio.sleep(_LOOK_S)

    async def _events(self, socket: WebSocket) -> None:
        """Sends each change of a run's state, beginning with what has not ended."""
        known: dict[str, str] = {}
        while True:
            rows = await run_in_threadpool(RunIndex(self._lab.store.root).rows)
            for row in rows:
                before = known.get(row.run_id)
                if before != row.state and not (before is None and row.is_final and not known):
                    await socket.send_json({"run_id": row.run_id, "state": row.state, "host": row.host})
            known = {row.run_id: row.state for row in rows} or known
            await asyncio.sleep(_EVENTS_EVERY_S)

    def _has_ended(self, run_id: str, attempt: int | None) -> bool:
        manifest = self._lab.store.read_manifest(run_id)
        return manifest.seal is not None if attempt is None else manifest.is_over(attempt)

    def _part(self, run_id: str, attempt: int | None, position: int) -> bytes:
        folder = self._lab.store.folder(run_id)
        try:
            with file_below(folder.path, f"attempts/{attempt or latest_attempt(folder)}/output.log") as file:
                return os.pread(file, _CHUNK, position)
        except NotFound:
            return b""


def latest_attempt(folder: RunFolder) -> int:
    """Returns the number of the latest attempt, 1 if there is none."""
    with suppress(OSError):
        return max((int(name) for name in os.listdir(folder.attempts) if name.isdigit()), default=1)
    return 1


async def _until_left(socket: WebSocket, work: Awaitable[None]) -> None:
    """Serves until the work is done or the other side has left."""

    async def left() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    tasks = [asyncio.ensure_future(work), asyncio.create_task(left())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(BaseException):
                await task
