"""Prefect's API and UI through the gateway: carried on to loopback, for those who bring a key, and never further.

Prefect knows no users and answers anyone who reaches it. Its own key stays here; a caller's never leaves. What a
browser may send along by itself counts only for pages of this address (`rules`). Some of Prefect's routes are closed:
those that could empty its database, its documentation, and the secrets in blocks, which are for hosts only.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from fetchml.errors import ConfigError, FetchmlError, Forbidden, NotFound, Unavailable
from fetchml.gateway.rules import GRANTS, KEY, PREFECT_PATH, Permission, refused
from fetchml.keys.access import AccessKey, AccessKeys, AccessKind
from fetchml.prefect_api.client import credentials

_MAX_BODY = 64 * 1024 * 1024
_MAX_MESSAGE = 16 * 1024 * 1024
_AUTH_WITHIN_S = 10
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_ON = _HOP_BY_HOP | {"authorization", "host", "cookie", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
_NOT_BACK = _HOP_BY_HOP | {"set-cookie", "server", "date"}
_CLOSED = ("docs", "redoc", "openapi.json")
_OPEN_ADMIN = ("admin/version",)

FindServer = Callable[[], str | None]
"""Returns the address of Prefect's API now, or None while there is none."""


class PrefectProxy:
    """Prefect behind the gateway.

    Args:
        find: Finds the server.
        keys: The keys of the gateway, for WebSockets that bring theirs in a message.
        grants: What a key may do, by its kind.
    """

    def __init__(
        self,
        find: FindServer,
        keys: AccessKeys,
        grants: Mapping[AccessKind, frozenset[Permission]] = GRANTS,
    ) -> None:
        self._find = find
        self._keys = keys
        self._grants = grants
        self._own = credentials(os.environ)
        self._client: httpx.AsyncClient | None = None

    def routes(self) -> list[BaseRoute]:
        """Returns the routes below `/prefect`."""
        return [
            WebSocketRoute(f"{PREFECT_PATH}/api/{{path:path}}", self._stream),
            Route(f"{PREFECT_PATH}/api/{{path:path}}", self._api, methods=_METHODS),
            Route(f"{PREFECT_PATH}/{{path:path}}", self._ui, methods=["GET", "HEAD"]),
        ]

    async def close(self) -> None:
        """Closes the connections to Prefect."""
        if self._client is not None:
            await self._client.aclose()

    async def _api(self, request: Request) -> Response:
        path: str = request.path_params["path"]
        try:
            self._check(request.scope[KEY], path, request.scope["query_string"])
            return await self._carry(request, f"{await self._server()}/{path}")
        except FetchmlError as error:
            return refused(error)

    async def _ui(self, request: Request) -> Response:
        try:
            self._check(request.scope[KEY], "", b"")
            root = (await self._server()).removesuffix("/api")
            path: str = request.path_params["path"]
            answer = await self._carry(request, f"{root}{PREFECT_PATH}/{path}")
            return await _with_own_address(request, answer) if path == "ui-settings" else answer
        except FetchmlError as error:
            return refused(error)

    def _check(self, key: AccessKey, path: str, query: bytes) -> None:
        if Permission.READ not in self._grants[key.kind]:
            raise Forbidden("the key does not open this", code="access-denied")
        if path.split("/", maxsplit=1)[0] in _CLOSED or (path.startswith("admin") and path not in _OPEN_ADMIN):
            raise NotFound("the gateway has nothing there", code="no-such-route")
        # What else a secret may be called in a query is for Prefect to say: anything but plain `false` is refused.
        if b"include_secrets" in query and key.kind is not AccessKind.HOST:
            raise Forbidden("secrets in blocks are for hosts", code="access-denied")

    async def _server(self) -> str:
        found = await run_in_threadpool(self._find)
        if found is None:
            raise Unavailable("the Prefect server is not running", hint="`fetchml up` starts it", code="busy")
        return found.rstrip("/")

    async def _carry(self, request: Request, url: str) -> Response:
        if self._client is None:
            limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
            timeout = httpx.Timeout(60, connect=5, pool=30)
            self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
        query = request.scope["query_string"].decode("latin-1")
        headers = [(name, value) for name, value in request.headers.items() if name not in _NOT_ON]
        if "accept-encoding" not in request.headers:
            headers.append(("accept-encoding", "identity"))  # the client here would else ask for its own
        outgoing = self._client.build_request(
            request.method,
            httpx.URL(url, query=query.encode("latin-1")) if query else url,
            headers=[*headers, *self._own_headers()],
            content=_bounded(request) if request.method in ("POST", "PUT", "PATCH", "DELETE") else None,
        )
        try:
            answer = await self._client.send(outgoing, stream=True)
        except _TooLarge:
            raise ConfigError(f"the body is larger than {_MAX_BODY} bytes", code="too-large") from None
        except ClientDisconnect:
            return Response(status_code=400)
        except httpx.HTTPError as error:
            raise Unavailable("Prefect does not answer", detail=type(error).__name__, code="busy") from error
        back = _back(answer, url)
        return StreamingResponse(_parts(answer), answer.status_code, back)

    def _own_headers(self) -> list[tuple[str, str]]:
        return list(self._own.items())

    async def _stream(self, socket: WebSocket) -> None:
        """Joins a WebSocket with one of Prefect's, once a key was shown."""
        offers = "prefect" in socket.scope.get("subprotocols", [])
        await socket.accept(subprotocol="prefect" if offers else None)
        key: AccessKey | None = socket.scope.get(KEY)
        try:
            path: str = socket.path_params["path"]
            if offers:
                key = await self._shown(socket) or key
            if key is None:
                await socket.close(1008, "a key is needed")
                return
            self._check(key, path, socket.scope["query_string"])
            url = "ws" + (await self._server()).removeprefix("http") + f"/{path}"
            protocols = [Subprotocol("prefect")] if offers else None
            async with connect(
                url, subprotocols=protocols, max_size=_MAX_MESSAGE, proxy=None, additional_headers=self._own
            ) as server:
                if offers:
                    await server.send(json.dumps({"type": "auth", "token": self._own_token()}))
                await _join(socket, server)
        except (WebSocketDisconnect, ConnectionClosed):
            pass
        except (FetchmlError, WebSocketException, OSError, ValueError):
            with suppress(RuntimeError):
                await socket.close(1011, "Prefect does not answer")

    async def _shown(self, socket: WebSocket) -> AccessKey | None:
        """Returns whose key the first message brings; Prefect gets one of its own in its place."""
        try:
            async with asyncio.timeout(_AUTH_WITHIN_S):
                text = await socket.receive_text()
        except (TimeoutError, KeyError):
            return None
        if len(text) > 10_000:
            return None
        message = json.loads(text)
        if not isinstance(message, dict) or message.get("type") != "auth":  # pyright: ignore[reportUnknownMemberType]
            return None
        token = cast("dict[str, Any]", message).get("token")
        if not isinstance(token, str):
            return None
        # Prefect sends the whole of PREFECT_API_AUTH_STRING, `name:key`, or PREFECT_API_KEY.
        return await run_in_threadpool(self._keys.find, token.rpartition(":")[2])

    def _own_token(self) -> str | None:
        return os.environ.get("PREFECT_API_AUTH_STRING")


class _TooLarge(Exception):
    """More was sent than is carried on."""


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > _MAX_BODY:
            raise _TooLarge
        yield part


async def _parts(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


def _back(answer: httpx.Response, url: str) -> dict[str, str]:
    """Returns the headers of an answer that go back; addresses behind the gateway become its own."""
    back = {
        name: value
        for name, value in answer.headers.items()
        if name not in _NOT_BACK and not name.startswith("access-control-")
    }
    location = back.get("location")
    if location is not None:
        origin = str(httpx.URL(url).copy_with(path="/", query=None)).rstrip("/")
        inside = location.removeprefix(origin)
        back["location"] = f"{PREFECT_PATH}{inside}" if inside.startswith("/api") else inside
    back["x-content-type-options"] = "nosniff"
    back["x-frame-options"] = "DENY"
    back["referrer-policy"] = "same-origin"
    return back


async def _with_own_address(request: Request, answer: Response) -> Response:
    """Returns the settings of Prefect's UI with the address that it is reached by here."""
    if not isinstance(answer, StreamingResponse) or answer.status_code != 200:
        return answer
    content = b"".join([cast("bytes", part) async for part in answer.body_iterator])
    with suppress(ValueError, TypeError):
        settings = cast("dict[str, Any]", json.loads(content))
        settings["api_url"] = f"{request.url.scheme}://{request.headers['host']}{PREFECT_PATH}/api"
        return Response(json.dumps(settings), media_type="application/json")
    return Response(content, media_type="application/json")


async def _join(socket: WebSocket, server: ClientConnection) -> None:
    """Passes messages on in both directions until one side closes."""

    async def inward() -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text, binary = message.get("text"), message.get("bytes")
            await server.send(text if text is not None else binary or b"")

    async def outward() -> None:
        async for message in server:
            if isinstance(message, str):
                await socket.send_text(message)
            else:
                await socket.send_bytes(message)

    tasks = [asyncio.create_task(inward()), asyncio.create_task(outward())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, ConnectionClosed, WebSocketDisconnect, RuntimeError):
                await task
    code = server.close_code or 1000
    with suppress(RuntimeError):
        await socket.close(code if code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011) else 1000)
