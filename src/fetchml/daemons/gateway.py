"""The gateway of this home folder, which lets other hosts and other people's computers in."""

import os
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from fetchml import durable
from fetchml.config.layers import USER_FILE
from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon, wait_until
from fetchml.errors import ConfigError, Unavailable

DEFAULT_PORT = 8470
_READY_TIMEOUT_S = 90
_CONNECT_S = 3


class LocalGateway:
    """The gateway of this home folder.

    Args:
        settings: The settings of this call.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.daemon = Daemon(settings.services, "gateway")

    def start(self) -> bool:
        """Starts the gateway unless it is running, and waits until it answers.

        Returns:
            True if this call started it.

        Raises:
            ConfigError: The settings do not say where it listens.
            Unavailable: It does not come up; the end of its log is in the error.
        """
        address = listen_address(self._settings)
        environment = {**os.environ, "FETCHML_HOME": str(self._settings.home)}
        started = self.daemon.start([sys.executable, "-m", "fetchml.gateway"], environment)
        wait_until(lambda: not self.daemon.is_alive() or (self._listens() and _answers(address)), _READY_TIMEOUT_S)
        if not self.daemon.is_alive():
            raise Unavailable(
                "the gateway ended as it started",
                detail=self.daemon.last_lines(),
                hint=f"the whole log is in `{self.daemon.log}`",
                code="gateway-failed",
            )
        return started

    def note_listening(self) -> None:
        """Notes that this process has the address; called by the gateway itself."""
        durable.write_atomic(self._note, str(os.getpid()).encode())

    def _listens(self) -> bool:
        """Tells whether it is ours that answers: another home's may have the address."""
        with suppress(OSError, ValueError):
            return int(self._note.read_text(encoding="ascii")) == self.daemon.pid()
        return False

    @property
    def _note(self) -> Path:
        return self._settings.services / "gateway.listening"

    def stop(self) -> bool:
        """Stops the gateway; other hosts go on and wait for it. Returns whether it was running."""
        return self.daemon.stop(timeout_s=20)

    def answers(self) -> bool:
        """Tells whether it runs and takes connections."""
        return self.daemon.is_alive() and self._listens() and _answers(listen_address(self._settings))


def listen_address(settings: Settings) -> tuple[str, int]:
    """Returns the address the gateway listens on.

    Raises:
        ConfigError: The settings have none, or one that is no address.
    """
    text = settings.gateway_listen
    if text is None:
        raise ConfigError(
            "this home has no gateway",
            detail="`gateway.listen` is not set",
            hint=f"set it in `{settings.home / USER_FILE}` to an address and a port, such as `0.0.0.0:{DEFAULT_PORT}`",
            code="no-gateway",
        )
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(
            f"`gateway.listen` is `{text[:100]}`", detail=f"expected an address and a port, as `0.0.0.0:{DEFAULT_PORT}`"
        )
    return host, int(port)


def public_url(settings: Settings) -> str:
    """Returns the address that others use.

    Raises:
        ConfigError: The settings have none.
    """
    if settings.gateway_url is not None:
        parts = urlsplit(settings.gateway_url)
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/"):
            raise ConfigError(
                f"`gateway.url` is `{settings.gateway_url[:100]}`", detail="expected https://name:port, without a path"
            )
        return settings.gateway_url.rstrip("/")
    host, port = listen_address(settings)
    name = socket.getfqdn() if host in ("0.0.0.0", "::") else host  # noqa: S104  # asked for, not chosen
    return f"https://{f'[{name}]' if ':' in name else name}:{port}"


def _answers(address: tuple[str, int]) -> bool:
    """Tells whether something answers over TLS; whose certificate it is does not matter here."""
    host, port = address
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((near, port), timeout=_CONNECT_S) as plain,
            context.wrap_socket(plain) as connection,
        ):
            connection.sendall(b"GET /v1/me HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
            return connection.recv(12).startswith(b"HTTP/1.1 401")
    except OSError:
        return False
