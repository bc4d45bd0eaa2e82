"""Runs as Podman containers, through Podman's Docker-compatible socket and Docker's SDK.

What differs was measured on Podman 4.3: following the log loses lines of a fast writer and stops at exit before all
of it was sent, time stamps have whole seconds, lines of both streams are mixed in parts, an out-of-memory kill is not
reported, device requests are ignored in silence, and a missing init program is an error.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fetchml.containers import ContainerSpec
from fetchml.engine.container_log import LineJoiner, LogCursor
from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.port import ContainerState, EngineFacts, Phase, StartFailed
from fetchml.errors import Unavailable
from fetchml.models.plan import EngineKind

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_POLL_S = 0.1
_POLL_SHARE = 4
_KILLED = 128 + 9
_SEPARATORS = frozenset(',"\r\n')
"""What separates options where Podman makes `--mount` of a mount: a folder `data,rw` would be mounted writable."""


class PodmanEngine(DockerEngine):
    """The Podman service on a socket.

    Args:
        socket: Path of the socket; None takes the user's own, then the system's.
        connect: Makes the SDK's client; the default connects to the socket.
    """

    kind = EngineKind.PODMAN
    log_driver = "k8s-file"
    log_options: ClassVar[dict[str, str]] = {}
    unset_value: ClassVar[str | None] = ""  # without a value Podman looks at its own environment

    def __init__(self, socket: str | None = None, connect: "Callable[[], DockerClient] | None" = None) -> None:
        super().__init__(f"unix://{socket or _default_socket()}", connect)
        self._has_init = True

    def facts(self) -> EngineFacts:
        found = super().facts()
        rootless = not self.host.startswith("unix:///run/podman/") and os.geteuid() != 0
        return replace(found, rootless=rootless)

    def output(self, name: str, skip_bytes: int) -> Iterator[bytes]:
        cursor, joiner = LogCursor(), LineJoiner()
        while True:
            ended = self._state(self._get(name)).phase is Phase.EXITED
            began = time.monotonic()
            with suppress(Unavailable):
                groups = cursor.fresh(self._stream(name, cursor.since, follow=False))
                for fresh in chain(map(joiner.lines, groups), (joiner.rest() for _ in range(ended))):
                    if text := fresh[skip_bytes:]:
                        yield text
                    skip_bytes = max(0, skip_bytes - len(fresh))
                if ended:
                    return
            # Podman reads the whole log to find its end: a long one is asked for less often.
            time.sleep(max(_POLL_S, _POLL_SHARE * (time.monotonic() - began)))

    def _create(self, spec: ContainerSpec) -> None:
        import docker.errors

        try:
            super()._create(spec)
        except docker.errors.APIError as error:
            if not self._has_init or "init" not in str(error.explanation):
                raise
            self._has_init = False
            super()._create(spec)

    def _options(self, spec: ContainerSpec) -> dict[str, Any]:
        if spec.devices.ids and not spec.devices.nodes:
            raise StartFailed(
                "Podman's Docker-compatible API ignores requests for NVIDIA devices",
                hint="use `--engine docker` for runs with them",
                code="gpu-not-supported",
            )
        for mount in spec.mounts:
            if not _SEPARATORS.isdisjoint(f"{mount.source}{mount.target}"):
                raise StartFailed(
                    f"Podman cannot mount `{mount.source}`",
                    detail="its Docker-compatible API takes what follows a comma for an option",
                    hint="give the folder another name, or use `--engine docker`",
                    code="mount-not-supported",
                )
        return {**super()._options(spec), "init": self._has_init}

    def _state(self, container: "Container") -> ContainerState:
        state = super()._state(container)
        if state.phase is Phase.EXITED and state.exit_code == _KILLED and not state.out_of_memory:
            return replace(state, out_of_memory=None)
        return state


def _default_socket() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = Path(runtime, "podman", "podman.sock") if runtime else None
    return str(own) if own is not None and own.exists() else "/run/podman/podman.sock"
