"""The worker process of this host, and what it last said about itself."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from fetchml import durable
from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon, wait_until
from fetchml.daemons.server import own_environment
from fetchml.daemons.waiting import STATE_FILE
from fetchml.errors import Corrupt, Unavailable
from fetchml.link.login import CA_FILE, Login
from fetchml.models.base import Model, UtcTime
from fetchml.models.host import HOST_NAME_VARIABLE
from fetchml.models.resources import HostCapacity
from fetchml.store.directory import read_model

PRIVATE_VARIABLE = "FETCHML_PRIVATE_SERVER"
"""Tells a worker that its server is the private one of its home, and no other may answer in its place."""

LOCKED_VARIABLE = "FETCHML_WORKER_LOCKED"
"""Tells a worker that it was given its lock by whoever started it."""

_READY_TIMEOUT_S = 120


class Waiting(Model):
    """Why a run waits."""

    position: int = Field(ge=1, description="Place among those that wait")
    reasons: tuple[str, ...] = Field(description="What it waits for, in words and numbers")


class WorkerState(Model):
    """`worker.json`: written by the worker whenever it changes."""

    schema_version: Literal[1] = 1
    name: str = Field(description="Name of the worker")
    pid: int = Field(description="Process id")
    version: str = Field(description="Version of fetchml")
    started_at: UtcTime = Field(description="When it started")
    updated_at: UtcTime = Field(description="When it wrote this")
    api_url: str = Field(description="Prefect API it takes runs from")
    capacity: HostCapacity = Field(description="What the host offers to runs")
    overrides: tuple[str, ...] = Field(default=(), description="Environment variables that decided the capacity")
    engines: dict[str, str] = Field(default_factory=dict, description="Where it looks for container engines, by kind")
    running: tuple[str, ...] = Field(default=(), description="Runs that hold resources")
    waiting: dict[str, Waiting] = Field(default_factory=dict, description="Runs that wait, by id")


class LocalWorker:
    """The worker of this home folder.

    Args:
        settings: The settings of this call.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.daemon = Daemon(settings.services, "worker")

    def start(self, api_url: str, prefect_home: Path | None) -> bool:
        """Starts the worker unless it is running, and waits until it takes runs.

        Args:
            api_url: Prefect API to take runs from.
            prefect_home: Home of the private server, or None for a server that is not ours.

        Returns:
            True if this call started it.

        Raises:
            Unavailable: It ends as it starts; the end of its log is in the error.
        """
        environment = dict(os.environ) if prefect_home is None else own_environment(os.environ)
        if prefect_home is not None:
            environment["PREFECT_HOME"] = str(prefect_home)
            environment[PRIVATE_VARIABLE] = "1"
        environment |= {
            "FETCHML_HOME": str(self._settings.home),
            LOCKED_VARIABLE: "1",
            "PREFECT_API_URL": api_url,
            "PREFECT_LOGGING_LEVEL": environment.get("PREFECT_LOGGING_LEVEL", "INFO"),
        }
        command = [sys.executable, "-m", "fetchml.worker", "--pool", self._settings.prefect_pool]
        return self._start(command, environment)

    def _start(self, command: list[str], environment: dict[str, str]) -> bool:
        started = self.daemon.start(command, environment)
        pid = self.daemon.pid()

        def ready() -> bool:
            state = read_worker_state(self._settings.services)
            return not self.daemon.is_alive() or (state is not None and (pid is None or state.pid == pid))

        wait_until(ready, _READY_TIMEOUT_S)
        if not self.daemon.is_alive():
            raise Unavailable(
                "the worker ended as it started",
                detail=self.daemon.last_lines(),
                hint=f"the whole log is in `{self.daemon.log}`",
                code="worker-failed",
            )
        return started

    def lab_environment(self, login: Login) -> dict[str, str]:
        """Returns the variables of a worker that takes its runs through a gateway."""
        home = self._settings.home
        own = {
            "FETCHML_HOME": str(home),
            HOST_NAME_VARIABLE: login.name,
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": f"{login.url}/prefect/api",
            # Prefect takes a key in this variable along to its WebSockets as well; PREFECT_API_KEY it does not.
            "PREFECT_API_AUTH_STRING": f"{login.name}:{login.key}",
            "PREFECT_LOGGING_LEVEL": os.environ.get("PREFECT_LOGGING_LEVEL", "INFO"),
            "DO_NOT_TRACK": "1",
        }
        if login.ca_pem is not None:
            own["PREFECT_API_SSL_CERT_FILE"] = str(home / CA_FILE)
        return own_environment(os.environ) | own

    def start_for(self, login: Login, starting: Callable[[], None]) -> bool:
        """Starts the worker for a lab whose run store is on another host; see `start`."""
        if not self.daemon.is_alive():
            starting()
        environment = self.lab_environment(login) | {LOCKED_VARIABLE: "1"}
        return self._start([sys.executable, "-m", "fetchml.worker", "--pool", login.pool], environment)

    def stop(self) -> bool:
        """Stops the worker; what runs goes on and is adopted by the next one. Returns whether it was running."""
        return self.daemon.stop(timeout_s=30)


def read_worker_state(services: Path) -> WorkerState | None:
    """Returns what the worker last said, or None if there is nothing to read."""
    try:
        return read_model(services / STATE_FILE, WorkerState, lambda: "the worker")
    except Corrupt:
        return None


def write_worker_state(services: Path, state: WorkerState) -> None:
    """Publishes what the worker has to say."""
    durable.write_atomic(services / STATE_FILE, state.model_dump_json().encode())
