"""A thin client for the few Prefect endpoints that fetchml's own commands need.

`import prefect` costs 1.4 s of CPU and its client another 0.2 s; submitting a run must not. Workers and flows use
Prefect's own client.
"""

import base64
import http.client
import json
import os
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self, cast
from urllib.parse import urlsplit

from fetchml.errors import ConfigError, Conflict, NotFound, Unavailable

_RETRIES = 5
_FIRST_PAUSE_S = 0.1
_RETRY_STATUS = frozenset({429, 502, 503})
"""503 is how the server says that its SQLite database was locked: the same call works a moment later."""


class PrefectClient:
    """One Prefect API.

    Args:
        api_url: Address that ends in `/api`.
        timeout_s: Time to wait for an answer.
        environ: Where credentials are read from: PREFECT_API_KEY or PREFECT_API_AUTH_STRING.

    Raises:
        ConfigError: The address is no http or https URL.
    """

    def __init__(self, api_url: str, *, timeout_s: float = 30, environ: Mapping[str, str] = os.environ) -> None:
        parts = urlsplit(api_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"`{api_url[:100]}` is no Prefect API", detail="expected a URL such as http://host:4200/api"
            )
        if parts.username or parts.password:
            raise ConfigError(
                "the Prefect API address holds a password",
                hint="take it out of the URL and set PREFECT_API_AUTH_STRING to user:password",
            )
        self.api_url = api_url.rstrip("/")
        self._scheme = parts.scheme
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **credentials(environ)}
        # Prefect's own variable: beyond a gateway it names the certificate of the lab.
        self._ca_file = environ.get("PREFECT_API_SSL_CERT_FILE") or None
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> Any:
        """Returns the answer to a GET."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Returns the answer to a POST."""
        return self._call("POST", path, body or {})

    def patch(self, path: str, body: Mapping[str, object]) -> Any:
        """Returns the answer to a PATCH."""
        return self._call("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Removes what is at a path; what is not there is fine.

        Raises:
            Unavailable: The API does not answer.
        """
        with suppress(NotFound):
            self._call("DELETE", path, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answers(self) -> bool:
        """Tells whether the API answers; asks once."""
        try:
            return self._exchange("GET", "/health", None)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(self, method: str, path: str, body: Mapping[str, object] | None) -> Any:
        pause = _FIRST_PAUSE_S
        for last in (False,) * (_RETRIES - 1) + (True,):
            try:
                status, content = self._exchange(method, path, body)
                if status not in _RETRY_STATUS or last:
                    return self._answer(method, path, status, content)
            except (OSError, http.client.HTTPException) as error:
                if last:
                    raise Unavailable(
                        "the Prefect API does not answer",
                        detail=f"{self.api_url}: {error or type(error).__name__}",
                        hint="`fetchml server status` says what is running; `fetchml up` starts what is not",
                        code="prefect-unavailable",
                    ) from error
            time.sleep(pause)
            pause *= 2
        raise AssertionError  # the last round returns or raises

    def _exchange(self, method: str, path: str, body: Mapping[str, object] | None) -> tuple[int, bytes]:
        if self._connection is None:
            if self._scheme == "https":
                context = ssl.create_default_context(cafile=self._ca_file)
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout_s, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            content = None if body is None else json.dumps(body).encode()
            self._connection.request(method, self._path + path, content, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def _answer(self, method: str, path: str, status: int, content: bytes) -> Any:
        if 200 <= status < 300:
            return self._read(content)
        text = content[:500].decode("utf-8", "replace")
        what = f"{method} {path} answered {status}"
        if status == 404:
            raise NotFound("Prefect has no such thing", detail=f"{what}: {text}")
        if status == 409:
            raise Conflict("Prefect has it already", detail=f"{what}: {text}")
        if status in (401, 403):
            raise ConfigError(
                "the Prefect API refuses this user",
                detail=what,
                hint="set PREFECT_API_KEY or PREFECT_API_AUTH_STRING",
                code="prefect-refuses",
            )
        if status >= 500 or status == 429:
            raise Unavailable("the Prefect API has trouble", detail=f"{what}: {text}", code="prefect-unavailable")
        raise ConfigError("the Prefect API refuses the request", detail=f"{what}: {text}", code="prefect-refuses")

    def _read(self, content: bytes) -> Any:
        try:
            return json.loads(content) if content else None
        except ValueError as error:
            raise ConfigError(
                f"{self.api_url} is no Prefect API",
                detail="it answers with something else than JSON",
                hint="mend `prefect.api_url` or PREFECT_API_URL; the address ends in /api",
                code="no-prefect-api",
            ) from error


def is_healthy(api_url: str, timeout_s: float) -> bool:
    """Tells whether a Prefect API answers; asks once."""
    with PrefectClient(api_url, timeout_s=timeout_s) as client:
        return client.answers()


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers that show who asks."""
    if key := environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}


def ids_of(items: object) -> list[str]:
    """Returns the ids in a list of answers."""
    return [str(item["id"]) for item in cast("list[dict[str, Any]]", items)]
