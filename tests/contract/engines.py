"""Engines on the bench: each real engine and the twin in memory, with payloads that mean the same on all of them."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import BASE_IMAGE, PODMAN_SOCKET
from fetchml.containers import RUN_LABEL, STORE_LABEL, ContainerSpec, Devices, Mount, Places
from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.memory_engine import MemoryEngine, Script
from fetchml.engine.memory_engine import Payload as MemoryPayload
from fetchml.engine.podman_engine import PodmanEngine
from fetchml.engine.port import ContainerState, Engine, Phase
from fetchml.engine.process_engine import ProcessEngine, remove_folder
from fetchml.models.ids import container_name, new_run_id
from fetchml.models.plan import Network
from fetchml.models.units import GIB, MIB
from stack import until

PODMAN_IMAGE = "localhost/fetchml-base"
TIMEOUT_S = 60

CONTAINERS = [pytest.param("docker", marks=pytest.mark.docker), pytest.param("podman", marks=pytest.mark.podman)]
REAL = ["process", *CONTAINERS]
ALL = ["memory", *REAL]

_PRELUDE = """
import os, signal, sys, time

RESULTS = os.environ["FETCHML_RESULTS"]

def wait_for(name):
    while not os.path.exists(os.path.join(RESULTS, name)):
        time.sleep(0.01)

with open(os.path.join(RESULTS, "starts"), "a") as witness:
    witness.write(os.environ["CONTAINER"] + "\\n")

"""


@dataclass(frozen=True)
class Payload:
    """A program: its source for real engines, and the same as a function for the twin."""

    source: str
    script: Script = field(default=lambda _: 0)


@dataclass
class Bench:
    """One engine and the folders of one test on it."""

    kind: str
    engine: Engine
    factory: str
    """Python that makes another engine on the same containers."""
    root: Path
    image: str | None
    store_id: str = field(default_factory=lambda: secrets.token_hex(8))
    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    """Value of a variable that everything a payload starts inherits."""
    scripts: dict[str, Script] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("code", "results", "inbox", "support"):
            (self.root / name).mkdir(parents=True)
        if os.geteuid() == 0 and self.is_container:
            for name in ("results", "inbox"):
                os.chown(self.root / name, 1000, 1000)

    @property
    def is_container(self) -> bool:
        return self.kind in ("docker", "podman")

    @property
    def results(self) -> Path:
        """What payloads write to."""
        return self.root / "results"

    def places(self, name: str) -> Places:
        return self.engine.places(name, self.results, self.root / "inbox", self.root / "support")

    def spec(self, payload: Payload, **changes: Any) -> ContainerSpec:
        """Returns a request that was never made before."""
        name = container_name(new_run_id(datetime.now(UTC)), 1)
        places = self.places(name)
        self.scripts[name] = payload.script
        user = "1000:1000" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"
        made = ContainerSpec(
            name=name,
            labels={RUN_LABEL: name, STORE_LABEL: self.store_id},
            image=self.image,
            argv=(sys.executable if self.kind == "process" else "python3", "-u", "-c", _PRELUDE + payload.source),
            workdir=places.code,
            env={"FETCHML_RESULTS": places.results, "CONTAINER": name, "BENCH_MARK": self.mark},
            mounts=(
                Mount(self.root / "code", places.code, read_only=True),
                Mount(self.root / "support", places.support, read_only=True),
                Mount(self.results, places.results, read_only=False),
                Mount(self.root / "inbox", places.inbox, read_only=False),
            ),
            user=user if self.is_container else None,
            memory_bytes=GIB,
            shm_bytes=64 * MIB,
            cpus=1,
            pids_limit=256,
            network=Network.NONE if self.is_container else Network.BRIDGE,
            devices=Devices(),
            output_max_bytes=64 * MIB,
        )
        return replace(made, **changes)

    def created(self, payload: Payload, **changes: Any) -> str:
        spec = self.spec(payload, **changes)
        self.engine.create(spec)
        return spec.name

    def started(self, payload: Payload, **changes: Any) -> str:
        name = self.created(payload, **changes)
        self.engine.start(name)
        return name

    def ended(self, payload: Payload, **changes: Any) -> str:
        name = self.started(payload, **changes)
        self.wait(name)
        return name

    def state(self, name: str) -> ContainerState:
        found = self.engine.inspect(name)
        assert found is not None
        return found

    def wait(self, name: str) -> ContainerState:
        """Waits for the end of a payload."""
        until(lambda: self.state(name).phase is Phase.EXITED, f"the end of {name}", TIMEOUT_S, 0.02)
        return self.state(name)

    def output(self, name: str, skip_bytes: int = 0) -> bytes:
        return b"".join(self.engine.output(name, skip_bytes))

    def wait_for_output(self, name: str, text: bytes) -> None:
        """Waits until a payload has written something."""
        seen = b""
        for chunk in self.engine.output(name, 0):
            seen += chunk
            if text in seen:
                return
        raise AssertionError(f"the output ended without {text!r}: {seen[-500:]!r}")

    def let(self, name: str) -> None:
        """Lets payloads go on that wait for that name."""
        (self.results / name).touch()

    def starts(self, name: str) -> int:
        """Returns how often a payload was started, by its own witness."""
        witness = self.results / "starts"
        return witness.read_text().split().count(name) if witness.exists() else 0

    def processes(self) -> list[int]:
        """Returns everything that payloads of this bench started and that still runs."""
        mark = f"BENCH_MARK={self.mark}".encode()
        found: list[int] = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def run_in_memory(self, payload: MemoryPayload) -> int:
        """What the twin does for every program: notes the start, then acts as scripted."""
        with (self.results / "starts").open("a") as witness:
            witness.write(payload.spec.name + "\n")
        return self.scripts[payload.spec.name](payload)

    def close(self) -> None:
        for name in self.engine.names(self.store_id):
            self.engine.remove(name)
        if isinstance(self.engine, DockerEngine):
            self.engine.client.close()
        remove_folder(self.root)


@contextmanager
def bench_of(kind: str, root: Path) -> Iterator[Bench]:
    """Makes a bench, and removes whatever was made on it."""
    made = _bench(kind, root)
    try:
        yield made
    finally:
        made.close()


def _bench(kind: str, root: Path) -> Bench:
    if kind == "process":
        folder = root / "processes"
        return Bench(kind, ProcessEngine(folder), f"ProcessEngine(Path({str(folder)!r}))", root / "bench", None)
    if kind == "docker":
        return Bench(kind, DockerEngine(), "DockerEngine()", root / "bench", BASE_IMAGE)
    if kind == "podman":
        factory = f"PodmanEngine({str(PODMAN_SOCKET)!r})"
        return Bench(kind, PodmanEngine(str(PODMAN_SOCKET)), factory, root / "bench", PODMAN_IMAGE)
    scripts: dict[str, Script] = {}
    made = Bench(kind, MemoryEngine(scripts), "", root / "bench", "base")
    scripts["python3"] = made.run_in_memory
    # The twin takes its scripts by value.
    made.engine = MemoryEngine(scripts)
    return made


def wait_in_memory(payload: MemoryPayload, go: Callable[[], bool]) -> None:
    """Waits for a condition, or for being told to stop."""
    while not go() and not payload.stopping.wait(0.005):
        pass


def waits(*, then: int = 0) -> Payload:
    """A payload that says `ready`, waits for `go`, and exits."""

    def script(payload: MemoryPayload) -> int:
        payload.write(b"ready\n")
        results = next(mount.source for mount in payload.spec.mounts if mount.target == "/results")
        wait_in_memory(payload, (results / "go").exists)
        return then if (results / "go").exists() else 143

    return Payload(f"print('ready')\nwait_for('go')\nsys.exit({then})", script)


def exits(code: int) -> Payload:
    """A payload that exits at once."""
    return Payload(f"sys.exit({code})", lambda _: code)


def prints(expression: str) -> Payload:
    """A payload that writes the bytes of an expression and exits."""

    def script(payload: MemoryPayload) -> int:
        payload.write(eval(expression))  # the test's own text
        return 0

    return Payload(f"sys.stdout.buffer.write({expression})\nsys.stdout.flush()", script)
