"""How an attempt ends, and what its record says: every end reason that a driver can come to, on the twins."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.attempts import (
    DIGEST,
    FIRST,
    LAST,
    NEVER_STARTED,
    Bench,
    Line,
    MakeBench,
    Outcome,
    at_every_point,
    bench_maker,
    calls,
    die,
    not_as_expected,
    spoil_nothing,
)
from fetchml.containers import ContainerSpec
from fetchml.engine.memory_engine import MemoryEngine, Payload, Script
from fetchml.engine.port import ContainerState, Phase
from fetchml.errors import Unavailable
from fetchml.models.ids import container_name
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Command, ImagePlan
from fetchml.models.resources import ResourceRequest
from fetchml.models.units import GIB, TIB
from fetchml.testing.builders import IMAGE_DIGEST, MOMENT, RUN_ID

NAME = container_name(RUN_ID, 1)


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """Makes benches whose watches look often."""
    monkeypatch.setattr("fetchml.execution.watch._LOOK_S", 0.01)
    return bench_maker(tmp_path)


class TellingEngine(MemoryEngine):
    """Says something more about containers that have ended."""

    def __init__(self, bench: Bench, words: dict[str, Any]) -> None:
        super().__init__(bench.scripts)
        self._words = words

    def inspect(self, name: str) -> ContainerState | None:
        state = super().inspect(name)
        return state if state is None or state.phase is not Phase.EXITED else replace(state, **self._words)


# How a run ends


def prints(text: bytes, exit_code: int) -> Script:
    """A payload that says something and exits."""

    def script(payload: Payload) -> int:
        payload.write(text)
        return exit_code

    return script


@pytest.mark.parametrize(
    ("exit_code", "text", "words", "state", "reason"),
    [
        (0, b"", {}, "completed", "ok"),
        (0, b"", {"out_of_memory": True}, "completed", "ok"),
        (3, b"", {}, "failed", "code_error"),
        (139, b"", {}, "failed", "code_error"),
        (137, b"", {}, "failed", "infrastructure"),
        (137, b"", {"out_of_memory": True}, "failed", "out_of_memory"),
        (137, b"", {"out_of_memory": None}, "failed", "out_of_memory"),
        (137, b"", {"memory_peak_bytes": GIB}, "failed", "out_of_memory"),
        (1, b"MemoryError\n", {}, "failed", "out_of_memory"),
        (1, b"torch.OutOfMemoryError: CUDA out of memory\n", {}, "failed", "gpu_out_of_memory"),
        (1, b"OSError: [Errno 28] No space left on device\n", {}, "failed", "storage_full"),
        (0, b"", {"lost": True}, "failed", "host_lost"),
    ],
)
def test_how_a_payload_ends_is_how_its_run_ends(
    benches: MakeBench, exit_code: int, text: bytes, words: dict[str, Any], state: str, reason: str
) -> None:
    def make_engine(bench: Bench) -> MemoryEngine:
        return TellingEngine(bench, words)

    bench = benches(scripts={"train": prints(text, exit_code)}, make_engine=make_engine)
    manifest = bench.drive()
    assert bench.outcome() == Outcome(
        states=("preparing", "running", "finalizing", state),
        end_reason=reason,
        exit_code=exit_code,
        starts=0,  # this `train` keeps no account
        output=text,
        metrics={},
        results=(),
    )
    assert manifest.times.started_at is not None
    assert manifest.warnings == (
        ("a child process was killed for memory; the program itself ended well",)
        if (words, exit_code) == ({"out_of_memory": True}, 0)
        else ()
    )


def test_a_run_is_stopped_when_its_time_is_up_whoever_drives_it(benches: MakeBench) -> None:
    def waits(payload: Payload) -> int:
        payload.stopping.wait()
        return 143

    changes = {
        "scripts": {"train": waits},
        "plan_changes": {"resources": ResourceRequest(cpus=1, memory_bytes=GIB, max_runtime_s=60)},
        "now": lambda: datetime.now(UTC) + timedelta(hours=1),
    }
    timed_out = Outcome(
        states=("preparing", "running", "finalizing", "failed"),
        end_reason="timeout",
        exit_code=143,
        starts=0,
        output=b"",
        metrics={},
        results=(),
    )
    bench = benches(**changes)
    manifest = bench.drive()
    assert bench.outcome() == timed_out
    assert manifest.diagnosis is not None
    assert manifest.diagnosis.summary == "stopped after its maximum runtime of 1m"
    struck = at_every_point(lambda: benches(**changes), die)
    assert calls(struck) >= {"before engine.stop", "after engine.stop"}
    assert not_as_expected(struck, timed_out.__eq__) == {}


UNKNOWN_PROGRAM = {"command": Command(argv=("no-such-program",))}
OTHER_IMAGE = {"image": ImagePlan(reference="base", digest=IMAGE_DIGEST)}


def asking(**request: Any) -> dict[str, Any]:
    """Changes of a plan that asks for other resources."""
    fields: dict[str, Any] = {"cpus": 1, "memory_bytes": GIB, **request}
    return {"resources": ResourceRequest(**fields)}


def spoil_plan_hash(bench: Bench) -> None:
    bench.store.update(RUN_ID, lambda manifest: _with_plan_hash(manifest, "0" * 64))


def _with_plan_hash(manifest: RunManifest, sha256: str) -> RunManifest:
    return manifest.with_sections(plan=manifest.plan.model_copy(update={"plan_sha256": sha256}))


def lose_snapshot(bench: Bench) -> None:
    bench.home.objects.path(bench.plan.snapshot_id).unlink()


def damage_code(bench: Bench) -> None:
    for path in bench.home.objects.root.glob("sha256/*/*"):
        if path.read_bytes().startswith(b"print"):
            path.chmod(0o644)
            path.write_bytes(b"other")


@pytest.mark.parametrize(
    ("spoil", "plan_changes", "checks"),
    [
        (spoil_plan_hash, {}, ["plan_sha256"]),
        (lose_snapshot, {}, ["snapshot"]),
        (damage_code, {}, ["snapshot"]),
        (spoil_nothing, OTHER_IMAGE, ["image"]),
        (spoil_nothing, asking(cpus=65), ["resources.cpus"]),
        (spoil_nothing, asking(memory_bytes=2 * TIB, gpus=1), ["resources.gpus", "resources.memory"]),
        (lose_snapshot, OTHER_IMAGE, ["image", "snapshot"]),
    ],
)
def test_preflight_refuses_a_run_with_all_its_faults(
    benches: MakeBench, spoil: Callable[[Bench], None], plan_changes: dict[str, Any], checks: list[str]
) -> None:
    bench = benches(plan_changes=plan_changes)
    spoil(bench)
    manifest = bench.drive()
    assert (manifest.status.state, manifest.end_reason) == ("refused", "preflight_refused")
    faults = manifest.status.model_dump()["faults"]
    assert sorted(fault.partition(":")[0] for fault in faults) == checks
    assert manifest.diagnosis is not None
    assert manifest.diagnosis.detail == "\n".join(faults)
    assert bench.environments.requests == []
    assert (bench.starts, bench.engine.names(bench.home.store_id), manifest.seal is not None) == (0, [], True)


def break_environment(bench: Bench) -> None:
    bench.environments.error = "numpy has no such version"


@pytest.mark.parametrize(
    ("spoil", "plan_changes", "detail"),
    [
        (break_environment, {}, "numpy has no such version"),
        (spoil_nothing, UNKNOWN_PROGRAM, "no program `no-such-program`"),
    ],
)
def test_what_cannot_start_fails_and_says_why(
    benches: MakeBench, spoil: Callable[[Bench], None], plan_changes: dict[str, Any], detail: str
) -> None:
    bench = benches(plan_changes=plan_changes)
    spoil(bench)
    manifest = bench.drive()
    assert bench.outcome() == replace(
        NEVER_STARTED, states=("preparing", "finalizing", "failed"), end_reason="image_error"
    )
    assert manifest.diagnosis is not None
    assert manifest.diagnosis.detail == detail
    assert manifest.times.started_at is None


@pytest.mark.parametrize(
    ("spoil", "plan_changes", "states", "reason"),
    [
        (break_environment, {}, ("preparing", "finalizing", "failed"), "image_error"),
        pytest.param(spoil_nothing, UNKNOWN_PROGRAM, ("preparing", "finalizing", "failed"), "image_error"),
        (spoil_nothing, OTHER_IMAGE, ("preparing", "refused"), "preflight_refused"),
    ],
)
def test_an_end_before_the_start_is_the_same_whenever_the_driver_dies(
    benches: MakeBench,
    spoil: Callable[[Bench], None],
    plan_changes: dict[str, Any],
    states: tuple[str, ...],
    reason: str,
) -> None:
    def make() -> Bench:
        bench = benches(plan_changes=plan_changes)
        spoil(bench)
        return bench

    expected = replace(NEVER_STARTED, states=states, end_reason=reason)
    struck = at_every_point(make, die)
    assert len(struck) > 20
    assert not_as_expected(struck, expected.__eq__) == {}


def test_an_engine_that_cannot_start_it_says_why(benches: MakeBench) -> None:
    """Docker notes a failed start in the state of the container."""
    bench = benches(make_engine=lambda bench: TellingEngine(bench, {"error": "exec: no such file", "exit_code": None}))
    bench.released.set()
    manifest = bench.drive()
    assert (manifest.end_reason, manifest.exit_code) == ("image_error", None)
    assert manifest.diagnosis is not None
    assert manifest.diagnosis.detail == "exec: no such file"


# What the record says


def test_the_record_says_where_it_ran_on_what_and_in_which_environment(benches: MakeBench) -> None:
    bench = benches()
    bench.claim = bench.claim.model_copy(
        update={"claimed_at": MOMENT + timedelta(seconds=90), "waited_for": ("a GPU: 1 of 1 in use",), "worker": "w1"}
    )
    manifest = bench.drive()
    assert manifest.placement is not None
    assert (manifest.placement.worker, manifest.placement.waited_s) == ("w1", 90)
    assert manifest.placement.waited_for == ("a GPU: 1 of 1 in use",)
    assert manifest.hardware is not None
    assert manifest.sandbox is not None
    assert (manifest.sandbox.container, manifest.sandbox.engine_version) == (NAME, "memory")
    assert manifest.sandbox.capabilities_dropped
    assert (manifest.environment.python, manifest.environment.packages) == ("3.12.0", ("numpy==2.0.0",))
    assert manifest.resources.actual is not None
    assert manifest.resources.actual.output_bytes == len(FIRST + LAST)
    assert {item.path for item in manifest.record_files} == {
        "plan.json",
        *(f"attempts/1/{name}" for name in ("claim.json", "container.json", "ended.json", "metrics.jsonl")),
        *(f"attempts/1/{name}" for name in ("output.log", "output.index.jsonl")),
    }
    code = bench.store.folder(RUN_ID).code
    assert (code / "train.py").read_bytes() == (bench.root / "project" / "train.py").read_bytes()
    assert not os.path.isabs(os.readlink(code))


def test_the_container_is_asked_for_what_the_plan_says(benches: MakeBench) -> None:
    seen: list[ContainerSpec] = []

    def looks(payload: Payload) -> int:
        seen.append(payload.spec)
        return 0

    bench = benches(scripts={"train": looks}, plan_changes={"env": {"LR": "0.1"}})
    bench.drive()
    spec = seen[0]
    assert (spec.name, spec.image, spec.argv) == (NAME, DIGEST, ("train",))
    assert spec.env["LR"] == "0.1"
    assert spec.labels["fetchml.plan_sha256"] == bench.plan.sha256
    assert {mount.target for mount in spec.mounts if mount.read_only} == {"/code", "/opt/fetchml"}
    assert {mount.target for mount in spec.mounts if not mount.read_only} == {"/results", "/run/fetchml"}
    assert [request.plan for request in bench.environments.requests] == [bench.plan]


# Given up, where nobody would try again


def silent(_: Line) -> None:
    raise Unavailable("it does not answer")


@pytest.mark.parametrize(
    "point", ["after store.read_cancel #1", "after environments.make #1", "before engine.create #1"]
)
def test_what_was_never_started_is_ended_by_who_gives_it_up(tmp_path: Path, point: str) -> None:
    bench = Bench(tmp_path / "bench")
    with pytest.raises(Unavailable) as caught:
        bench.drive(Line(point, silent))
    assert bench.store.read_manifest(RUN_ID).status.state == "preparing"
    manifest = bench.attempt().give_up(caught.value)
    assert manifest is not None
    assert (manifest.status.state, manifest.end_reason) == ("failed", "infrastructure")
    assert manifest.diagnosis is not None
    assert "it does not answer" in (manifest.diagnosis.detail or "")
    outcome = bench.outcome()
    assert (outcome.starts, outcome.faults, outcome.containers) == (0, (), ())


def test_what_may_have_been_started_is_not_ended_by_who_gives_it_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "bench")
    with pytest.raises(Unavailable) as caught:
        bench.drive(Line("before engine.start #1", silent))
    assert bench.attempt().give_up(caught.value) is None
    bench.drive()
    assert bench.outcome().end_reason == "ok"
