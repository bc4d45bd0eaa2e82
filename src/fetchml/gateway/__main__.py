"""`python -m fetchml.gateway`: the gateway as `fetchml up` starts it."""

import asyncio
import logging
import socket
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from fetchml.config.layers import load
from fetchml.daemons.gateway import LocalGateway, listen_address, public_url
from fetchml.daemons.server import PrivateServer, check_versions
from fetchml.errors import ConfigError, FetchmlError, Unavailable
from fetchml.gateway.app import create_app, tidy
from fetchml.gateway.lab import Lab, make_lab
from fetchml.gateway.prefect import PrefectProxy
from fetchml.gateway.watchman import Watchman
from fetchml.home import Home
from fetchml.keys.tls import Authority, own_names
from fetchml.models.plan import Plan
from fetchml.service.dispatch import hand_over

_LOOK_S = 2.0
_BACKLOG = 2048
_MAX_REQUESTS = 2000
_logger = logging.getLogger("fetchml.gateway")


def main() -> int:
    """Serves until it is told to stop; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        check_versions()
        home = Home(load(with_project=False).settings)
        listener = _listener(home)
        LocalGateway(home.settings).note_listening()
        asyncio.run(_serve(home, listener))
    except FetchmlError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(home: Home, listener: socket.socket) -> None:
    settings = home.settings
    lab = make_lab(home)
    tidy(lab)
    certificate, key = _certificate(home)

    def find() -> str | None:
        return settings.prefect_api_url or PrivateServer(settings).api_url

    def dispatch(run_id: str, plan: Plan) -> None:
        try:
            hand_over(settings, run_id, plan)
        except FetchmlError as error:  # the reconciler makes it good
            _logger.warning("%s", str(error).replace("\n", "; "))

    proxy = PrefectProxy(find, lab.keys)
    config = uvicorn.Config(
        create_app(lab, dispatch, proxy=proxy),
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=16 * 1024 * 1024,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MAX_REQUESTS,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=3,
    )
    watching = asyncio.create_task(_watch(lab, settings.worker_lease))
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(lab: Lab, silent_after_s: float) -> None:
    watchman = Watchman(lab, silent_after_s)
    while True:
        try:
            await asyncio.to_thread(watchman.look)
        except (FetchmlError, OSError) as error:
            _logger.warning("%s", str(error).replace("\n", "; "))
        await asyncio.sleep(_LOOK_S)


def _certificate(home: Home) -> tuple[Path, Path]:
    settings = home.settings
    if settings.gateway_cert_file is not None and settings.gateway_key_file is not None:
        return settings.gateway_cert_file, settings.gateway_key_file
    if settings.gateway_cert_file is not None or settings.gateway_key_file is not None:
        raise ConfigError("a certificate and its key go together", detail="`gateway.cert_file`, `gateway.key_file`")
    made = Authority(home.path / "gateway").issue(own_names([urlsplit(public_url(settings)).hostname or ""]))
    return made, made


def _listener(home: Home) -> socket.socket:
    host, port = listen_address(home.settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"the gateway cannot listen on `{home.settings.gateway_listen}`",
            detail=error.strerror,
            hint="choose another address or port with `gateway.listen`",
            code="port-taken",
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
