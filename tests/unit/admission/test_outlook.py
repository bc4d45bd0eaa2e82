"""When a waiting run may start, and what would start now."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fetchml.admission.lab import Forecast, Holding, HostState, Lab, Pending
from fetchml.admission.outlook import smaller_that_start, start_of
from fetchml.admission.policy import EASY
from fetchml.models.resources import Device, DeviceShare, GpuVendor, HostCapacity
from fetchml.models.units import GIB
from fetchml.testing.builders import MOMENT
from unit.admission.nodes import run

HOST = HostState(
    HostCapacity(
        host="h",
        cpus=8,
        memory_bytes=32 * GIB,
        devices=tuple(Device(id=f"h-{n}", vendor=GpuVendor.NVIDIA, memory_bytes=24 * GIB) for n in range(2)),
    )
)


def holding(*devices: str, expected_h: float | None = 1, upper_h: float = 2, **fields: object) -> Holding:
    shares = tuple(DeviceShare(device_id=name, share=1, memory_bytes=24 * GIB) for name in devices)
    forecast = None if expected_h is None else Forecast(expected_h * 3600, upper_h * 3600, "a test")
    given = {"cpus": 1, "memory_bytes": GIB, **fields}
    return Holding("x", "h", shares=shares, started_at=MOMENT, forecast=forecast, **given)


def starts(run_id: str, queue: list[Pending], lab: Lab) -> tuple[float | None, float | None] | None:
    """Returns the interval in hours from now."""
    found = start_of(run_id, queue, lab, EASY, MOMENT)
    if found is None:
        return None
    ends = (found.earliest, found.latest)
    return tuple(None if end is None else (end - MOMENT).total_seconds() / 3600 for end in ends)  # pyright: ignore[reportReturnType]


def test_a_run_that_fits_starts_now():
    assert starts("a", [run("a", gpus=1)], Lab((HOST,))) == (0, 0)


def test_a_run_starts_between_what_is_expected_and_what_most_stay_below():
    lab = Lab((HOST,), (holding("h-0"),))
    assert starts("a", [run("a", gpus=2)], lab) == (1, 2)
    found = start_of("a", [run("a", gpus=2)], lab, EASY, MOMENT)
    assert found is not None
    assert found.basis == ("a test",)


def test_those_ahead_count_with_what_they_will_take():
    lab = Lab((HOST,), (holding("h-0", "h-1"),))
    queue = [run("first", 0, hours=2, gpus=2), run("a", 1, gpus=2)]
    assert starts("a", queue, lab) == (2, 4)


def test_nobody_knows_where_a_run_in_the_way_has_no_forecast():
    lab = Lab((HOST,), (holding("h-0", expected_h=None),))
    assert starts("a", [run("a", gpus=2)], lab) is None
    queue = [run("first", 0, gpus=2), run("a", 1, gpus=2)]
    assert starts("a", queue, Lab((HOST,))) is None
    assert starts("never", queue, Lab((HOST,))) is None


def test_so_many_ahead_that_it_would_be_a_guess():
    queue = [run(f"r{number}", number, hours=1, gpus=2) for number in range(400)]
    assert start_of("r399", queue, Lab((HOST,)), EASY, MOMENT) is None


def test_what_is_overdue_is_over_in_a_moment():
    late = replace(holding("h-0"), started_at=MOMENT - timedelta(days=1))
    found = start_of("a", [run("a", gpus=2)], Lab((HOST,), (late,)), EASY, MOMENT)
    assert found is not None
    assert found.latest is not None
    assert found.latest - MOMENT <= timedelta(minutes=1)


@pytest.mark.parametrize(
    ("asked", "held", "flags"),
    [
        ({"gpus": 2}, holding("h-0"), ("`--gpus 1`", "`--gpus 0.5`")),
        ({"gpus": 1, "cpus": 8}, holding(cpus=4), ("`--cpus 4`",)),
        ({"memory_bytes": 32 * GIB}, holding(memory_bytes=10 * GIB), ("`--memory 16G`",)),
        ({"gpus": 1}, holding("h-0", "h-1"), ()),
        ({"host": "elsewhere"}, holding(), ("without `--host`",)),
        ({"gpus": 1, "gpu_model": "H100"}, holding(), ("without `--gpu-model`",)),
    ],
)
def test_smaller_requests_that_would_start_now_are_named(
    asked: dict[str, Any], held: Holding, flags: tuple[str, ...]
) -> None:
    assert smaller_that_start("a", [run("a", **asked)], Lab((HOST,), (held,)), EASY, MOMENT) == flags


def test_half_a_gpu_may_fit_where_a_whole_one_does_not():
    half = Holding("x", "h", 1, GIB, (DeviceShare(device_id="h-0", share=0.5, memory_bytes=GIB),))
    lab = Lab((HOST,), (half, holding("h-1")))
    assert smaller_that_start("a", [run("a", gpus=1)], lab, EASY, MOMENT) == ("`--gpus 0.5`",)


def test_those_ahead_are_not_passed_by_asking_for_less():
    lab = Lab((HOST,), (holding("h-0", expected_h=None),))
    queue = [run("first", 0, gpus=2), run("a", 1, gpus=2)]
    assert smaller_that_start("a", queue, lab, EASY, MOMENT) == ()
