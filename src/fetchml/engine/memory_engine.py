"""An engine in memory: a twin that keeps the port's promises without starting anything.

A payload is a Python function; tests script what it prints and how it ends.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fetchml.containers import CONTAINER_PLACES, STORE_LABEL, ContainerSpec, Places
from fetchml.engine.port import ContainerState, EngineFacts, ImageFacts, Phase, StartFailed, Usage
from fetchml.errors import Conflict, NotFound
from fetchml.models.plan import EngineKind

_POLL_S = 0.01
_DIGEST = "sha256:" + "0" * 64


@dataclass(slots=True)
class Payload:
    """What a scripted payload may do while it runs."""

    spec: ContainerSpec
    stopping: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)
    output: bytearray = field(default_factory=bytearray)

    def write(self, text: bytes) -> None:
        """Writes to stdout."""
        room = self.spec.output_max_bytes - len(self.output)
        self.output += text[: max(0, room)]


Script = Callable[[Payload], int]
"""Runs in a thread, returns the exit code; should return soon after `stopping` and must after `killed`."""


@dataclass(slots=True)
class _Container:
    payload: Payload
    phase: Phase = Phase.CREATED
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    error: str | None = None
    start_count: int = 0
    mounted: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])


class MemoryEngine:
    """Containers as threads.

    Args:
        scripts: What each program does, by the first word of its command; `true` and `false` are built in.
        images: Images that are here, by reference; all have the same digest.
        image_env: Names of the variables that they set.
    """

    kind = EngineKind.DOCKER

    def __init__(
        self,
        scripts: dict[str, Script] | None = None,
        images: tuple[str, ...] = ("base",),
        image_env: tuple[str, ...] = (),
    ) -> None:
        self._scripts: dict[str, Script] = {"true": lambda _: 0, "false": lambda _: 1, **(scripts or {})}
        self._images = images
        self._image_env = image_env
        self._lock = threading.RLock()
        self._containers: dict[str, _Container] = {}

    def facts(self) -> EngineFacts:
        return EngineFacts(self.kind, "memory")

    def image(self, reference: str) -> ImageFacts:
        if reference not in (*self._images, _DIGEST):
            raise NotFound(f"the image `{reference}` is not on this host", code="image-missing")
        return ImageFacts(reference, _DIGEST, env_names=self._image_env)

    def places(self, name: str, results: Path, inbox: Path, support: Path) -> Places:
        return CONTAINER_PLACES

    def create(self, spec: ContainerSpec) -> None:
        with self._lock:
            existing = self._containers.get(spec.name)
            if existing is None:
                if spec.image not in (*self._images, _DIGEST):
                    raise NotFound(f"the image `{spec.image}` is not on this host", code="image-missing")
                self._containers[spec.name] = _Container(Payload(spec))
            elif existing.payload.spec.labels != spec.labels:
                raise Conflict(f"another container uses the name `{spec.name}`", code="name-taken")

    def start(self, name: str) -> None:
        with self._lock:
            container = self._get(name)
            if container.phase is not Phase.CREATED:
                return
            program = container.payload.spec.argv[0]
            script = self._scripts.get(program)
            if script is None:
                container.phase, container.error = Phase.EXITED, f"no program `{program}`"
                raise StartFailed("the container cannot be started", detail=container.error)
            container.phase = Phase.RUNNING
            container.started_at = datetime.now(UTC)
            container.start_count += 1
            for mount in container.payload.spec.mounts:
                with suppress(OSError):
                    status = mount.source.stat()
                    container.mounted[mount.target] = (status.st_dev, status.st_ino)
        threading.Thread(target=self._run, args=(container, script), daemon=True).start()

    def inspect(self, name: str) -> ContainerState | None:
        with self._lock:
            found = self._containers.get(name)
            if found is None:
                return None
            return ContainerState(found.phase, found.started_at, found.ended_at, found.exit_code, error=found.error)

    def mounted(self, name: str, target: str) -> tuple[int, int] | None:
        with self._lock:
            return self._get(name).mounted.get(target)

    def usage(self, name: str) -> Usage:
        return Usage()

    def output(self, name: str, skip_bytes: int) -> Iterator[bytes]:
        position = skip_bytes
        while True:
            container = self._get(name)
            ended = container.phase is Phase.EXITED
            if chunk := bytes(container.payload.output[position:]):
                position += len(chunk)
                yield chunk
            if ended:
                return
            time.sleep(_POLL_S)

    def stop(self, name: str, grace_s: float) -> None:
        container = self._containers.get(name)
        if container is None or container.phase is not Phase.RUNNING:
            return
        container.payload.stopping.set()
        deadline = time.monotonic() + grace_s
        while container.phase is Phase.RUNNING:
            if time.monotonic() >= deadline:
                container.payload.killed.set()
            time.sleep(_POLL_S)

    def remove(self, name: str) -> None:
        self.stop(name, 0)
        with self._lock:
            self._containers.pop(name, None)

    def names(self, store_id: str) -> list[str]:
        with self._lock:
            return sorted(n for n, c in self._containers.items() if c.payload.spec.labels.get(STORE_LABEL) == store_id)

    def start_count(self, name: str) -> int:
        """Returns how often the payload of a container was started; for tests."""
        return self._get(name).start_count

    def _run(self, container: _Container, script: Script) -> None:
        code = script(container.payload)
        with self._lock:
            container.exit_code = 137 if container.payload.killed.is_set() else code
            container.ended_at = datetime.now(UTC)
            container.phase = Phase.EXITED

    def _get(self, name: str) -> _Container:
        with self._lock:
            if name not in self._containers:
                raise NotFound(f"there is no container `{name}`")
            return self._containers[name]
