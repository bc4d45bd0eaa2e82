"""The private Prefect server: SQLite in the home folder, on loopback only, on a port of its own."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import fetchml
from fetchml import durable
from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon
from fetchml.errors import ConfigError, Unavailable
from fetchml.prefect_api.client import is_healthy

LOOPBACK = "127.0.0.1"
UI_BASE = "/prefect"
START_TIMEOUT_S = 180
"""The first start makes the database: 15 s on a quiet machine, a minute on a loaded one."""

_MINIMUM = {"prefect": (3, 6, 22), "starlette": (1, 0, 1)}
"""Below these, requests could pass without authorisation (CVE-2026-7722, CVE-2026-3514, CVE-2026-48710)."""
_FASTAPI_BREAKS = (0, 151)

_PREFERRED_PORTS = range(4200, 4220)
_BACKLOG = 2048
"""Connections that may wait to be accepted, as many as uvicorn itself asks for."""


class PrivateServer:
    """The Prefect server of this home folder.

    Args:
        settings: The settings of this call.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.daemon = Daemon(settings.services, "server")
        self.prefect_home = settings.home / "prefect"
        self._state = settings.services / "server.json"

    @property
    def api_url(self) -> str | None:
        """Address of the API, or None if the server is not running."""
        if not self.daemon.is_alive():
            return None
        port = self._recorded_port()
        return None if port is None else f"http://{LOOPBACK}:{port}/api"

    @property
    def ui_url(self) -> str | None:
        """Address of the UI, or None if the server is not running."""
        api = self.api_url
        return api.removesuffix("/api") + self._ui_base if api else None

    @property
    def _ui_base(self) -> str:
        """Path of the UI: below `/prefect` where a gateway carries it on, beside what else is there."""
        return "" if self._settings.gateway_listen is None else UI_BASE

    def start(self, progress: Callable[[str], None]) -> str:
        """Starts the server unless it is running, and waits until it answers; returns the API's address.

        Raises:
            ConfigError: The port is taken, or an installed version is not safe.
            Unavailable: It does not come up; the end of its log is in the error.
        """
        check_versions()
        if not self.daemon.is_alive():
            durable.make_folder(self.prefect_home, mode=0o700)
            durable.make_folder(self._settings.services, mode=0o700)
            with self._listener() as listener:
                port = int(listener.getsockname()[1])
                durable.write_atomic(self._state, json.dumps({"port": port}).encode())
                descriptor = listener.fileno()
                self.daemon.start(self._command(descriptor), self._environment(port), inherited=[descriptor])
            first = "" if (self.prefect_home / "prefect.db").exists() else " (its first start takes a while)"
            progress(f"starting the Prefect server on port {port}{first}")
        return self._await_health()

    def stop(self) -> bool:
        """Stops the server; returns whether it was running."""
        return self.daemon.stop(timeout_s=20)

    def environment(self) -> dict[str, str]:
        """Returns the variables under which Prefect's own commands use this server."""
        return {"PREFECT_HOME": str(self.prefect_home), **({"PREFECT_API_URL": url} if (url := self.api_url) else {})}

    def _await_health(self) -> str:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            url = self.api_url
            if url is None:
                raise Unavailable(
                    "the Prefect server ended as it started",
                    detail=self.daemon.last_lines(),
                    hint=f"the whole log is in `{self.daemon.log}`",
                    code="server-failed",
                )
            if is_healthy(url, timeout_s=5):
                return url
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the Prefect server did not answer within {START_TIMEOUT_S} s",
                    detail=self.daemon.last_lines(),
                    hint=f"the whole log is in `{self.daemon.log}`",
                    code="server-failed",
                )
            time.sleep(0.1)

    def _command(self, listener: int) -> list[str]:
        # What `prefect server start` runs in the end, without its command line and with SQLite kept in order.
        return [
            *(sys.executable, "-m", "uvicorn", "--factory", "fetchml.private_server:create_app"),
            *("--fd", str(listener), "--timeout-keep-alive", "5", "--log-level", "warning"),
        ]

    def _environment(self, port: int) -> dict[str, str]:
        database = self._settings.prefect_database_url or f"sqlite+aiosqlite:///{self.prefect_home / 'prefect.db'}"
        return {
            **own_environment(os.environ),
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/api",
            "PREFECT_UI_API_URL": f"http://{LOOPBACK}:{port}/api",
            **self._ui_variables(),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            # By this file Prefect skips the types of blocks it has registered before, changed or not.
            "PREFECT_MEMO_STORE_PATH": str(self.prefect_home / f"memo_store-{fetchml.__version__}.toml"),
            "DO_NOT_TRACK": "1",
        }

    def _ui_variables(self) -> dict[str, str]:
        if not self._ui_base:
            return {}
        # Prefect writes the base into the files of its UI, which servers of other homes share by default.
        return {
            "PREFECT_UI_SERVE_BASE": self._ui_base,
            "PREFECT_UI_STATIC_DIRECTORY": str(self.prefect_home / "ui"),
        }

    def _listener(self) -> socket.socket:
        """Returns the socket the server is given.

        It listens from here on. Were the server to open it some seconds later, that of another home could have taken
        the port in between, and would answer in its place.
        """
        wanted = self._settings.prefect_port
        if wanted:
            if (listener := _listening(wanted)) is None:
                raise ConfigError(
                    f"port {wanted} is taken",
                    detail="`prefect.port` asks for it",
                    hint="stop what listens there, choose another port, or set 0 to take a free one",
                    code="port-taken",
                )
            return listener
        # The port it had before comes first: a worker and flow processes that outlived the server know that one.
        before = self._recorded_port()
        for port in (*([before] if before else []), *_PREFERRED_PORTS, 0):
            if (listener := _listening(port)) is not None:
                return listener
        raise Unavailable("no port is free", hint="stop what listens on this host, then try again", code="no-port")

    def _recorded_port(self) -> int | None:
        with suppress(OSError, ValueError, KeyError):
            return int(cast("dict[str, Any]", json.loads(self._state.read_bytes()))["port"])
        return None


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment without the user's own Prefect settings, which are meant for other servers."""
    return {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}


def check_versions() -> None:
    """Refuses to go on with versions that are unsafe or known not to work.

    Raises:
        ConfigError: Names every such package and what to install.
    """
    faults: list[str] = []
    for name, least in _MINIMUM.items():
        found = _version(name)
        if found < least:
            faults.append(f"{name} {_dotted(found)}: at least {_dotted(least)} is needed")
    if _version("fastapi") >= _FASTAPI_BREAKS:
        faults.append(
            f"fastapi {_dotted(_version('fastapi'))}: Prefect's server needs one below {_dotted(_FASTAPI_BREAKS)}"
        )
    if faults:
        raise ConfigError(
            "installed packages do not fit",
            detail="\n".join(faults),
            hint="install fetchml with its locked dependencies, for example `uv sync`",
            code="unsafe-versions",
        )


def _version(name: str) -> tuple[int, ...]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        text = version(name)
    except PackageNotFoundError:
        return (0,)
    parts: list[int] = []
    for part in text.split(".")[:3]:
        digits = "".join(c for c in part if c.isdigit())
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)


def _dotted(parts: tuple[int, ...]) -> str:
    return ".".join(map(str, parts))


def _listening(port: int) -> socket.socket | None:
    """Returns a socket that listens on a port, on any free one for 0; None if it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last server's connections may still linger
        listener.bind((LOOPBACK, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        return None
    return listener


def sqlite_file(prefect_home: Path) -> Path:
    """Returns the database of the private server."""
    return prefect_home / "prefect.db"
