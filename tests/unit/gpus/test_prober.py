"""The probe is a process that may do anything: hang, babble, break, or not start."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.gpus import prober as module
from fetchml.gpus.prober import Prober, has_devices, look
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from unit.gpus.trees import card, lay

_OTHERS: set[int] = set()
"""Children that were there before the test."""

PATIENCE_S = 60
NOTHING = '{"devices": [], "methods": [], "driver_version": null, "cuda_version": null, "faults": []}'


def probing(source: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, signal, sys, time\n{source}")


def answers(*lines: str) -> tuple[str, ...]:
    """A probe with an answer for each question, and none after the last."""
    return probing("".join(f"input(); print({line!r}, flush=True)\n" for line in lines) + "input(); time.sleep(600)")


@pytest.fixture
def made() -> Iterator[list[Prober]]:
    """Probes that are closed at the end."""
    kept: list[Prober] = []
    yield kept
    for item in kept:
        item.close()


def test_the_real_probe_finds_nothing_where_there_is_nothing(tmp_path, made):
    made.append(Prober((sys.executable, "-P", "-m", "fetchml.gpus.probe", str(tmp_path))))
    made[0].ask()
    assert made[0].answer(PATIENCE_S) == Readings()


def test_everything_survives_the_way_from_the_probe(made):
    whole = '{"id": "GPU-a", "vendor": "nvidia", "used_bytes": 5, "processes": [{"pid": 7, "ancestors": [3, 1]}]}'
    made.append(Prober(answers(f'{{"devices": [{whole}], "methods": ["nvml"]}}')))
    made[0].ask()
    device = DeviceReading("GPU-a", "nvidia", used_bytes=5, processes=(GpuProcess(7, ancestors=(3, 1)),))
    assert made[0].answer(PATIENCE_S) == Readings((device,), ("nvml",))


def test_one_probe_answers_many_times(made):
    made.append(Prober(answers(NOTHING, NOTHING)))
    for _ in range(2):
        made[0].ask()
        assert made[0].answer(PATIENCE_S) == Readings()
    assert made[0].silence_s == 0


def test_a_driver_that_hangs_is_given_up_on_in_time_and_no_second_probe_is_started(driver, made):
    driver.device("GPU-a").says("hang", call="memory")
    made.append(Prober(environ=driver.environ))
    for _ in range(3):
        made[0].ask()
        began = time.monotonic()
        assert made[0].answer(0.2) is None
        assert time.monotonic() - began < 5
    assert "have not answered for" in (made[0].fault or "")
    assert len(children()) == 1


def test_a_late_answer_counts(made):
    made.append(Prober(probing(f"input(); time.sleep(0.5); print({NOTHING!r}, flush=True); input()")))
    made[0].ask()
    assert made[0].answer(0) is None
    made[0].ask()
    assert made[0].answer(PATIENCE_S) == Readings()
    assert made[0].fault is None


def test_a_probe_that_hangs_for_long_is_killed_and_the_next_one_tried(made, monkeypatch):
    monkeypatch.setattr(module, "_KILL_AFTER_S", 0)
    made.append(Prober(answers()))
    made[0].ask()
    (first,) = children()
    assert made[0].answer(0.1) is None
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    made[0].answer(0.1)
    made[0].ask()
    assert len(children()) == 1
    assert children() != [first]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("input(); print('{}}}', flush=True); input()", "another shape"),
        ("input(); print('[1, 2', flush=True); input()", "another shape"),
        ('input(); print(\'{"devices": [{"id": 5}]}\', flush=True); input()', "another shape"),
        ("input(); sys.exit(3)", "broke off"),
        ("input(); os.kill(os.getpid(), signal.SIGSEGV)", "broke off"),
        ("input(); sys.stdout.write('x' * 10_000_000); sys.stdout.flush(); input()", "babbles"),
    ],
)
def test_a_probe_that_breaks_says_so_and_is_replaced(made, source, fault):
    made.append(Prober(probing(source)))
    for _ in range(2):
        made[0].ask()
        assert made[0].answer(PATIENCE_S) is None
        assert fault in (made[0].fault or "")
    assert children() == []


def test_a_probe_that_cannot_be_started_says_so(made):
    made.append(Prober(("/no/such/program",)))
    made[0].ask()
    assert made[0].answer(PATIENCE_S) is None
    assert "cannot be started" in (made[0].fault or "")


def test_a_probe_ends_with_its_caller():
    script = (
        "import sys; from fetchml.gpus.prober import Prober\n"
        "p = Prober(); p.ask(); p.answer(60); print(p._process.pid, flush=True); import os; os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pid, deadline = int(done.stdout), time.monotonic() + PATIENCE_S
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_where_there_is_nothing_no_process_is_started(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "has_devices", lambda: False)
    monkeypatch.setattr(module, "Prober", lambda: pytest.fail("a probe was started"))
    assert look() == Readings()
    assert not has_devices(tmp_path)


@pytest.mark.parametrize(("vendor", "expected"), [("0x1002", True), ("0x8086", True), ("0x1a03", False)])
def test_a_card_is_a_reason_to_ask(tmp_path, vendor, expected):
    assert has_devices(lay(tmp_path, card(0, vendor, "0000:03:00.0", "any", 128))) == expected


def test_a_library_of_nvidias_is_a_reason_to_ask(driver):
    script = "from fetchml.gpus.prober import has_devices; print(has_devices())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=driver.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_looking_once_says_if_nobody_answers(driver, monkeypatch):
    driver.device("GPU-a").says("hang", call="handle")
    monkeypatch.setattr(module, "has_devices", lambda: True)
    monkeypatch.setattr(module, "Prober", lambda: Prober(environ=driver.environ))
    found = look(0.3)
    assert found.devices == ()
    assert "have not answered" in found.faults[0]
    assert children() == []


@pytest.fixture(autouse=True)
def _others_are_known() -> None:
    _OTHERS.clear()
    _OTHERS.update(children())


def children() -> list[int]:
    """Returns the probes of this process that have not ended; it may have servers of other tests as well."""
    found = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [pid for pid in found if pid not in _OTHERS and is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
