"""Looking at a run while it runs: what a line says, when there is one, and what never happens to the run."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fetchml.engine.port import Usage
from fetchml.execution import sampling
from fetchml.execution.sampling import Sampler
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from fetchml.models.resources import DeviceShare
from fetchml.models.units import GIB

RUN = "2026-11-20_k3f9q2"
USAGE = Usage(cpu_s=1.23456, memory_bytes=5, read_bytes=6, written_bytes=7, pid=50)


@dataclass
class Clock:
    """Stands still until it is told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class ScriptedSource:
    """Has the readings it is given; None: it goes on asking."""

    answers: list[Readings | None] = field(default_factory=list[Readings | None])
    is_asking: bool = False
    asked: int = 0
    closed: bool = False

    def ask(self) -> None:
        self.asked += 1
        self.is_asking = True

    def readings(self) -> Readings | None:
        found = self.answers.pop(0) if self.answers else None
        self.is_asking = found is None
        return found

    def close(self) -> None:
        self.closed = True


def device(name: str = "GPU-a", **facts: Any) -> DeviceReading:
    return DeviceReading(name, "nvidia", **facts)


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def sampler(path: Path, clock: Clock, *answers: Readings | None, **options: Any) -> Sampler:
    shares = options.pop("shares", (DeviceShare(device_id="GPU-a", share=1),) if answers else ())
    source = ScriptedSource(list(answers)) if shares else None
    return Sampler(path, RUN, shares, interval_s=options.pop("interval_s", 5), source=source, clock=clock, **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_line_says_what_the_engine_says_and_when(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    sampler(path, clock).tick(USAGE)
    (line,) = lines(path)
    assert line.pop("time").startswith("20")
    assert line == {"clock_s": 100, "cpu_s": 1.235, "memory_bytes": 5, "read_bytes": 6, "written_bytes": 7}


def test_there_is_a_line_each_interval_however_often_one_looks(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    made = sampler(path, clock)
    for _ in range(61):
        made.tick(USAGE)
        clock.now += 0.2
    assert [line["clock_s"] for line in lines(path)] == pytest.approx([100, 105, 110], abs=0.3)


def test_after_a_standstill_missed_lines_are_not_made_up(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    made = sampler(path, clock)
    for moment in (100, 1000, 1000.2, 1005.1):
        clock.now = moment
        made.tick(USAGE)
    assert len(lines(path)) == 3


@pytest.mark.parametrize("options", [{"interval_s": None}, {}])
def test_without_an_interval_or_anything_to_say_there_is_no_file(tmp_path: Path, clock: Clock, options: dict[str, Any]):
    path = tmp_path / "resources.jsonl"
    sampler(path, clock, **options).tick(USAGE if options else Usage())
    assert not path.exists()


def test_a_device_is_told_with_all_that_is_known(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    known = device(
        used_bytes=9 * GIB,
        utilisation_percent=90.0,
        temperature_c=70.0,
        power_w=300.5,
        ecc_errors=0,
        throttled=("too hot",),
        processes=(GpuProcess(7, 4 * GIB, run_id=RUN), GpuProcess(8, GIB, run_id="other")),
    )
    half = DeviceShare(device_id="GPU-a", share=0.5, memory_bytes=12 * GIB)
    sampler(path, clock, Readings((known, device("GPU-b"))), shares=(half,)).tick(Usage())
    assert lines(path)[0]["gpus"] == [
        {
            "id": "GPU-a",
            "utilisation_percent": 90.0,
            "memory_bytes": 4 * GIB,
            "memory_of": "run",
            "power_w": 300.5,
            "temperature_c": 70.0,
            "throttled": ["too hot"],
            "ecc_errors": 0,
            "share": 0.5,
            "reserved_bytes": 12 * GIB,
        }
    ]


@pytest.mark.parametrize(
    ("processes", "memory_of"),
    [
        (None, "device"),
        ((), "device"),
        ((GpuProcess(7, None, run_id=RUN),), "device"),
        ((GpuProcess(8, GIB),), "device"),
        ((GpuProcess(7, GIB, ancestors=(60, 50)),), "run"),
        ((GpuProcess(50, GIB),), "run"),
    ],
)
def test_the_memory_of_the_device_stands_in_where_that_of_the_run_is_not_known(
    tmp_path: Path, clock: Clock, processes: Any, memory_of: str
):
    path = tmp_path / "resources.jsonl"
    sampler(path, clock, Readings((device(used_bytes=GIB, processes=processes),))).tick(USAGE)
    assert lines(path)[0]["gpus"] == [{"id": "GPU-a", "memory_bytes": GIB, "memory_of": memory_of}]


def test_a_run_that_has_not_begun_to_use_its_device_has_nothing_of_it(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    desktop = GpuProcess(8, GIB, is_graphics=True)
    sampler(path, clock, Readings((device(used_bytes=GIB + 5, processes=(desktop,)),))).tick(USAGE)
    assert lines(path)[0]["gpus"] == [{"id": "GPU-a", "memory_bytes": 0, "memory_of": "run"}]


def test_a_line_waits_a_little_for_the_devices_then_goes_without(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    made = sampler(path, clock, None, None, Readings((device(power_w=5.0),)))
    for _ in range(3):
        made.tick(USAGE)
        clock.now += 0.2
    assert [len(line["gpus"]) for line in lines(path)] == [1]
    clock.now += 5
    for _ in range(12):  # nothing more comes
        made.tick(USAGE)
        clock.now += 0.2
    assert ["gpus" in line for line in lines(path)] == [True, False]


def test_a_device_that_reports_an_error_or_vanishes_is_told_until_it_is_back(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    lost = device(error="GPU is lost")
    made = sampler(path, clock, *(Readings((item,)) for item in (device(), lost, device("GPU-b"), device())))
    seen: list[str | None] = []
    for _ in range(4):
        made.tick(USAGE)
        seen.append(made.device_error)
        clock.now += 5
    assert seen == [None, "GPU-a: GPU is lost", "GPU-a: it is not there any more", None]


def test_a_device_that_was_declared_is_never_missed(tmp_path: Path, clock: Clock):
    made = sampler(tmp_path / "x", clock, Readings(), shares=(DeviceShare(device_id="declared-0", share=0.5),))
    made.tick(USAGE)
    assert made.device_error is None
    assert "gpus" not in lines(tmp_path / "x")[0]


def test_lines_get_rare_when_there_are_many(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampling, "_LINES_BEFORE_THINNING", 3)
    path = tmp_path / "resources.jsonl"
    made = sampler(path, clock, interval_s=1)
    for _ in range(40):
        made.tick(USAGE)
        clock.now += 1
    assert [line["clock_s"] - 100 for line in lines(path)] == [0, 1, 2, 4, 6, 8, 12, 16, 20, 28, 36]


def test_a_later_driver_goes_on_behind_a_line_that_was_cut_off(tmp_path: Path, clock: Clock):
    path = tmp_path / "resources.jsonl"
    path.write_text('{"clock_s": 1}\n{"clock')
    sampler(path, clock).tick(USAGE)
    assert [line[:8] for line in path.read_text().splitlines()] == ['{"clock_', '{"clock', '{"time":']


@pytest.mark.parametrize("trouble", ["folder", "link", "source"])
def test_trouble_ends_the_sampling_and_nothing_else(tmp_path: Path, clock: Clock, trouble: str):
    path = tmp_path / "resources.jsonl"
    if trouble == "folder":
        path.mkdir()
    if trouble == "link":
        path.symlink_to(tmp_path / "elsewhere")
    made = sampler(path, clock, Readings())
    if trouble == "source":
        made._source = object()  # type: ignore[assignment]
    made.tick(USAGE)
    assert made.fault
    clock.now += 100
    made.tick(USAGE)
    assert not (tmp_path / "elsewhere").exists()


def test_what_was_started_is_ended(tmp_path: Path, clock: Clock):
    made = sampler(tmp_path / "x", clock, Readings())
    made.close()
    assert made._source.closed  # type: ignore[union-attr]
    sampler(tmp_path / "x", clock).close()
