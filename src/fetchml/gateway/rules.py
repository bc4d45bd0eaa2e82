"""What each request may do: denied by default, decided on the route that matched.

Every request has to bring a key before anything is looked up, so that nobody without one learns what exists. A route
is a `Rule`; what it needs is a permission, and what a key has follows from its kind. Roles come in that place later.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fetchml.errors import Bug, ConfigError, FetchmlError, Forbidden, NotFound
from fetchml.keys.access import AccessKey, AccessKeys, AccessKind
from fetchml.link.wire import AGAIN_HEADER, MAX_SMALL_BYTES, SIZE_HEADER, TOKEN_HEADER, error_to_json, status_of

KEY = "fetchml.key"
"""Where a request's key is in its ASGI scope."""
PREFECT_PATH = "/prefect"
_MAX_PATH = 4096
_MAX_HEADERS = 64 * 1024


class Permission(StrEnum):
    """What a key may do."""

    READ = "read"
    """Look at runs, hosts, objects and Prefect."""
    QUEUE = "queue"
    """Make runs, and stop them."""
    WORK = "work"
    """Take runs and write their records."""
    OPERATE = "operate"
    """Mark hosts."""


GRANTS: Mapping[AccessKind, frozenset[Permission]] = {
    AccessKind.HOST: frozenset({Permission.READ, Permission.WORK}),
    AccessKind.USER: frozenset({Permission.READ, Permission.QUEUE, Permission.OPERATE}),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be carried out."""

    key: AccessKey
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    may: frozenset[Permission]
    """What the key may do."""

    @property
    def token(self) -> str | None:
        """The fencing token that the request carries."""
        return self.headers.get(TOKEN_HEADER)

    def number(self, name: str, default: int | None = None, most: int = 2**53) -> int:
        """Returns a whole number of the query.

        Raises:
            ConfigError: There is none, or it is out of range.
        """
        text = self.query.get(name)
        if text is None and default is not None:
            return default
        if text is None or not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > most:
            raise ConfigError(f"`{name}` has to be a number from 0 to {most}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    content: bytes = b""
    status: int = 200
    etag: str | None = None
    size_bytes: int | None = None
    was_done: bool = False
    """Whether it had been done before, word for word."""


def json_answer(value: object, *, status: int = 200, was_done: bool = False) -> Answer:
    """Returns a value as an answer."""
    import json

    return Answer(json.dumps(value).encode(), status, was_done=was_done)


Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Rule:
    """One route: what it is, what it needs, and what carries it out."""

    method: str
    path: str
    needs: Permission
    handler: Handler = field(repr=False)
    max_body: int = MAX_SMALL_BYTES

    def route(self, grants: Mapping[AccessKind, frozenset[Permission]]) -> Route:
        """Returns the route for Starlette."""

        async def endpoint(request: Request) -> Response:
            key: AccessKey = request.scope[KEY]
            may = grants[key.kind]
            try:
                if self.needs not in may:
                    raise Forbidden(
                        f"the key of {key.kind} `{key.name}` does not open this",
                        detail=f"it takes the permission `{self.needs}`",
                        code="access-denied",
                    )
                body = await _body(request, self.max_body)
                call = Call(key, request.path_params, request.query_params, request.headers, body, may)
                answer = await run_in_threadpool(self.handler, call)
            except FetchmlError as error:
                return refused(error)
            except ClientDisconnect:
                return Response(status_code=400)
            return _response(answer)

        return Route(self.path, endpoint, methods=[self.method])


class Doorkeeper:
    """Lets only requests through that bring a key, and whose path means one thing only.

    Args:
        app: What is behind the door.
        keys: The keys that open it.
    """

    def __init__(self, app: ASGIApp, keys: AccessKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, WebSocket, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if not is_plain(scope):
            await _turn_away(scope, receive, send, ConfigError("the path is not in its plain form", code="bad-path"))
            return
        try:
            key = await run_in_threadpool(self._key, scope)
        except FetchmlError as error:
            await _turn_away(scope, receive, send, error)
            return
        # A browser sends a password that it knows along with what any page asks for.
        if key is not None and not _is_cross_site(scope):
            await self._app({**scope, KEY: key}, receive, send)
        elif key is None and scope["type"] == "websocket" and _says_key_later(scope):
            await self._app(scope, receive, send)
        else:
            error = Forbidden("a key is needed", hint="`fetchml login` stores one", code="no-key")
            await _turn_away(scope, receive, send, error, status=401)

    def _key(self, scope: Scope) -> AccessKey | None:
        secret = secret_of(scope)
        return None if secret is None else self._keys.find(secret)


def secret_of(scope: Scope) -> str | None:
    """Returns the key a request brings: as a bearer, or below `/prefect` as the password of a browser."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(found) != 1:
        return None
    scheme, _, rest = found[0].decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() == "basic" and scope["path"].startswith(f"{PREFECT_PATH}/"):
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def is_plain(scope: Scope) -> bool:
    """Tells whether a path is spelt in its one plain form: whatever reads it after us reads the same."""
    raw: bytes = scope.get("raw_path") or b""
    path: str = scope["path"]
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if len(raw) > _MAX_PATH or size > _MAX_HEADERS or not path.startswith("/"):
        return False
    lowered = raw.lower()
    if any(trick in lowered for trick in (b"%2e", b"%2f", b"%5c", b"%25", b"\\", b"//", b";")):
        return False
    if not path.isascii() or not path.isprintable() or "\\" in path:
        return False
    return not any(part in (".", "..") for part in path.split("/"))


def _is_cross_site(scope: Scope) -> bool:
    """Tells whether another site's page has sent the request, with a password that the browser knows."""
    headers = dict(scope["headers"])
    if not headers.get(b"authorization", b"").lower().startswith(b"basic"):
        return False
    if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
        return headers.get(b"sec-fetch-mode") != b"navigate" or scope.get("method") not in ("GET", "HEAD")
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")


def _says_key_later(scope: Scope) -> bool:
    """Tells whether a WebSocket is one of Prefect's, whose first message brings the key."""
    return scope["path"].startswith(f"{PREFECT_PATH}/api/") and "prefect" in scope.get("subprotocols", [])


def refused(error: FetchmlError, status: int | None = None) -> Response:
    """Returns an error as an answer."""
    response = JSONResponse(error_to_json(error), status or status_of(error))
    response.headers["Cache-Control"] = "no-store"
    return response


async def _turn_away(
    scope: Scope, receive: Receive, send: Send, error: FetchmlError, *, status: int | None = None
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    response = refused(error, status)
    response.headers["Connection"] = "close"  # what else it may be sending is not read
    if status == 401 and scope["path"].startswith(PREFECT_PATH):
        response.headers["WWW-Authenticate"] = 'Basic realm="fetchml: any name, your key", charset="UTF-8"'
    elif status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    await response(scope, receive, send)


async def _body(request: Request, most: int) -> bytes:
    too_large = ConfigError(f"the body is larger than {most} bytes", code="too-large")
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > most:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _response(answer: Answer) -> Response:
    headers: dict[str, str] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if answer.etag is not None:
        headers["ETag"] = answer.etag
    if answer.size_bytes is not None:
        headers[SIZE_HEADER] = str(answer.size_bytes)
    if answer.was_done:
        headers[AGAIN_HEADER] = "1"
    return Response(answer.content, answer.status, headers, media_type="application/octet-stream")


async def on_unknown(_request: Request, _: Exception) -> Response:
    """Answers what no route matches; whoever asked has shown a key."""
    return refused(NotFound("the gateway has nothing there", code="no-such-route"), 404)


async def on_wrong_method(_request: Request, _: Exception) -> Response:
    """Answers a route that is asked in a way it does not know."""
    return refused(ConfigError("the gateway does not do that there", code="wrong-method"), 405)


async def on_bug(_request: Request, error: Exception) -> Response:
    """Answers where the gateway itself is wrong; what happened is in its log."""
    return refused(Bug("the gateway failed", detail=type(error).__name__), 500)


HANDLERS: dict[Any, Any] = {404: on_unknown, 405: on_wrong_method, Exception: on_bug}
