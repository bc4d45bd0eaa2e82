import os
from dataclasses import replace

import pytest

from fetchml.errors import ConfigError
from fetchml.gpus.discover import Detect, discover
from fetchml.gpus.inventory import Inventory
from fetchml.models.host import host_name, total_memory_bytes
from fetchml.models.resources import Arch, Device, GpuVendor
from fetchml.models.units import GIB

CARDS = tuple(Device(id=f"GPU-{letter}", vendor=GpuVendor.NVIDIA, memory_bytes=24 * GIB) for letter in "ab")
NOTHING: Detect = lambda _: Inventory()  # noqa: E731
FOUND = Inventory(CARDS, "nvml", driver_version="550.54", cuda_version="12.4")


def ids(environ: dict[str, str], found: Inventory = FOUND) -> tuple[str, ...]:
    return tuple(device.id for device in discover(environ, offering(found)).capacity.devices)


def offering(found: Inventory) -> Detect:
    """Finds the devices of an inventory, of the maker that is asked for."""
    return lambda vendor: replace(
        found, devices=tuple(device for device in found.devices if vendor in (None, device.vendor))
    )


def never(_: object) -> Inventory:
    pytest.fail("the devices were looked for")


def test_what_is_found_is_offered():
    found = discover({}, offering(FOUND))
    assert found.inventory == FOUND
    assert found.capacity.devices == CARDS
    assert found.capacity.gpu_detection == "nvml"
    assert found.capacity.host == host_name()
    assert found.overrides == ()


def test_the_host_offers_the_cores_it_may_use_and_its_memory():
    capacity = discover({}, NOTHING).capacity
    assert capacity.cpus == len(os.sched_getaffinity(0))
    assert capacity.memory_bytes == total_memory_bytes() > 0
    assert capacity.gpu_detection == "none"


@pytest.mark.parametrize(
    "environ", [{"FETCH_ML_GPU_TYPE": "none"}, {"FETCH_ML_GPU_TYPE": "CPU"}, {"FETCH_ML_GPU_COUNT": "0"}]
)
def test_a_host_can_be_declared_to_have_no_gpu_and_is_then_not_looked_at(environ):
    found = discover(environ, never)
    assert found.capacity.devices == ()
    assert found.capacity.gpu_detection == "env"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"FETCH_ML_GPU_TYPE": "nvidia"}, ("GPU-a", "GPU-b")),
        ({"FETCH_ML_GPU_TYPE": "cuda"}, ("GPU-a", "GPU-b")),
        ({"FETCH_ML_GPU_TYPE": "amd"}, ()),
        ({"FETCH_ML_GPU_COUNT": "1"}, ("GPU-a",)),
        ({"FETCH_ML_GPU_COUNT": "2"}, ("GPU-a", "GPU-b")),
        ({"FETCH_ML_GPU_COUNT": "3"}, ("GPU-a", "GPU-b", "declared-2")),
        ({"FETCH_ML_GPU_TYPE": "rocm", "FETCH_ML_GPU_COUNT": "2"}, ("declared-0", "declared-1")),
    ],
)
def test_an_override_decides_which_devices_are_offered(environ, expected):
    assert ids(environ) == expected


@pytest.mark.parametrize(
    ("word", "vendor"),
    [("nvidia", "nvidia"), ("cuda", "nvidia"), ("AMD", "amd"), ("rocm", "amd"), ("metal", "apple"), ("intel", "intel")],
)
def test_declared_devices_have_the_declared_maker(word, vendor):
    found = discover({"FETCH_ML_GPU_TYPE": word, "FETCH_ML_GPU_COUNT": "1"}, NOTHING)
    (device,) = found.capacity.devices
    assert (device.vendor, device.memory_bytes) == (vendor, None)


def test_declared_devices_are_nvidias_unless_said_otherwise():
    (device,) = discover({"FETCH_ML_GPU_COUNT": "1"}, NOTHING).capacity.devices
    assert device.vendor is GpuVendor.NVIDIA


def test_declared_devices_are_known_to_their_runtime_by_position():
    devices = discover({"FETCH_ML_GPU_COUNT": "3"}, offering(FOUND)).capacity.devices
    assert [device.ordinal for device in devices] == [None, None, 2]


@pytest.mark.parametrize("slots", [1, 4, 64])
def test_the_slots_of_each_gpu_can_be_declared(slots):
    found = discover({"FETCH_ML_GPU_SLOTS_PER_GPU": str(slots)}, offering(FOUND))
    assert [device.slots for device in found.capacity.devices] == [slots, slots]
    assert found.capacity.gpu_detection == "nvml"


def test_the_disk_and_the_instruction_set_are_told(tmp_path):
    found = discover({}, NOTHING, disk=tmp_path / "not" / "there" / "yet").capacity
    assert found.arch in (Arch.AMD64, Arch.ARM64)
    assert (found.disk_bytes or 0) > 0
    assert discover({}, NOTHING).capacity.disk_bytes is None


def test_the_cores_can_be_declared():
    assert discover({"FETCH_ML_TOTAL_CPU": "96"}, NOTHING).capacity.cpus == 96


def test_every_override_is_told_for_the_log():
    environ = {
        "FETCH_ML_GPU_TYPE": "CUDA",
        "FETCH_ML_GPU_COUNT": "1",
        "FETCH_ML_TOTAL_CPU": "4",
        "FETCH_ML_GPU_SLOTS_PER_GPU": "1",
    }
    assert discover(environ, NOTHING).overrides == (
        "FETCH_ML_GPU_TYPE=nvidia",
        "FETCH_ML_GPU_COUNT=1",
        "FETCH_ML_TOTAL_CPU=4",
        "FETCH_ML_GPU_SLOTS_PER_GPU=1",
    )


@pytest.mark.parametrize("name", ["FETCH_ML_GPU_COUNT", "FETCH_ML_TOTAL_CPU", "FETCH_ML_GPU_SLOTS_PER_GPU"])
@pytest.mark.parametrize(
    "value",
    ["-1", "99999", "1;reboot", "", " 1", "1.0", "1e1", "0x1", "one", "１", "²", "+1", "1\n"],  # noqa: RUF001  # full-width
)
def test_bad_017_a_number_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ConfigError) as caught:
        discover({name: value}, never)
    assert caught.value.code == "bad-override"
    assert f"`{name}={value}`" in caught.value.detail


def test_bad_017_a_number_of_5000_digits_is_refused():
    with pytest.raises(ConfigError):
        discover({"FETCH_ML_GPU_COUNT": "9" * 5000}, never)


@pytest.mark.parametrize("value", ["", "voodoo", "nvidia,amd"])
def test_bad_017_an_unknown_maker_is_refused_with_those_there_are(value):
    with pytest.raises(ConfigError) as caught:
        discover({"FETCH_ML_GPU_TYPE": value}, never)
    assert "expected one of nvidia, amd, intel, apple, none" in caught.value.detail


def test_all_bad_overrides_are_named_at_once():
    environ = {
        "FETCH_ML_GPU_TYPE": "voodoo",
        "FETCH_ML_GPU_COUNT": "999",
        "FETCH_ML_TOTAL_CPU": "0",
        "FETCH_ML_GPU_SLOTS_PER_GPU": "65",
    }
    with pytest.raises(ConfigError) as caught:
        discover(environ, never)
    assert all(f"`{name}={value}`" in caught.value.detail for name, value in environ.items())
