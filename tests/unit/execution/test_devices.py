"""What a run is given of the devices that were reserved for it, and what happens if they are not there."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from contract.attempts import DISCOVERY, Bench
from fetchml.containers import Devices
from fetchml.errors import Unavailable
from fetchml.execution.devices import fault_of, given
from fetchml.gpus.inventory import Inventory
from fetchml.models.resources import Device, DeviceShare, GpuVendor
from fetchml.models.units import GIB
from fetchml.testing.builders import make_claim

A, B = (Device(id=f"GPU-{x}", vendor=GpuVendor.NVIDIA, memory_bytes=size * GIB) for x, size in (("a", 24), ("b", 16)))
FOUND = Inventory((A, B), "nvml")


def test_a_run_without_gpus_is_given_none_of_them():
    assert given(make_claim(), FOUND) == Devices()
    assert fault_of(make_claim(), Inventory()) is None


def test_whole_devices_are_given_in_the_order_they_were_reserved():
    assert given(make_claim(device_ids=("GPU-b", "GPU-a")), FOUND) == Devices(
        ("GPU-b", "GPU-a"), GpuVendor.NVIDIA, (None, None), total_bytes=16 * GIB
    )


def test_a_share_is_given_with_the_memory_that_is_kept_for_it():
    share = DeviceShare(device_id="GPU-a", share=0.25, memory_bytes=6 * GIB)
    for ids in ((), ("GPU-a",)):
        assert given(make_claim(device_ids=ids, shares=(share,)), FOUND) == Devices(
            ("GPU-a",), GpuVendor.NVIDIA, (None,), share=0.25, memory_bytes=6 * GIB, total_bytes=24 * GIB
        )


def test_device_files_are_given_once_with_the_groups_that_may_use_them(tmp_path: Path):
    shared, first, second = (str(tmp_path / name) for name in ("kfd", "renderD128", "renderD129"))
    for name in (shared, first):
        Path(name).touch()
    cards = (
        Device(id="x", vendor=GpuVendor.AMD, nodes=(shared, first), ordinal=0),
        Device(id="y", vendor=GpuVendor.AMD, nodes=(shared, second), ordinal=1),
    )
    found = given(make_claim(device_ids=("x", "y")), Inventory(cards, "sysfs"))
    assert found.nodes == (shared, first, second)
    assert found.groups == (os.stat(first).st_gid,)
    assert found.ordinals == (0, 1)


def test_a_device_that_vanished_before_the_start_fails_the_run_and_not_the_code(tmp_path: Path):
    bench = Bench(tmp_path, discovery=replace(DISCOVERY, inventory=FOUND))
    bench.claim = bench.claim.model_copy(update={"device_ids": ("GPU-c",)})
    manifest = bench.drive()
    assert (manifest.end_reason, bench.starts) == ("infrastructure", 0)
    assert manifest.diagnosis is not None
    assert "GPU-c is not there any more" in (manifest.diagnosis.detail or "")


def test_a_driver_that_is_silent_before_the_start_makes_the_run_wait(tmp_path: Path):
    silent = Inventory(faults=("the GPU drivers have not answered for 5 s",))
    bench = Bench(tmp_path, discovery=replace(DISCOVERY, inventory=silent))
    bench.claim = bench.claim.model_copy(update={"device_ids": ("GPU-a",)})
    with pytest.raises(Unavailable) as caught:
        bench.drive()
    assert caught.value.code == "gpus-silent"
    bench.discovery = replace(DISCOVERY, inventory=FOUND)
    assert bench.drive().status.state == "completed"
