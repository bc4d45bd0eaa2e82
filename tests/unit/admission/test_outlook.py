from dataclasses import replace
from datetime import timedelta

import pytest

from fetchml.admission.lab import Forecast, Holding, HostState, Lab
from fetchml.admission.outlook import Outlook, outlook, smaller
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


def hours(first: float | None, last: float | None) -> Outlook:
    return Outlook(*(None if value is None else MOMENT + timedelta(hours=value) for value in (first, last)))


def test_a_run_that_fits_starts_now():
    assert outlook("a", [run("a", gpus=1)], Lab((HOST,)), EASY, MOMENT) == hours(0, 0)


def test_a_run_starts_between_what_is_expected_and_what_most_stay_below():
    lab = Lab((HOST,), (holding("h-0"),))
    assert outlook("a", [run("a", gpus=2)], lab, EASY, MOMENT) == hours(1, 2)


def test_those_ahead_count_with_what_they_will_take():
    lab = Lab((HOST,), (holding("h-0", "h-1"),))
    queue = [run("first", 0, hours=2, gpus=2), run("a", 1, gpus=2)]
    assert outlook("a", queue, lab, EASY, MOMENT) == hours(2, 4)


def test_nobody_knows_where_a_run_in_the_way_has_no_forecast():
    lab = Lab((HOST,), (holding("h-0", expected_h=None),))
    assert outlook("a", [run("a", gpus=2)], lab, EASY, MOMENT) == hours(None, None)
    queue = [run("first", 0, gpus=2), run("a", 1, gpus=2)]
    assert outlook("a", queue, Lab((HOST,)), EASY, MOMENT) == hours(None, None)
    assert outlook("never", queue, Lab((HOST,)), EASY, MOMENT) == hours(None, None)


def test_what_is_overdue_is_over_in_a_moment():
    late = replace(holding("h-0"), started_at=MOMENT - timedelta(days=1))
    found = outlook("a", [run("a", gpus=2)], Lab((HOST,), (late,)), EASY, MOMENT)
    assert found.latest is not None
    assert found.latest - MOMENT <= timedelta(minutes=1)


@pytest.mark.parametrize(
    ("asked", "held", "change"),
    [
        ({"gpus": 2}, holding("h-0"), {"gpus": 1}),
        ({"gpus": 1, "cpus": 8}, holding(cpus=4), {"cpus": 4}),
        ({"memory_bytes": 32 * GIB}, holding(memory_bytes=10 * GIB), {"memory_bytes": 16 * GIB}),
        ({"gpus": 1}, holding("h-0", "h-1"), None),
    ],
)
def test_a_smaller_request_that_would_start_now_is_found(asked, held, change):
    wanted = run("a", **asked)
    expected = None if change is None else wanted.request.model_copy(update=change)
    assert smaller(wanted, Lab((HOST,), (held,)), EASY, MOMENT) == expected


def test_half_a_gpu_may_fit_where_a_whole_one_does_not():
    half = Holding("x", "h", 1, GIB, (DeviceShare(device_id="h-0", share=0.5, memory_bytes=GIB),))
    lab = Lab((HOST,), (half, holding("h-1")))
    found = smaller(run("a", gpus=1), lab, EASY, MOMENT)
    assert found is not None
    assert found.gpus == 0.5
    both = Holding("y", "h", 1, GIB, (DeviceShare(device_id="h-0", share=0.5, memory_bytes=22 * GIB),))
    wanted = run("a", gpus=0.5, gpu_memory_bytes=20 * GIB)
    found = smaller(wanted, Lab((HOST,), (both, holding("h-1"))), EASY, MOMENT)
    assert found is None
