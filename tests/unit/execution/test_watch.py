"""Watching a payload: what an end is put down to, and what was measured on the way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.attempts import COMPLETED, Bench, MakeBench, bench_maker
from fetchml.engine.memory_engine import MemoryEngine, Payload
from fetchml.engine.port import Usage
from fetchml.errors import NotFound, Unavailable
from fetchml.models.resources import ResourceRequest
from fetchml.models.units import GIB, MIB


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """Makes benches whose watches look often."""
    monkeypatch.setattr("fetchml.execution.watch._LOOK_S", 0.01)
    return bench_maker(tmp_path)


@pytest.mark.parametrize(("boot_id", "reason"), [(None, "code_error"), ("another-boot", "host_lost")])
def test_255_means_a_lost_host_only_after_another_boot(benches: MakeBench, boot_id: str | None, reason: str) -> None:
    """Docker reports 255 for what a reboot has killed; a program may end with it, too."""
    bench: Bench = benches(scripts={"train": lambda _: 255})
    if boot_id is not None:
        bench.claim = bench.claim.model_copy(update={"boot_id": boot_id})
    manifest = bench.drive()
    assert (manifest.end_reason, manifest.exit_code) == (reason, 255)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


HURRY: dict[str, Any] = {
    "plan_changes": {"resources": ResourceRequest(cpus=1, memory_bytes=GIB, max_runtime_s=60)},
    "now": in_an_hour,
}


@pytest.mark.parametrize(
    ("exit_code", "state", "reason"), [(0, "completed", "ok"), (143, "failed", "timeout"), (1, "failed", "timeout")]
)
def test_what_ends_well_as_its_time_is_up_was_not_stopped_by_it(
    benches: MakeBench, exit_code: int, state: str, reason: str
) -> None:
    def waits(payload: Payload) -> int:
        payload.stopping.wait()
        return exit_code

    manifest = benches(scripts={"train": waits}, **HURRY).drive()
    assert (manifest.status.state, manifest.end_reason, manifest.exit_code) == (state, reason, exit_code)


def test_a_run_without_a_limit_is_not_stopped(benches: MakeBench) -> None:
    bench: Bench = benches(now=in_an_hour)
    bench.drive()
    assert bench.outcome() == COMPLETED


class MeasuredEngine(MemoryEngine):
    """Says what is used, one value after the other, then nothing."""

    def __init__(self, bench: Bench, usages: list[Usage]) -> None:
        super().__init__(bench.scripts)
        self._usages = iter(usages)

    def usage(self, name: str) -> Usage:
        return next(self._usages, Usage())


def test_the_last_cpu_time_and_the_highest_memory_are_recorded(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.execution.watch._USAGE_EVERY_S", 0)
    usages = [Usage(1.0, 3 * MIB), Usage(2.5, 5 * MIB), Usage(None, 2 * MIB)]
    bench: Bench = benches(make_engine=lambda bench: MeasuredEngine(bench, usages))
    used = bench.drive().resources.actual
    assert used is not None
    assert (used.cpu_s, used.memory_peak_bytes) == (2.5, 5 * MIB)


def test_an_engine_that_cannot_measure_leaves_it_open(benches: MakeBench) -> None:
    used = benches().drive().resources.actual
    assert used is not None
    assert (used.cpu_s, used.memory_peak_bytes) == (None, None)


class LosingEngine(MemoryEngine):
    """Does not answer for a while, and then knows no container."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.scripts)
        self._bench = bench
        self._answers: list[Exception] = [NotFound("there is no container"), Unavailable("the daemon restarts")]

    def usage(self, name: str) -> Usage:
        if self._answers:
            raise self._answers.pop()
        return Usage()


def test_why_a_container_was_lost_is_said(benches: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchml.execution.watch._USAGE_EVERY_S", 0)
    bench: Bench = benches(make_engine=LosingEngine)
    manifest = bench.drive()
    assert manifest.end_reason == "host_lost"
    assert manifest.diagnosis is not None
    assert manifest.diagnosis.detail == "the daemon restarts"
    assert bench.outcome().containers == ()


def test_lines_are_passed_on_as_they_arrive(benches: MakeBench) -> None:
    """The listener is told before the payload has ended: it lets it go."""
    heard: list[str] = []
    bench: Bench = benches()

    def hear(lines: list[str]) -> None:
        heard.extend(lines)
        bench.released.set()

    bench.listener = hear
    bench.drive()
    assert heard == ["first", "FETCHML_METRIC loss=0.5 step=1", "last"]
    assert bench.outcome() == COMPLETED
