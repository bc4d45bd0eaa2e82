"""Starts and stops the worker of a host whose run store is on another one."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from fetchml import durable
from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon
from fetchml.daemons.worker import LocalWorker
from fetchml.errors import ConfigError, Conflict
from fetchml.home import Home
from fetchml.link.login import Login, read_login
from fetchml.service.login import login


@dataclass(frozen=True, slots=True)
class Started:
    """A worker of a lab."""

    url: str
    host: str
    pid: int | None
    is_new: bool
    """Whether this call started it."""


def start_worker(
    settings: Settings, code: str | None, progress: Callable[[str], None], *, foreground: bool = False
) -> Started:
    """Starts the worker of this host; with a code it joins the lab first.

    Args:
        settings: The settings of this call.
        code: What `fetchml host add` has printed; None if this home has joined before.
        progress: Told what takes a while.
        foreground: Become the worker, for a service manager; does not return.

    Raises:
        ConfigError: This home has joined no lab.
        Conflict: It belongs to another one.
        Forbidden: The gateway refuses the key, or cannot prove who it is.
        Unavailable: The gateway does not answer, or the worker ends as it starts.
    """
    if code is not None:
        login(settings, code, kind="host")
    found = joined(settings)
    home = Home(settings)
    home.create()
    durable.make_folder(settings.services, mode=0o700)
    durable.make_folder(home.path / "prefect", mode=0o700)
    worker = LocalWorker(settings)
    if foreground:
        if worker.daemon.is_alive():
            raise Conflict("the worker of this host runs", hint="`fetchml worker stop` stops it", code="worker-running")
        progress(f"the worker of {found.name} takes runs from {found.url}")
        command = [sys.executable, "-m", "fetchml.worker", "--pool", found.pool]
        os.execve(sys.executable, command, worker.lab_environment(found))  # noqa: S606  # becomes the worker
    is_new = worker.start_for(found, lambda: progress("starting the worker"))
    return Started(found.url, found.name, worker.daemon.pid(), is_new)


def stop_worker(settings: Settings) -> bool:
    """Stops the worker; what runs goes on and is adopted by the next one. Returns whether it was running."""
    return Daemon(settings.services, "worker").stop(timeout_s=30)


def joined(settings: Settings) -> Login:
    """Returns the lab that this host has joined.

    Raises:
        ConfigError: It has joined none.
    """
    found = read_login(settings.home)
    if found is None or found.kind != "host":
        raise ConfigError(
            "this host has joined no lab",
            hint="`fetchml host add NAME` on the control host prints the command that joins;"
            " on the control host itself `fetchml up` starts the worker",
            code="not-joined",
        )
    return found
