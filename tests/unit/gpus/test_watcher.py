"""What the worker is told of its devices while drivers answer, hang, lose devices, and come back."""

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fetchml.gpus.board import posted
from fetchml.gpus.discover import Overrides
from fetchml.gpus.prober import Prober
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from fetchml.gpus.strangers import Ours
from fetchml.gpus.watcher import DeviceWatch
from fetchml.models.resources import GpuVendor
from fetchml.models.units import GIB

A, B = (DeviceReading(f"GPU-{x}", "nvidia", memory_bytes=8 * GIB, used_bytes=0, processes=()) for x in "ab")
INSIDE = DeviceReading("0000:00:02.0", "intel", has_host_memory=True, is_integrated=True)
HANGS = None


def answer(*devices: DeviceReading, faults: tuple[str, ...] = ()) -> Readings:
    return Readings(devices, ("nvml",), "550", "12.4", faults)


@dataclass
class ScriptedProber:
    """Gives one answer after the other; the last for ever."""

    answers: list[Readings | None]
    fault: str | None = None
    asked: int = field(default=0)
    silence_s: float = 0.0
    closed: bool = False

    def ask(self) -> None:
        self.asked += 1

    def answer(self, timeout_s: float) -> Readings | None:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.fault = "the GPU drivers have not answered for 5 s" if found is None else None
        self.silence_s = 5.0 if found is None else 0.0
        return found

    def close(self) -> None:
        self.closed = True


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watching(*answers: Readings | None, overrides: Overrides | None = None, **options: object) -> DeviceWatch:
    prober = ScriptedProber(list(answers))
    return DeviceWatch(overrides or Overrides(), ask=prober, has_any=lambda: True, **options)  # pyright: ignore[reportArgumentType]


def looks(watch: DeviceWatch, count: int) -> list[tuple[list[str], dict[str, str]]]:
    found = [watch.look(0) for _ in range(count)]
    return [([item.id for item in latest.inventory.devices], latest.suspended) for latest in found]


def test_a_driver_that_answers_offers_its_devices():
    latest = watching(answer(A, B)).look(0)
    assert [item.id for item in latest.inventory.devices] == ["GPU-a", "GPU-b"]
    assert (latest.suspended, latest.strangers, latest.inventory.detection) == ({}, (), "nvml")


def test_a_driver_that_hangs_leaves_the_last_devices_known_and_none_to_start_on():
    silence = "the GPU drivers have not answered for 5 s"
    assert looks(watching(answer(A, B), HANGS, answer(A, B)), 3) == [
        (["GPU-a", "GPU-b"], {}),
        (["GPU-a", "GPU-b"], {"GPU-a": silence, "GPU-b": silence}),
        (["GPU-a", "GPU-b"], {}),
    ]


def test_a_driver_that_hangs_from_the_start_offers_nothing_until_it_answers():
    watch = watching(HANGS, answer(A))
    assert looks(watch, 2) == [([], {}), (["GPU-a"], {})]


def test_an_answer_may_take_a_moment():
    watch = watching(answer(A), HANGS)
    watch.look(0)
    watch._prober.ask = lambda: None  # type: ignore[method-assign]
    watch._prober.answer = lambda _: setattr(watch._prober, "silence_s", 4.9)  # type: ignore[method-assign]
    assert watch.look(0).suspended == {}
    watch._prober.answer = lambda _: setattr(watch._prober, "silence_s", 5.1)  # type: ignore[method-assign]
    assert watch.look(0).suspended.keys() == {"GPU-a"}


def test_a_device_that_vanishes_is_suspended_with_what_is_said_and_welcome_back():
    lost = answer(A, faults=("an NVIDIA device does not answer: GPU is lost",))
    assert looks(watching(answer(A, B), lost, answer(B, A)), 3) == [
        (["GPU-a", "GPU-b"], {}),
        (
            ["GPU-a", "GPU-b"],
            {"GPU-b": "it is not there any more; an NVIDIA device does not answer: GPU is lost"},
        ),
        (["GPU-a", "GPU-b"], {}),
    ]


def test_a_device_that_reports_an_error_is_suspended_with_it():
    assert looks(watching(answer(A, B), answer(A, replace(B, error="GPU requires reset"))), 2)[1] == (
        ["GPU-a", "GPU-b"],
        {"GPU-b": "GPU requires reset"},
    )


def test_a_device_that_is_plugged_in_is_offered():
    assert looks(watching(answer(A), answer(A, B)), 2)[1] == (["GPU-a", "GPU-b"], {})


def test_the_part_of_the_processor_does_not_stand_in_for_a_card_that_was_lost():
    assert looks(watching(answer(A, INSIDE), answer(INSIDE)), 2) == [
        (["GPU-a"], {}),
        (["GPU-a"], {"GPU-a": "it is not there any more"}),
    ]


def test_overrides_hold_for_what_is_seen_later_too():
    watch = watching(answer(A, B), answer(A), overrides=Overrides(count=2, slots=4))
    assert looks(watch, 2) == [
        (["GPU-a", "GPU-b"], {}),
        (["GPU-a", "GPU-b"], {"GPU-b": "it is not there any more"}),
    ]
    assert [item.slots for item in watch.latest().inventory.devices] == [4, 4]


def test_declared_devices_make_room_for_those_that_are_found_later():
    silence = "the GPU drivers have not answered for 5 s"
    watch = watching(HANGS, answer(A, B), overrides=Overrides(count=2))
    assert looks(watch, 2) == [
        (["declared-0", "declared-1"], {"declared-0": silence, "declared-1": silence}),
        (["GPU-a", "GPU-b"], {}),
    ]


def test_a_host_that_is_declared_to_have_none_is_not_asked():
    watch = watching(answer(A), overrides=Overrides(vendor=GpuVendor.NONE))
    assert looks(watch, 1) == [([], {})]
    assert watch._prober.asked == 0  # type: ignore[attr-defined]


def test_a_host_with_nothing_to_ask_is_not_asked():
    prober = ScriptedProber([answer(A)])
    watch = DeviceWatch(Overrides(), ask=prober, has_any=lambda: False)
    assert (looks(watch, 1), prober.asked) == ([([], {})], 0)


def test_strangers_are_told_and_runs_are_none():
    busy = replace(A, used_bytes=GIB, processes=(GpuProcess(7, GIB, user="bob", command="python"),))
    own = replace(B, used_bytes=GIB, processes=(GpuProcess(8, GIB, run_id="r"),))
    watch = watching(answer(busy, own), ours=lambda: Ours(run_ids=frozenset({"r"})))
    (found,) = watch.look(0).strangers
    assert (found.device_id, found.processes) == ("GPU-a", ("python of bob (pid 7), 1G",))


def test_what_is_known_is_posted_for_the_flow_processes(tmp_path: Path):
    watch = watching(answer(A), HANGS, services=tmp_path)
    watch.look(0)
    found = posted(tmp_path)
    assert found is not None
    assert (found.inventory, found.readings) == (watch.latest().inventory, answer(A))
    assert 0 <= found.age_s < 60
    before = found.answered_at
    watch.look(0)
    again = posted(tmp_path)
    assert again is not None
    assert (again.answered_at, again.inventory.devices) == (before, found.inventory.devices)
    assert [path.name for path in tmp_path.iterdir()] == ["devices.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"null", b"[" * 100_000])
def test_a_post_that_is_damaged_is_none(tmp_path: Path, content: bytes):
    (tmp_path / "devices.json").write_bytes(content)
    assert posted(tmp_path) is None


def test_a_post_of_another_boot_or_of_a_worker_that_is_gone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    watching(answer(A), services=tmp_path).look(0)
    later = time.monotonic() + 61
    with monkeypatch.context() as patched:
        patched.setattr("fetchml.gpus.board.time.monotonic", lambda: later)
        assert posted(tmp_path) is None
    monkeypatch.setattr("fetchml.gpus.board.boot_id", lambda: "another")
    assert posted(tmp_path) is None


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path: Path):
    assert watching(answer(A), services=tmp_path / "missing").look(0).suspended == {}


def test_the_thread_goes_on_after_an_error_and_what_it_knows_is_then_suspended():
    seen = threading.Event()

    class BrokenProber(ScriptedProber):
        def answer(self, timeout_s: float) -> Readings | None:
            if self.asked == 2:
                raise RuntimeError("a bug")
            if self.asked > 2:
                seen.set()
            return super().answer(timeout_s)

    watch = DeviceWatch(Overrides(), every_s=0.01, ask=BrokenProber([answer(A)]), has_any=lambda: True)
    watch.start()
    try:
        assert seen.wait(60)
    finally:
        watch.close()


def test_a_thread_that_stopped_is_noticed_by_whoever_asks():
    clock = Clock()
    watch = watching(answer(A), every_s=3600.0, clock=clock)
    watch.start()
    try:
        assert watch.latest().suspended == {}
        clock.now += 7200
        assert watch.latest().suspended.keys() == {"GPU-a"}
    finally:
        watch.close()


def test_a_real_driver_hangs_and_comes_back_and_the_caller_is_never_held_up(driver):
    driver.device("GPU-a", total=8 * GIB)
    watch = DeviceWatch(Overrides(), ask=Prober(environ=driver.environ), has_any=lambda: True)
    try:
        assert [item.id for item in watch.look(60).inventory.devices] == ["GPU-a"]
        driver.says("fail", call="memory", of="GPU-a", code=15)
        assert watch.look(60).suspended == {"GPU-a": "GPU is lost"}
        driver.forget("fail").says("hang", call="temp")
        began = time.monotonic()
        assert watch.look(0.2).suspended == {"GPU-a": "GPU is lost"}  # as before: it has five seconds
        assert time.monotonic() - began < 4
        assert "have not answered" in watch.look(6).suspended["GPU-a"]
    finally:
        watch.close()
