"""A client of the gateway: TLS pinned to its certificate, tries that are repeated, errors as they were raised there.

Every request that this sends may be repeated without harm, as an answer may be lost: the gateway tells a repetition by
its content, and says so.
"""

import http.client
import json
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fetchml.errors import ConfigError, Forbidden, Unavailable
from fetchml.link.login import Login
from fetchml.link.wire import AGAIN_HEADER, SIZE_HEADER, error_of

_FIRST_PAUSE_S = 0.1
_IDLE_S = 20.0
"""A connection that was idle for longer is not used again: the gateway may have closed it."""
_AGAIN = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer."""

    status: int
    content: bytes
    etag: str | None
    size_bytes: int | None
    """Size of the whole file that the content is a part of."""
    was_done: bool
    """Whether the gateway had done this before, word for word."""
    is_repeat: bool
    """Whether an earlier try of this call may have reached the gateway."""

    def json(self) -> Any:
        """Returns the content as JSON.

        Raises:
            ConfigError: Something else answers at the address.
        """
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise ConfigError(
                "the address is not that of a gateway", detail="it answers with something else", code="no-gateway"
            ) from error


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client keeps trying."""

    timeout_s: float = 30
    """For each answer."""
    tries: int = 5
    sleep: Callable[[float], None] = time.sleep


class Link:
    """The gateway as this home uses it; may be used by several threads at once.

    Args:
        login: Which gateway, as whom.
        patience: How long it keeps trying.

    Raises:
        ConfigError: The certificate of the login is none.
    """

    def __init__(self, login: Login, patience: Patience | None = None) -> None:
        self.login = login
        self._patience = patience or Patience()
        parts = urlsplit(login.url)
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path.rstrip("/")
        self._context = tls_context(login) if parts.scheme == "https" else None
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        """Connections that nobody uses now, and when each was used last; appending and popping are atomic."""
        weakref.finalize(self, _close_all, self._idle)

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Reply:
        """Returns the answer to a GET."""
        return self.call("GET", path, query=query)

    def post(self, path: str, value: object, headers: Mapping[str, str] | None = None) -> Reply:
        """Sends a value as JSON and returns the answer."""
        return self.call("POST", path, json.dumps(value).encode(), headers=headers)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Sends a request until it is answered, and returns a good answer.

        Raises:
            FetchmlError: What the gateway raised.
            Unavailable: It does not answer; what was asked for may have been done.
            Forbidden: It refuses the key, or is not the one that the key is for.
        """
        target = self._path + quote(path) + (f"?{urlencode(query)}" if query else "")
        pause = _FIRST_PAUSE_S
        may_have_arrived = False
        for number in range(1, self._patience.tries + 1):
            is_last = number == self._patience.tries
            try:
                status, content, answer = self._exchange(method, target, body, headers or {})
                if 200 <= status < 300:
                    return _reply(status, content, answer, is_repeat=may_have_arrived)
                error = error_of(status, content)
                if status not in _AGAIN or is_last or not isinstance(error, Unavailable) or error.code not in _RETRIED:
                    raise error
                may_have_arrived = True
            except ssl.SSLCertVerificationError as error:
                raise Forbidden(
                    "the gateway cannot prove that it is the right one",
                    detail=f"{self.login.url}: {error.verify_message or error}",
                    hint="its certificate is not the one this home was given; ask for a new code if it was replaced",
                    code="wrong-certificate",
                ) from error
            except (OSError, http.client.HTTPException) as error:
                if is_last:
                    raise _silent(self.login, error) from error
                may_have_arrived = may_have_arrived or not isinstance(error, ConnectionRefusedError | socket.gaierror)
            self._patience.sleep(pause)
            pause = min(2 * pause, 3.0)
        raise AssertionError  # the last round returns or raises

    def answers(self) -> bool:
        """Tells whether the gateway answers and takes the key; asks once."""
        try:
            return self._exchange("GET", f"{self._path}/v1/me", None, {})[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def close(self) -> None:
        """Closes the connections that nobody uses now; the next call opens another."""
        _close_all(self._idle)

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        connection = self._connection()
        try:
            own = {"Authorization": f"Bearer {self.login.key}", "Content-Type": "application/octet-stream"}
            connection.request(method, target, body, {**own, **headers})
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append((connection, time.monotonic()))
        return response.status, content, response

    def _connection(self) -> http.client.HTTPConnection:
        while self._idle:
            try:
                connection, used_at = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if time.monotonic() - used_at <= _IDLE_S:
                return connection
            connection.close()
        timeout_s = self._patience.timeout_s
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._context)


def _close_all(idle: list[tuple[http.client.HTTPConnection, float]]) -> None:
    while idle:
        idle.pop()[0].close()


_RETRIED = frozenset({"gateway-unavailable", "busy", "unavailable"})
"""Codes of answers that another try may better; a full disk is not among them."""


def tls_context(login: Login) -> ssl.SSLContext:
    """Returns what checks the gateway's certificate: pinned to the one of the login, if it has one.

    Raises:
        ConfigError: That is no certificate.
    """
    if login.ca_pem is None:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cadata=login.ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError("the login holds no certificate", hint="log in again", code="bad-code") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _reply(status: int, content: bytes, answer: http.client.HTTPResponse, *, is_repeat: bool) -> Reply:
    size = answer.getheader(SIZE_HEADER)
    return Reply(
        status=status,
        content=content,
        etag=answer.getheader("ETag"),
        size_bytes=int(size) if size is not None and size.isdigit() else None,
        was_done=answer.getheader(AGAIN_HEADER) is not None,
        is_repeat=is_repeat,
    )


def _silent(login: Login, error: BaseException) -> Unavailable:
    return Unavailable(
        "the gateway does not answer",
        detail=f"{login.url}: {error or type(error).__name__}",
        hint="check the network, and `fetchml gateway status` on the control host",
        code="gateway-silent",
    )
