"""Watching a payload: what an end is put down to, and what was measured on the way."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.attempts import COMPLETED, DISCOVERY, Bench, MakeBench, bench_maker
from contract.engines import wait_in_memory
from fetchml.engine.memory_engine import MemoryEngine, Payload
from fetchml.engine.port import Usage
from fetchml.errors import NotFound, Unavailable
from fetchml.gpus.board import post
from fetchml.gpus.inventory import Inventory
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from fetchml.models.manifest import RunManifest
from fetchml.models.resources import Device, GpuVendor, ResourceRequest
from fetchml.models.units import GIB, MIB
from fetchml.testing.builders import RUN_ID


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


CARD = Device(id="GPU-a", vendor=GpuVendor.NVIDIA, memory_bytes=24 * GIB)


def says(home: Path, *devices: DeviceReading) -> None:
    """Posts what drivers say, as a worker would."""
    (home / "services").mkdir(exist_ok=True)
    post(home / "services", Inventory((CARD,), "nvml"), Readings(devices, ("nvml",)), time.monotonic())


def with_a_gpu(benches: MakeBench, exit_code: int, *devices: DeviceReading, **resources: Any) -> RunManifest:
    """Returns the record of a run that held a device, of which the worker then says something."""

    def train(payload: Payload) -> int:
        says(bench.home.path, *devices)
        wait_in_memory(payload, lambda: "gpus" in (sampled.read_text() if sampled.exists() else ""))
        return exit_code

    asked = ResourceRequest(cpus=1, memory_bytes=GIB, gpus=1, **resources)
    bench: Bench = benches(
        scripts={"train": train},
        plan_changes={"resources": asked},
        discovery=replace(
            DISCOVERY,
            capacity=DISCOVERY.capacity.model_copy(update={"devices": (CARD,)}),
            inventory=Inventory((CARD,), "nvml"),
        ),
        settings_changes={"sampling_interval": 0},
    )
    sampled = bench.store.folder(RUN_ID).attempt(1).resources
    says(bench.home.path, CARD_READING)
    bench.claim = bench.claim.model_copy(update={"device_ids": ("GPU-a",)})
    return bench.drive()


CARD_READING = DeviceReading("GPU-a", "nvidia", memory_bytes=24 * GIB, used_bytes=0, power_w=100.0)


def test_what_a_run_used_of_its_gpu_is_in_its_record(benches: MakeBench) -> None:
    own = GpuProcess(7, 12 * GIB, run_id=RUN_ID)
    busy = replace(CARD_READING, used_bytes=20 * GIB, utilisation_percent=80.0, processes=(own,))
    manifest = with_a_gpu(benches, 0, busy, gpu_memory_bytes=10 * GIB)
    used = manifest.resources.actual
    assert used is not None
    assert used.gpu_memory_peak_bytes == {"GPU-a": 12 * GIB}
    assert (used.gpu_memory_of, used.samples and used.samples >= 1) == ("run", True)
    assert "attempts/1/resources.jsonl" in [item.path for item in manifest.record_files]
    assert manifest.warnings == (
        "more GPU memory than declared: the run used up to 12G on GPU-a, `--gpu-memory` said 10G",
    )
    manifest.check_seal()


def test_a_run_that_fails_on_a_gpu_that_failed_is_not_to_blame(benches: MakeBench) -> None:
    manifest = with_a_gpu(benches, 1, replace(CARD_READING, error="GPU is lost"))
    assert manifest.end_reason == "infrastructure"
    assert manifest.diagnosis is not None
    assert "GPU is lost" in (manifest.diagnosis.detail or "")
    assert manifest.warnings == ("GPU-a reported an error during the run: GPU is lost",)


def test_a_run_that_ends_well_on_a_gpu_that_failed_has_ended_well(benches: MakeBench) -> None:
    assert with_a_gpu(benches, 0, replace(CARD_READING, error="GPU is lost")).end_reason == "ok"


def test_trouble_with_sampling_is_told_and_changes_nothing_else(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.execution.watch._USAGE_EVERY_S", 0)
    bench: Bench = benches(make_engine=lambda bench: MeasuredEngine(bench, [Usage(1.0, memory_bytes=3)] * 99))
    path = bench.store.folder(RUN_ID).attempt(1).resources
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(bench.root / "elsewhere")
    manifest = bench.drive()
    assert manifest.end_reason == "ok"
    (warning,) = manifest.warnings
    assert warning.startswith("what the run used was not looked at to its end: OSError")
