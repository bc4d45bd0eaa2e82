"""GPUs on their way into a container: what engines are asked for, and what a container then sees."""

import os
import stat
from typing import Any

import pytest

from contract.engines import CONTAINERS, Bench, Payload
from fetchml.containers import Devices
from fetchml.engine.port import StartFailed
from fetchml.models.resources import GpuVendor

NODE = "/dev/fuse"
"""Stands in for a render node: no container has it by itself."""

on_containers = pytest.mark.parametrize("bench", CONTAINERS, indirect=True)
LOOKS = Payload(
    f"""
print(os.path.exists({NODE!r}), sorted(os.getgroups()), flush=True)
print(oct(os.stat({NODE!r}).st_rdev) if os.path.exists({NODE!r}) else None)
"""
)


def devices(group: int = 4711) -> Devices:
    return Devices(("0000:03:00.0",), GpuVendor.AMD, nodes=(NODE,), groups=(group,))


@on_containers
def test_the_files_of_a_device_and_their_groups_are_in_the_container(bench: Bench) -> None:
    if not os.path.exists(NODE):
        pytest.skip(f"NOT TESTED: this host has no {NODE}")
    name = bench.ended(LOOKS, devices=devices())
    number = oct(os.stat(NODE).st_rdev)
    said = bench.output(name).decode()
    assert stat.S_ISCHR(os.stat(NODE).st_mode)
    assert said.startswith("True ")
    assert "4711" in said
    assert said.splitlines()[1] == number


@on_containers
def test_a_run_without_a_device_has_none_of_its_files(bench: Bench) -> None:
    assert bench.output(bench.ended(LOOKS)).decode().startswith("False ")


@on_containers
def test_a_device_file_that_is_not_there_is_told(bench: Bench) -> None:
    spec = bench.spec(LOOKS, devices=Devices(("x",), GpuVendor.AMD, nodes=("/dev/no-such-gpu",)))

    def begin() -> None:
        bench.engine.create(spec)
        bench.engine.start(spec.name)

    with pytest.raises(StartFailed) as caught:
        begin()
    assert "no-such-gpu" in (caught.value.detail or "")


@on_containers
def test_what_cannot_be_passed_is_refused_and_not_left_out(bench: Bench) -> None:
    with pytest.raises(StartFailed) as caught:
        bench.engine.create(bench.spec(LOOKS, devices=Devices(("apple-gpu",), GpuVendor.APPLE, (0,))))
    assert caught.value.code == "gpu-not-supported"


def requested(bench: Bench, given: Devices) -> dict[str, Any]:
    created: dict[str, Any] = bench.engine._options(bench.spec(LOOKS, devices=given))  # type: ignore[attr-defined]
    return created


@pytest.mark.docker
@pytest.mark.parametrize("bench", ["docker"], indirect=True)
def test_docker_is_asked_for_nvidia_devices_by_their_ids(bench: Bench) -> None:
    asked = requested(bench, Devices(("GPU-a", "MIG-b"), GpuVendor.NVIDIA, (None, None)))
    (request,) = asked["device_requests"]
    assert (request["DeviceIDs"], request["Capabilities"], request["Count"]) == (["GPU-a", "MIG-b"], [["gpu"]], 0)
    declared = requested(bench, Devices(("declared-2",), GpuVendor.NVIDIA, (2,)))
    assert declared["device_requests"][0]["DeviceIDs"] == ["2"]


@pytest.mark.podman
@pytest.mark.parametrize("bench", ["podman"], indirect=True)
def test_podman_is_never_asked_for_what_it_would_leave_out_in_silence(bench: Bench) -> None:
    with pytest.raises(StartFailed) as caught:
        bench.engine.create(bench.spec(LOOKS, devices=Devices(("GPU-a",), GpuVendor.NVIDIA, (None,))))
    assert caught.value.code == "gpu-not-supported"
