"""Attempts on the bench: one run on the twins in memory, with something that happens at any call its driver makes."""

import hashlib
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, cast

from fetchml.config.settings import Settings
from fetchml.durable import TEMPORARY_PREFIX
from fetchml.engine.memory_engine import MemoryEngine, Script
from fetchml.engine.memory_engine import Payload as MemoryPayload
from fetchml.errors import Conflict, Corrupt
from fetchml.execution.attempt import Attempt
from fetchml.execution.driver import Driver
from fetchml.execution.output import Listener
from fetchml.gpus.discover import Discovery
from fetchml.gpus.inventory import Inventory
from fetchml.home import Home
from fetchml.models.claim import CancelRequest
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Command, ImagePlan
from fetchml.models.resources import HostCapacity
from fetchml.models.units import TIB
from fetchml.service.validate import validate
from fetchml.snapshot.capture import Limits, capture
from fetchml.store.memory import MemoryRunStore
from fetchml.store.port import RunStore
from fetchml.testing.builders import MOMENT, RUN_ID, make_claim, make_container_plan, make_manifest
from fetchml.testing.environments import MemoryEnvironments

DIGEST = "sha256:" + "0" * 64
"""What the twin says of every image it has."""

DISCOVERY = Discovery(HostCapacity(host="here", cpus=64, memory_bytes=TIB), Inventory(), ())

FIRST = b"first\nFETCHML_METRIC loss=0.5 step=1\n"
LAST = b"last\n"

_LOOKS = 2
"""Looks of a watch for a request to stop before the payload ends by itself."""


class Death(BaseException):
    """The driver's process is killed here."""


class Line:
    """The life of one driver: every call it makes into a port is a point before and a point after.

    Args:
        strikes_at: The point at which something happens, as in `points`, or its number from 1; None: nothing ever does.
        what_happens: Does it.
    """

    def __init__(
        self, strikes_at: str | int | None = None, what_happens: "Callable[[Line], None] | None" = None
    ) -> None:
        self.points: list[str] = []
        """Every point so far: side, call, and how often it was reached, such as `before store.update #2`."""
        self._reached = Counter[str]()
        self.struck: str | None = None
        """The point at which it happened."""
        self.taking = threading.Lock()
        """Held while the driver works on a chunk of output."""
        self._strikes_at = strikes_at
        self._what_happens = what_happens
        self._is_dead = False
        self._lock = threading.Lock()

    def reach(self, point: str) -> None:
        """Notes a point, and lets happen what happens there."""
        with self._lock:
            self.live_on()
            self._reached[point] += 1
            self.points.append(f"{point} #{self._reached[point]}")
            if self._strikes_at not in (len(self.points), self.points[-1]) or self._what_happens is None:
                return
            self.struck = self.points[-1]
        self._what_happens(self)

    def die(self) -> None:
        """Ends the driver: no thread of it does anything after this."""
        self._is_dead = True
        with self.taking:
            raise Death

    def live_on(self) -> None:
        """Ends the calling thread if the driver is dead."""
        if self._is_dead:
            raise Death

    def looks(self) -> int:
        """Returns how often the watch has looked for a request to stop."""
        points = list(self.points)
        if "after engine.output #1" not in points:
            return 0
        watched = points[points.index("after engine.output #1") :]
        return sum(point.startswith("before store.read_cancel ") for point in watched)


class Reported:
    """A port whose every call is reported to the line of its driver.

    Args:
        name: Name of the port.
        target: What answers.
        line: The driver's life.
        seen: Told of each call and its answer.
    """

    def __init__(self, name: str, target: object, line: Line, seen: Callable[[str, Any], None] | None = None) -> None:
        self._name = name
        self._target = target
        self._line = line
        self._seen = seen

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._target, attribute)
        if not callable(value):
            return value
        call = f"{self._name}.{attribute}"

        def called(*arguments: Any, **options: Any) -> Any:
            self._line.reach(f"before {call}")
            try:
                answer = value(*arguments, **options)
                if self._seen is not None:
                    self._seen(call, answer)
            finally:
                self._line.reach(f"after {call}")
            return self._chunks(call, answer) if isinstance(answer, Iterator) else answer

        return called

    def _chunks(self, call: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._line.reach(f"before a chunk of {call}")
            with self._line.taking:
                self._line.live_on()
                yield chunk
            self._line.reach(f"after a chunk of {call}")


@dataclass(frozen=True)
class Outcome:
    """What became of a run, by every witness there is."""

    states: tuple[str, ...]
    """States of the manifest, in order."""
    end_reason: str
    exit_code: int | None
    starts: int
    """How often the payload was started, by its own account."""
    output: bytes
    metrics: dict[str, int]
    """How often each metric was logged."""
    results: tuple[str, ...]
    seals: int = 1
    """Different seals that the manifest ever had."""
    containers: tuple[str, ...] = ()
    """Containers that are left."""
    faults: tuple[str, ...] = ()
    """What is wrong with the record."""


COMPLETED = Outcome(
    states=("preparing", "running", "finalizing", "completed"),
    end_reason="ok",
    exit_code=0,
    starts=1,
    output=FIRST + LAST,
    metrics={"accuracy": 1, "loss": 1},
    results=("model.bin",),
)

NEVER_STARTED = Outcome(
    states=("preparing", "finalizing", "cancelled"),
    end_reason="cancelled",
    exit_code=None,
    starts=0,
    output=b"",
    metrics={},
    results=(),
)


@dataclass
class Bench:
    """One run of the program `train`, claimed, and the host it is on.

    The payload says its first words, goes on until a watch has looked for a request to stop a few times, or until it is
    stopped, and says its last words only if it was not.
    """

    root: Path
    kind: str = "directory"
    """Which run store: `directory` or `memory`."""
    plan_changes: dict[str, Any] = field(default_factory=dict[str, Any])
    manifest_changes: dict[str, Any] = field(default_factory=dict[str, Any])
    scripts: dict[str, Script] = field(default_factory=dict[str, Script])
    """Other programs, or another `train`."""
    make_engine: "Callable[[Bench], MemoryEngine]" = lambda bench: MemoryEngine(bench.scripts)
    settings_changes: dict[str, Any] = field(default_factory=dict[str, Any])
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    listener: Listener = lambda _: None
    discovery: Discovery = DISCOVERY

    def __post_init__(self) -> None:
        settings: dict[str, Any] = {"home": self.root / "home", "stop_grace": 60, **self.settings_changes}
        self.settings = Settings(**settings)
        self.home = Home(self.settings)
        self.home.create()
        self.store: RunStore = self.home.store if self.kind == "directory" else MemoryRunStore()
        project = self.root / "project"
        project.mkdir(parents=True)
        (project / "train.py").write_text("print('hello')\n")
        snapshot = capture(project, self.home.objects, Limits(10_000, 10))
        changes = {
            "snapshot_id": snapshot.commit_id,
            "command": Command(argv=("train",)),
            "image": ImagePlan(reference="base", digest=DIGEST),
        }
        self.plan = make_container_plan(**{**changes, **self.plan_changes})
        self.store.create(self.plan, make_manifest(self.plan, **self.manifest_changes))
        self.claim = make_claim(RUN_ID)
        self.store.claim(self.claim)
        self.environments = MemoryEnvironments()
        self.scripts = {"train": self.payload, **self.scripts}
        self.engine = self.make_engine(self)
        self.starts = 0
        self.released = threading.Event()
        self._manifests: list[RunManifest] = []

    # Driving

    def drive(self, line: Line | None = None) -> RunManifest:
        """Carries the attempt out as a new process would: with parts of its own, on the same folder."""
        line = line or Line()
        home = Home(self.settings)
        home.store = cast(
            "Any", Reported("store", self.store, line, lambda call, answer: self._saw(line, call, answer))
        )
        home.objects = cast("Any", Reported("objects", home.objects, line))
        driver = Driver(
            home,
            self.discovery,
            now=self.now,
            listener=self.listener,
            engines=lambda *_: cast("Any", Reported("engine", self.engine, line)),
            environments=lambda *_: cast("Any", Reported("environments", self.environments, line)),
        )
        return Attempt(driver, self.claim).execute()

    def claim_next(self) -> None:
        """Claims the attempt that the run waits for."""
        self.claim = make_claim(RUN_ID, self.store.read_manifest(RUN_ID).attempt)
        assert self.store.claim(self.claim)

    def attempt(self) -> Attempt:
        """Returns the attempt, as another driver would have it."""
        driver = Driver(Home(self.settings), DISCOVERY, now=self.now, engines=lambda *_: cast("Any", self.engine))
        return Attempt(driver, self.claim)

    def cancel(self) -> bool:
        """Asks for the run to stop; tells whether it was not too late to ask."""
        with suppress(Conflict):
            return self.store.request_cancel(RUN_ID, CancelRequest(by="ada", at=MOMENT))
        return False

    def payload(self, payload: MemoryPayload) -> int:
        """What `train` does."""
        self.starts += 1
        folders = {mount.target: mount.source for mount in payload.spec.mounts}
        (folders["/results"] / "model.bin").write_bytes(b"weights")
        with (folders["/run/fetchml"] / "metrics.jsonl").open("a") as metrics:
            metrics.write('{"name": "accuracy", "value": 0.9, "step": 1}\n')
        payload.write(FIRST)
        while not self.released.is_set():
            if payload.stopping.wait(0.002):
                return 143
        payload.write(LAST)
        return 0

    def _saw(self, line: Line, call: str, answer: Any) -> None:
        if call == "store.update":
            self._manifests.append(answer)
        if call == "store.read_cancel" and line.looks() >= _LOOKS:
            self.released.set()

    def remove(self) -> None:
        """Frees the disk: each keeps back what a full one would need, and there are many."""
        shutil.rmtree(self.root)

    # Looking

    def outcome(self) -> Outcome:
        """Returns what became of the run."""
        manifest = self.store.read_manifest(RUN_ID)
        attempt = self.store.folder(RUN_ID).attempt(1)
        states = [str(item.status.state) for item in (*self._manifests, manifest)]
        return Outcome(
            states=tuple(state for n, state in enumerate(states) if state not in states[max(0, n - 1) : n]),
            end_reason=str(manifest.end_reason),
            exit_code=manifest.exit_code,
            starts=self.starts,
            output=attempt.output.read_bytes() if attempt.output.exists() else b"",
            metrics={name: item.count for name, item in manifest.metrics.items()},
            results=tuple(item.path for item in manifest.artifacts.files) if manifest.artifacts else (),
            seals=len({item.seal.digest for item in (*self._manifests, manifest) if item.seal is not None}),
            containers=tuple(self.engine.names(self.home.store_id)),
            faults=tuple(self._faults(manifest)),
        )

    def _faults(self, manifest: RunManifest) -> Iterator[str]:
        folder = self.store.folder(RUN_ID)
        if manifest.seal is None:
            yield "it is not sealed"
        try:
            manifest.check_seal()
        except Corrupt as error:
            yield error.summary
        for path, size_bytes, sha256 in (
            *((folder.path / item.path, item.size_bytes, item.sha256) for item in manifest.record_files),
            *((folder.results / item.path, item.size_bytes, item.sha256) for item in _files(manifest)),
        ):
            content = path.read_bytes()
            if (len(content), hashlib.sha256(content).hexdigest()) != (size_bytes, sha256):
                yield f"`{path.name}` is not what the record says"
            if path.stat().st_mode & 0o222:
                yield f"`{path.name}` can be written"
        if self.kind == "directory":
            yield from (
                f"{check.name}: {check.actual}" for check in validate(self.settings, RUN_ID).checks if not check.ok
            )
        attempt = folder.attempt(1)
        left = [path for path in (attempt.inbox, attempt.stop) if path.exists()]
        left += folder.path.rglob(f"{TEMPORARY_PREFIX}*")
        yield from (f"`{path.name}` is left" for path in left)


def _files(manifest: RunManifest) -> tuple[Any, ...]:
    return manifest.artifacts.files if manifest.artifacts else ()


@dataclass(frozen=True)
class Struck:
    """A run to which something happened at one point."""

    point: str
    """The point, as in `Line.points`."""
    too_late: bool
    """Whether the payload had been let go when it had happened."""
    outcome: Outcome


MakeBench = Callable[..., Bench]


def bench_maker(root: Path) -> MakeBench:
    """Returns what makes benches, each in a folder of its own."""
    numbers = count()
    return lambda **changes: Bench(root / str(next(numbers)), **changes)


def at_every_point(make: MakeBench, what_happens: Callable[[Bench, Line], None]) -> list[Struck]:
    """Lets something happen at every point of a driver's life, each time to a new run.

    The points are those of a life that nothing disturbs, so that a new call in it is a new point. A driver that dies
    of what happens has a successor.
    """
    undisturbed = Line()
    make().drive(undisturbed)
    found: list[Struck] = []
    for point in undisturbed.points:
        bench = make()
        let_go: list[bool] = []

        def strike(line: Line, bench: Bench = bench, let_go: list[bool] = let_go) -> None:
            try:
                what_happens(bench, line)
            finally:
                let_go.append(bench.released.is_set())  # the watch goes on looking while it happens

        line = Line(point, strike)
        try:
            bench.drive(line)
        except Death:
            bench.drive()
        if line.struck is not None:  # a watch does not look equally often in every life
            found.append(Struck(point, let_go[0], bench.outcome()))
        bench.remove()
    return found


def calls(struck: list[Struck]) -> set[str]:
    """Returns the calls before and after which something happened."""
    return {item.point.rpartition(" #")[0] for item in struck}


def not_as_expected(struck: list[Struck], expected: Callable[[Outcome], bool]) -> dict[str, Outcome]:
    """Returns the outcomes that differ, by the point that led to them."""
    return {item.point: item.outcome for item in struck if not expected(item.outcome)}


def die(_: Bench, line: Line) -> None:
    """What happens to a driver that is killed."""
    line.die()


def spoil_nothing(_: Bench) -> None:
    """Leaves a bench as it is."""
