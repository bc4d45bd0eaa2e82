"""Readings for a run's own process: posted by the worker, or asked for where there is none."""

import time
from pathlib import Path

import pytest

from fetchml.gpus.board import post
from fetchml.gpus.inventory import Inventory
from fetchml.gpus.prober import Prober
from fetchml.gpus.readings import DeviceReading, Readings
from fetchml.gpus.source import ReadingsSource
from nvml import Driver
from stack import until

SAID = Readings((DeviceReading("GPU-a", "nvidia"),), ("nvml",))


def never() -> Prober:
    pytest.fail("a probe was started")


def test_what_the_worker_posted_is_taken_and_nobody_else_is_asked(tmp_path: Path):
    post(tmp_path, Inventory(), SAID, time.monotonic())
    source = ReadingsSource(tmp_path, never)
    source.ask()
    assert (source.readings(), source.is_asking) == (SAID, False)
    source.close()


@pytest.mark.parametrize("answered_at", [None, 0.0])
def test_where_the_drivers_are_silent_nobody_else_is_asked_either(tmp_path: Path, answered_at: float | None):
    post(tmp_path, Inventory(), SAID, answered_at)
    source = ReadingsSource(tmp_path, never)
    source.ask()
    assert (source.readings(), source.is_asking) == (None, False)


def test_without_a_worker_the_drivers_are_asked(tmp_path: Path, driver: Driver):
    driver.device("GPU-a", total=5)
    source = ReadingsSource(tmp_path, lambda: Prober(environ=driver.environ), lambda: True)
    try:
        source.ask()
        assert source.is_asking
        found = until(source.readings, "readings", 60, 0.01)
        assert [device.memory_bytes for device in found.devices] == [5]
        assert not source.is_asking
        post(tmp_path, Inventory(), SAID, time.monotonic())  # a worker comes up
        source.ask()
        assert source.readings() == SAID
    finally:
        source.close()


def test_without_a_worker_and_a_driver_there_is_nothing(tmp_path: Path):
    source = ReadingsSource(tmp_path, never, lambda: False)
    source.ask()
    assert (source.readings(), source.is_asking) == (None, False)


def test_a_driver_that_hangs_is_left_alone_and_ends_nothing(tmp_path: Path, driver: Driver):
    driver.device("GPU-a").says("hang", call="memory")
    source = ReadingsSource(tmp_path, lambda: Prober(environ=driver.environ), lambda: True)
    source.ask()
    assert (source.readings(), source.is_asking) == (None, True)
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 10
