"""What client and gateway agree on: header names, limits, and errors as JSON."""

import json
from typing import Any, cast

from fetchml.errors import Bug, ConfigError, Conflict, Corrupt, FetchmlError, Forbidden, NotFound, Refused, Unavailable

TOKEN_HEADER = "Fetchml-Token"  # noqa: S105  # the name of a header
WRITE_HEADER = "Fetchml-Write"
"""A random word for each change, so that one whose answer was lost is not made twice."""
SIZE_HEADER = "Fetchml-Size"
AGAIN_HEADER = "Fetchml-Again"
"""Set in an answer: what was asked for had been done before, word for word."""

CHUNK_BYTES = 4 * 1024 * 1024
"""Most bytes of a file in one request or answer."""
MAX_SMALL_BYTES = 1024 * 1024
MAX_CHUNK_BODY = CHUNK_BYTES + 1024
MAX_MANIFEST_BYTES = 96 * 1024 * 1024
"""A run may leave 200,000 artifacts, each with a path and a digest."""
HIDDEN_TOKEN = "-" * 64
"""Stands in the place of a token that is another's."""

_KINDS: dict[str, type[FetchmlError]] = {
    kind.__name__: kind
    for kind in (ConfigError, NotFound, Conflict, Refused, Unavailable, Corrupt, Forbidden, Bug, FetchmlError)
}
_STATUS = {ConfigError: 400, NotFound: 404, Conflict: 409, Refused: 422, Unavailable: 503, Corrupt: 424, Forbidden: 403}


def status_of(error: FetchmlError) -> int:
    """Returns the HTTP status of an error."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def error_to_json(error: FetchmlError) -> dict[str, object]:
    """Returns an error as the body of an answer."""
    body = cast("dict[str, Any]", error.as_json()["error"])
    return {"error": {**body, "kind": type(error).__name__}}


def error_of(status: int, content: bytes) -> FetchmlError:
    """Returns the error that an answer means; one that no gateway wrote is named by its status."""
    try:
        body = cast("dict[str, Any]", json.loads(content))["error"]
        return _KINDS[body["kind"]](
            str(body["summary"])[:2000],
            detail=_text(body.get("detail")),
            hint=_text(body.get("hint")),
            code=str(body["code"])[:60],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if status in (401, 403):
        return Forbidden("the gateway refuses this key", code="access-denied")
    if status >= 500 or status == 429:
        return Unavailable("the gateway has trouble", detail=f"it answered {status}", code="gateway-unavailable")
    return ConfigError("the gateway refuses the request", detail=f"it answered {status}", code="gateway-refuses")


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:20_000]
