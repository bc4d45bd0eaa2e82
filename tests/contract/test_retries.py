"""Attempts after the first: what failed for no reason of its own is tried again, with empty hands, and ends once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.attempts import Bench, Death, Line, MakeBench, bench_maker
from fetchml.engine.memory_engine import Payload
from fetchml.execution.cancel import cancel_unstarted
from fetchml.models.manifest import RunManifest
from fetchml.models.queueing import Queueing
from fetchml.models.status import EndReason, Queued, State
from fetchml.store.index import RunIndex
from fetchml.testing.builders import MOMENT, RUN_ID

KILLED = 137


class Flaky:
    """A payload that is killed from outside the first few times it is started.

    Args:
        times: How often it is killed.
    """

    def __init__(self, times: int = 1) -> None:
        self.left = times
        self.found: list[list[str]] = []
        """What each start found in its results."""

    def __call__(self, payload: Payload) -> int:
        folders = {mount.target: mount.source for mount in payload.spec.mounts}
        self.found.append(sorted(path.name for path in folders["/results"].iterdir()))
        (folders["/results"] / f"model-{len(self.found)}.bin").write_bytes(b"weights")
        payload.write(b"start\n")
        if self.left:
            self.left -= 1
            return KILLED
        return 0


MakeFlaky = Callable[..., tuple[Bench, Flaky]]


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    monkeypatch.setattr("fetchml.execution.watch._LOOK_S", 0.01)
    return bench_maker(tmp_path)


@pytest.fixture
def flaky(benches: MakeBench) -> MakeFlaky:
    """Makes benches whose payload is killed at first."""

    def make(times: int = 1, **queueing: Any) -> tuple[Bench, Flaky]:
        payload = Flaky(times)
        retries = Queueing(**{"max_retries": 2, "backoff_s": 0, **queueing})
        return benches(scripts={"train": payload}, manifest_changes={"queueing": retries}), payload

    return make


def test_a_run_that_failed_for_no_reason_of_its_own_waits_for_another_attempt(flaky: MakeFlaky) -> None:
    bench, _ = flaky(backoff_s=30)
    before = datetime.now(UTC)
    manifest = bench.drive()
    status = manifest.status
    assert isinstance(status, Queued)
    assert (manifest.attempt, manifest.seal, manifest.placement, manifest.times.started_at) == (2, None, None, None)
    assert status.not_before is not None
    assert timedelta(seconds=29) < status.not_before - before < timedelta(seconds=40)
    (first,) = manifest.attempts
    assert (first.attempt, first.end_reason, first.exit_code) == (1, EndReason.INFRASTRUCTURE, KILLED)
    assert "SIGKILL" in first.summary
    assert bench.engine.names(bench.home.store_id) == []


def test_the_next_attempt_finds_its_results_empty_and_the_record_has_both(flaky: MakeFlaky) -> None:
    bench, payload = flaky()
    bench.drive()
    bench.claim_next()
    manifest = bench.drive()
    assert manifest.status.state is State.COMPLETED
    assert payload.found == [[], []]
    assert bench.outcome().results == ("model-2.bin",)
    kept = {item.path for item in manifest.record_files}
    assert {"attempts/1/output.log", "attempts/1/results/model-1.bin", "attempts/2/output.log"} <= kept
    assert bench.outcome().faults == ()


def test_each_pause_is_twice_as_long(flaky: MakeFlaky) -> None:
    bench, _ = flaky(times=3, max_retries=3, backoff_s=10)
    pauses: list[float] = []
    for _ in range(3):
        manifest = bench.drive()
        assert isinstance(manifest.status, Queued)
        assert manifest.status.not_before is not None
        pauses.append((manifest.status.not_before - manifest.attempts[-1].ended_at).total_seconds())
        bench.claim_next()
    assert pauses == [10, 20, 40]


def test_a_run_out_of_retries_fails_and_is_listed_as_dead(flaky: MakeFlaky) -> None:
    bench, payload = flaky(times=9)
    for _ in range(2):
        assert bench.drive().status.state is State.QUEUED
        bench.claim_next()
    manifest = bench.drive()
    assert (manifest.status.state, manifest.attempt, len(manifest.attempts)) == (State.FAILED, 3, 2)
    assert len(payload.found) == 3
    assert bench.outcome().faults == ()
    (row,) = RunIndex(bench.home.store.root).rows()
    assert (row.is_dead, row.attempt, row.max_retries) == (1, 3, 2)


@pytest.mark.parametrize("queueing", [{"max_retries": 0}, {"retry_on": (EndReason.HOST_LOST,)}])
def test_what_is_not_to_be_tried_again_is_not(flaky: MakeFlaky, queueing: dict[str, Any]) -> None:
    bench, _ = flaky(**queueing)
    assert bench.drive().status.state is State.FAILED


def test_an_end_that_the_user_chose_is_tried_again_too(benches: MakeBench) -> None:
    retries = Queueing(max_retries=1, retry_on=(EndReason.CODE_ERROR,), backoff_s=0)
    bench = benches(scripts={"train": lambda _: 3}, manifest_changes={"queueing": retries})
    assert bench.drive().status.state is State.QUEUED


def test_a_run_that_is_cancelled_while_it_waits_for_its_next_attempt_is_not_started_again(flaky: MakeFlaky) -> None:
    bench, payload = flaky()
    bench.drive()
    assert bench.cancel()
    manifest = cancel_unstarted(bench.store, RUN_ID, "ada", lambda: MOMENT)
    assert manifest is not None
    assert (manifest.status.state, len(manifest.attempts)) == (State.CANCELLED, 1)
    assert len(payload.found) == 1
    assert "attempts/1/results/model-1.bin" in {item.path for item in manifest.record_files}
    assert bench.outcome().faults == ()


def test_a_run_that_was_asked_to_stop_as_it_failed_is_not_tried_again(benches: MakeBench) -> None:
    made: list[Bench] = []

    def cancelled_and_killed(_: Payload) -> int:
        assert made[0].cancel()
        return KILLED

    made.append(
        benches(scripts={"train": cancelled_and_killed}, manifest_changes={"queueing": Queueing(max_retries=2)})
    )
    assert made[0].drive().status.state is State.FAILED


def test_a_late_driver_of_the_attempt_before_changes_nothing(flaky: MakeFlaky) -> None:
    bench, payload = flaky()
    bench.drive()
    first = bench.claim
    bench.claim_next()
    second, bench.claim = bench.claim, first
    waiting = bench.store.read_manifest(RUN_ID)
    assert bench.drive() == waiting == bench.store.read_manifest(RUN_ID)
    bench.claim = second
    ended = bench.drive()
    bench.claim = first
    assert bench.drive() == ended
    assert len(payload.found) == 2
    assert bench.outcome().faults == ()


def test_a_driver_that_dies_at_any_call_puts_the_run_back_once(flaky: MakeFlaky) -> None:
    undisturbed = Line()
    bench, _ = flaky()
    bench.drive(undisturbed)
    faults: dict[str, object] = {}
    for point in undisturbed.points:
        bench, payload = flaky()
        line = Line(point, Line.die)
        try:
            bench.drive(line)
        except Death:
            bench.drive()
        found = _looked_at(bench)
        bench.claim_next()
        bench.drive()
        outcome = bench.outcome()
        whole = (found, outcome.end_reason, outcome.results, outcome.faults, outcome.containers, payload.found)
        if whole != ((2, 1, None), "ok", ("model-2.bin",), (), (), [[], []]):
            faults[point] = whole
        bench.remove()
    assert faults == {}
    assert {"after store.update #1", "after engine.remove #1"} <= set(undisturbed.points)


def _looked_at(bench: Bench) -> tuple[int, int, object]:
    manifest: RunManifest = bench.store.read_manifest(RUN_ID)
    return manifest.attempt, len(manifest.attempts), manifest.seal
