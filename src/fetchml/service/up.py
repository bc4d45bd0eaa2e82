"""Starts and stops what runs in the background on this host: the private Prefect server and the worker."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.config.settings import Settings
from fetchml.daemons.gateway import LocalGateway, public_url
from fetchml.daemons.process import detach, holding, wait_until
from fetchml.daemons.server import PrivateServer
from fetchml.daemons.waiting import read_api_url
from fetchml.daemons.worker import LocalWorker, read_worker_state
from fetchml.engine.choose import addresses
from fetchml.errors import ConfigError, Unavailable
from fetchml.home import Home
from fetchml.link.client import Link, Patience
from fetchml.link.login import Login, read_login
from fetchml.prefect_api.client import PrefectClient, is_healthy
from fetchml.prefect_api.dispatch import Dispatcher, bootstrap
from fetchml.service.worker_start import start_worker

Progress = Callable[[str], None]

_UP_TIMEOUT_S = 240


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What runs in the background."""

    api_url: str | None
    """Prefect API in use; None if nothing is configured or running."""
    ui_url: str | None
    is_private: bool
    """Whether the server is the one in the home folder."""
    server_alive: bool
    server_answers: bool
    server_pid: int | None
    worker_alive: bool
    worker_pid: int | None
    home: Path


def up(settings: Settings, progress: Progress) -> ServerStatus:
    """Starts whatever is not running; of several callers one starts it and the others wait for that.

    Raises:
        ConfigError: A port is taken, or a version is not safe.
        Unavailable: Something does not come up; the end of its log is in the error.
    """
    home = Home(settings)
    if home.login is not None:
        return _up_in_lab(home, home.login, progress)
    home.create()
    durable.make_folder(settings.services, mode=0o700)
    with durable.locked(_up_lock(settings)):
        if settings.prefect_api_url is None:
            server = PrivateServer(settings)
            api_url, prefect_home = server.start(progress), server.prefect_home
        else:
            api_url, prefect_home = settings.prefect_api_url, None
            if not is_healthy(api_url, timeout_s=10):
                raise Unavailable(
                    "the Prefect server does not answer",
                    detail=api_url,
                    hint="check `prefect.api_url` or PREFECT_API_URL; without one fetchml starts a private server",
                    code="prefect-unavailable",
                )
        with PrefectClient(api_url) as client:
            remember_dispatcher(settings, bootstrap(client, settings.prefect_pool))
        worker = LocalWorker(settings)
        if worker.daemon.is_alive() and (read_api_url(settings.services) or api_url).rstrip("/") != api_url.rstrip("/"):
            progress("the worker takes runs from another server: starting it anew")
            worker.stop()
        if worker.start(api_url, prefect_home):
            progress("starting the worker")
        if settings.gateway_listen is not None and LocalGateway(settings).start():
            progress(f"starting the gateway at {public_url(settings)}")
    for text in differing_engines(home):
        progress(f"{text}; `fetchml down`, then `fetchml up`, gives it yours")
    return server_status(settings)


def _up_in_lab(home: Home, login: Login, progress: Progress) -> ServerStatus:
    """Starts the worker of a host of a lab; a person's computer has nothing to start."""
    if login.kind != "host":
        raise ConfigError(
            f"this computer uses the lab at {login.url}; nothing has to be started here",
            hint="`fetchml logout` makes it a lab of its own",
            code="logged-in",
        )
    start_worker(home.settings, None, progress)
    return server_status(home.settings)


def differing_engines(home: Home) -> list[str]:
    """Returns in words which engines the running worker looks for elsewhere than the caller does."""
    state = read_worker_state(home.services)
    if state is None:
        return []
    return [
        f"the worker looks for {kind} at {state.engines[kind]}, you at {address}"
        for kind, address in addresses(home.engines).items()
        if state.engines.get(kind, address) != address
    ]


def up_in_background(settings: Settings) -> None:
    """Starts `up` in a process of its own and returns at once; used by commands that must answer quickly."""
    durable.make_folder(settings.services, mode=0o700)
    log = settings.services / "up.log"
    command = [sys.executable, "-m", "fetchml.cli.main", "up", "--quiet"]
    with log.open("wb") as sink:
        detach(command, sink, {**os.environ, "FETCHML_HOME": str(settings.home)}, settings.services)


def down(settings: Settings, progress: Progress) -> bool:
    """Stops worker and private server; runs go on and are adopted by the next worker. Returns whether anything ran."""
    if not durable.exists(settings.services):
        return False
    with durable.locked(_up_lock(settings)):
        worker, server = LocalWorker(settings), PrivateServer(settings)
        stopped = False
        gateway = LocalGateway(settings)
        if gateway.daemon.is_alive():
            progress("stopping the gateway")
            stopped = gateway.stop()
        if worker.daemon.is_alive():
            progress("stopping the worker")
            stopped = worker.stop() or stopped
        if server.daemon.is_alive():
            progress("stopping the Prefect server")
            stopped = server.stop() or stopped
    return stopped


def server_status(settings: Settings) -> ServerStatus:
    """Returns what runs in the background; starts nothing."""
    server, worker, login = PrivateServer(settings), LocalWorker(settings), read_login(settings.home)
    if login is not None:
        return _status_in_lab(settings, login)
    is_private = settings.prefect_api_url is None
    api_url = settings.prefect_api_url or server.api_url
    answers = api_url is not None and is_healthy(api_url, timeout_s=5)
    return ServerStatus(
        api_url=api_url,
        ui_url=server.ui_url if is_private else ui_of(api_url),
        is_private=is_private,
        server_alive=server.daemon.is_alive() if is_private else answers,
        server_answers=answers,
        server_pid=server.daemon.pid() if is_private else None,
        worker_alive=worker.daemon.is_alive(),
        worker_pid=worker.daemon.pid(),
        home=settings.home,
    )


def ui_of(api_url: str | None) -> str | None:
    """Returns the address of the UI of a server that is not ours."""
    return api_url.removesuffix("/").removesuffix("/api") if api_url else None


def _status_in_lab(settings: Settings, login: Login) -> ServerStatus:
    worker, answers = LocalWorker(settings), Link(login, Patience(timeout_s=5, tries=1)).answers()
    return ServerStatus(
        api_url=f"{login.url}/prefect/api",
        ui_url=f"{login.url}/prefect/",
        is_private=False,
        server_alive=answers,
        server_answers=answers,
        server_pid=None,
        worker_alive=worker.daemon.is_alive(),
        worker_pid=worker.daemon.pid(),
        home=settings.home,
    )


def await_worker(settings: Settings) -> None:
    """Waits until a worker runs, after `up_in_background`.

    Raises:
        Unavailable: It does not come up; what `up` said is in the error.
    """
    worker = LocalWorker(settings)
    lock = _up_lock(settings)

    def decided() -> bool:
        if worker.daemon.is_alive():
            return True
        with holding(lock) as is_idle:
            return is_idle and (settings.services / "up.log").stat().st_size > 0

    wait_until(decided, _UP_TIMEOUT_S, poll_s=0.2)
    if not worker.daemon.is_alive():
        log = (settings.services / "up.log").read_text(errors="replace")
        raise Unavailable(
            "the server and the worker did not come up",
            detail=log.strip()[-2000:],
            hint="run `fetchml up`",
            code="not-up",
        )


def remembered_dispatcher(settings: Settings, client: PrefectClient) -> Dispatcher | None:
    """Returns the dispatcher of an API as it was last set up, without asking the API; None if unknown."""
    with suppress(OSError, ValueError, KeyError):
        known = cast("dict[str, Any]", json.loads(_dispatcher_file(settings).read_bytes()))
        if (known["api_url"], known["pool"]) == (client.api_url, settings.prefect_pool):
            return Dispatcher(client, known["pool"], known["deployment_id"])
    return None


def remember_dispatcher(settings: Settings, dispatcher: Dispatcher) -> None:
    """Keeps the ids of a dispatcher for commands that must answer quickly."""
    known = {
        "api_url": dispatcher.client.api_url,
        "pool": dispatcher.pool,
        "deployment_id": dispatcher.deployment_id,
    }
    durable.write_atomic(_dispatcher_file(settings), json.dumps(known).encode())


def _dispatcher_file(settings: Settings) -> Path:
    return settings.services / "dispatcher.json"


def _up_lock(settings: Settings) -> Path:
    lock = settings.services / "up.lock"
    lock.touch(mode=0o600)
    return lock
