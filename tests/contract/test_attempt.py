"""An attempt on the twins: whatever dies, breaks or is asked for at whichever call, the run ends once and whole."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from contract.attempts import (
    COMPLETED,
    FIRST,
    LAST,
    NEVER_STARTED,
    Bench,
    Death,
    Line,
    MakeBench,
    Outcome,
    at_every_point,
    bench_maker,
    calls,
    die,
    not_as_expected,
)
from fetchml.durable import STORAGE_FULL
from fetchml.engine.memory_engine import MemoryEngine, Payload
from fetchml.errors import Unavailable
from fetchml.models.ids import container_name
from fetchml.models.manifest import RunManifest
from fetchml.store.port import Change, RunStore
from fetchml.testing.builders import RUN_ID
from fetchml.testing.doubles import FailingEngine

NAME = container_name(RUN_ID, 1)

STRUCK_CALLS = {
    f"{side} {call}"
    for side in ("before", "after")
    for call in (
        *("store.folder", "store.read_plan", "store.read_manifest", "store.update", "store.read_cancel"),
        *("objects.read", "objects.copy_to", "environments.make"),
        *("engine.image", "engine.create", "engine.start", "engine.inspect", "engine.output", "engine.remove"),
        "a chunk of engine.output",
    )
}
"""Points that every list of points has to have, so that green cannot mean that nothing was struck."""


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """Makes benches whose watches look often."""
    monkeypatch.setattr("fetchml.execution.watch._LOOK_S", 0.01)
    return bench_maker(tmp_path)


class CancelledAtOnce(MemoryEngine):
    """Someone asks for the run to stop the moment it has started."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.scripts)
        self._bench = bench

    def start(self, name: str) -> None:
        super().start(name)
        self._bench.cancel()


# The driver dies


@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_a_run_whose_driver_dies_at_any_call_ends_once(benches: MakeBench, kind: str) -> None:
    struck = at_every_point(lambda: benches(kind=kind), die)
    assert not_as_expected(struck, COMPLETED.__eq__) == {}
    assert calls(struck) >= STRUCK_CALLS


def test_a_payload_that_ended_while_nobody_watched_is_recorded(benches: MakeBench) -> None:
    def die_while_it_ends(bench: Bench, line: Line) -> None:
        bench.released.set()
        line.die()

    struck = at_every_point(benches, die_while_it_ends)
    assert not_as_expected(struck, COMPLETED.__eq__) == {}
    assert calls(struck) >= STRUCK_CALLS


def test_drivers_that_die_one_after_the_other_end_a_run_once(benches: MakeBench) -> None:
    """Each lives one call longer than the one before."""
    bench = benches()
    number = 0
    for number in count(1):
        line = Line(number, lambda line: line.die())
        try:
            bench.drive(line)
        except Death:
            continue
        break
    assert number > len(STRUCK_CALLS)
    assert bench.outcome() == COMPLETED


def test_a_container_that_was_removed_is_not_started_again(benches: MakeBench) -> None:
    """Someone tidies up between two drivers: a container that was started is never made anew."""

    def die_and_lose_the_container(bench: Bench, line: Line) -> None:
        bench.released.set()
        bench.engine.remove(NAME)
        line.die()

    struck = at_every_point(benches, die_and_lose_the_container)
    assert not_as_expected(struck, lambda outcome: outcome.starts <= 1) == {}
    assert {item.outcome.end_reason for item in struck} == {"ok", "host_lost"}
    assert {item.outcome.faults for item in struck} == {()}


def test_a_container_that_is_removed_while_it_is_watched_ends_its_run(benches: MakeBench) -> None:
    def lose_the_container(bench: Bench, _: Line) -> None:
        bench.released.set()
        bench.engine.remove(NAME)

    struck = at_every_point(benches, lose_the_container)
    assert not_as_expected(struck, lambda outcome: outcome.starts <= 1 and outcome.faults == ()) == {}
    assert {item.outcome.end_reason for item in struck} == {"ok", "host_lost", "infrastructure", "image_error"}
    assert {item.outcome.seals for item in struck} == {1}
    assert {item.outcome.containers for item in struck} == {()}


def test_a_sealed_run_stays_as_it_is(benches: MakeBench) -> None:
    bench = benches()
    bench.drive()
    folder = bench.store.folder(RUN_ID).path
    before = _contents(folder)
    assert bench.drive() == bench.store.read_manifest(RUN_ID)
    assert _contents(folder) == before
    assert bench.outcome() == COMPLETED


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


# Someone asks for the run to stop


@pytest.mark.parametrize("kind", ["directory", "memory"])
@pytest.mark.parametrize("dies", [False, True], ids=["the driver lives", "the driver dies"])
def test_a_cancel_request_at_any_call_ends_the_run(benches: MakeBench, kind: str, dies: bool) -> None:
    def cancel(bench: Bench, line: Line) -> None:
        bench.cancel()
        if dies:
            line.die()

    struck = at_every_point(lambda: benches(kind=kind), cancel)
    assert calls(struck) >= STRUCK_CALLS
    ended_well = (NEVER_STARTED, COMPLETED)
    assert not_as_expected(struck, lambda outcome: outcome in ended_well or _is_stopped(outcome)) == {}
    assert [item.point for item in struck if not item.too_late and item.outcome == COMPLETED] == []
    assert {item.outcome.starts for item in struck} == {0, 1}
    assert struck[0].outcome == NEVER_STARTED
    assert struck[-1].outcome == COMPLETED


def _is_stopped(outcome: Outcome) -> bool:
    """Tells whether a run was cancelled after its payload had begun, and whole; it may have been in its last moment."""
    states = ("preparing", "running", "finalizing", "cancelled")
    stopped = [
        replace(COMPLETED, states=states, end_reason="cancelled", exit_code=code, output=output)
        for code, output in ((143, FIRST), (0, FIRST + LAST))
    ]
    return outcome in stopped


def test_a_stop_that_was_begun_is_finished_by_the_next_driver(benches: MakeBench) -> None:
    """The request is there as soon as the payload runs, so that every call of stopping is struck."""
    struck = at_every_point(lambda: benches(make_engine=CancelledAtOnce), die)
    assert calls(struck) >= {"before engine.stop", "after engine.stop"}
    assert not_as_expected(struck, _is_stopped) == {}


@pytest.mark.parametrize(
    ("point", "started", "exit_code", "summary"),
    [
        ("before engine.create #1", True, 137, "cancelled by ada and was killed, as it did not stop in time"),
        ("after store.folder #1", False, None, "cancelled by ada"),
    ],
)
def test_who_asked_and_how_it_was_stopped_are_recorded(
    benches: MakeBench, point: str, started: bool, exit_code: int | None, summary: str
) -> None:
    def is_deaf(payload: Payload) -> int:
        payload.killed.wait()
        return 0

    bench = benches(scripts={"train": is_deaf}, settings_changes={"stop_grace": 0})

    def cancel(_: Line) -> None:
        bench.cancel()

    manifest = bench.drive(Line(point, cancel))
    assert manifest.diagnosis is not None
    assert (manifest.end_reason, manifest.exit_code) == ("cancelled", exit_code)
    assert (manifest.times.started_at is not None) == started
    assert manifest.diagnosis.summary == summary
    assert manifest.status.model_dump()["by"] == "ada"
    assert bench.outcome().containers == ()


# What is around it misbehaves


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but not answered"])
def test_an_engine_that_does_not_answer_once_delays_a_run_and_no_more(benches: MakeBench, after: bool) -> None:
    wrong: dict[str, Outcome] = {}
    number = 0
    for number in count(1):

        def make_engine(bench: Bench, number: int = number) -> MemoryEngine:
            return FailingEngine(lambda _, call: call == number, after=after, scripts=bench.scripts)

        bench = benches(make_engine=make_engine)
        try:
            bench.drive()
        except Unavailable:
            bench.drive()
        if bench.outcome() != COMPLETED:
            wrong[f"call {number}"] = bench.outcome()
        bench.remove()
        assert isinstance(bench.engine, FailingEngine)
        if bench.engine.calls < number:
            break
    assert wrong == {}
    assert number > 6


class BreakingEngine(MemoryEngine):
    """Its output breaks off after each part, as it does when a daemon is restarted."""

    def output(self, name: str, skip_bytes: int) -> Iterator[bytes]:
        for chunk in super().output(name, skip_bytes):
            yield chunk[:7]
            raise Unavailable("the output broke off")


def test_output_that_breaks_off_again_and_again_is_recorded_whole(benches: MakeBench) -> None:
    bench = benches(make_engine=lambda bench: BreakingEngine(bench.scripts))
    bench.drive()
    assert bench.outcome() == COMPLETED


@dataclass
class FullStore:
    """A store on a disk that is full as soon as a run reaches a state, for as long as nobody frees the reserve."""

    store: RunStore
    reserve: Path
    state: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def update(self, run_id: str, change: Change) -> RunManifest:
        after = change(self.store.read_manifest(run_id))
        if after.status.state == self.state and self.reserve.exists():
            raise Unavailable("cannot write `run_manifest.json`", code=STORAGE_FULL)
        return self.store.update(run_id, change)


@pytest.mark.parametrize("state", ["finalizing", "completed"])
def test_a_run_is_sealed_on_a_full_disk_with_the_space_kept_back_for_it(benches: MakeBench, state: str) -> None:
    bench = benches()
    reserve = bench.home.path / "reserve"
    assert reserve.stat().st_size > 0
    bench.store = cast("RunStore", FullStore(bench.store, reserve, state))
    manifest = bench.drive()
    assert not reserve.exists()
    states = ("preparing", "running", "finalizing", "failed")
    assert bench.outcome() == replace(COMPLETED, states=states, end_reason="storage_full")
    assert manifest.diagnosis is not None
    assert manifest.diagnosis.detail == "cannot write `run_manifest.json`"


def test_a_store_that_fails_otherwise_ends_the_driver_and_not_the_run(benches: MakeBench) -> None:
    bench = benches()
    reserve = bench.home.path / "reserve"
    whole = bench.store
    broken = FullStore(whole, reserve, "finalizing")
    broken.update = _io_error  # type: ignore[method-assign]
    bench.store = cast("RunStore", broken)
    with pytest.raises(Unavailable) as caught:
        bench.drive()
    assert caught.value.code == "io-error"
    assert reserve.exists()
    bench.store = whole
    bench.drive()
    assert bench.outcome() == COMPLETED


def _io_error(*_: object) -> RunManifest:
    raise Unavailable("cannot write `run_manifest.json`", code="io-error")
