"""Through the real loader and NVIDIA's real binding, against a stand-in for the driver's library."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fetchml.gpus.inventory import inventory_of
from fetchml.gpus.prober import Prober
from fetchml.gpus.readings import DeviceReading, Readings
from fetchml.models.host import total_memory_bytes, user_name
from fetchml.models.resources import Device, GpuVendor, MemoryKind
from nvml import GIB, Driver

PATIENCE_S = 60


def read(driver: Driver) -> Readings:
    """Returns what a fresh probe reads."""
    with Prober(environ=driver.environ) as prober:
        return ask(prober)


def ask(prober: Prober) -> Readings:
    prober.ask()
    found = prober.answer(PATIENCE_S)
    assert found is not None, prober.fault
    return found


@pytest.fixture
def prober(driver: Driver) -> Iterator[Prober]:
    """A probe that stays."""
    with Prober(environ=driver.environ) as made:
        yield made


def test_everything_a_driver_tells_is_read(driver):
    driver.device("GPU-a", total=80 * GIB, used=2 * GIB, busy=93, temp=61, mw=345_600, ecc=2, slow=4)
    assert read(driver) == Readings(
        devices=(
            DeviceReading(
                "GPU-a",
                "nvidia",
                model="Fake H100",
                memory_bytes=80 * GIB,
                used_bytes=2 * GIB,
                utilisation_percent=93,
                temperature_c=61,
                power_w=345.6,
                ecc_errors=2,
                throttled=("power limit",),
                processes=(),
            ),
        ),
        methods=("nvml",),
        driver_version="550.54.15",
        cuda_version="12.4",
    )


def test_a_host_without_devices_has_none_and_still_a_driver(driver):
    found = read(driver)
    assert (found.devices, found.driver_version, found.faults) == ((), "550.54.15", ())


def test_64_devices_are_all_read(driver):
    for number in range(64):
        driver.device(f"GPU-{number:02}")
    assert [device.id for device in read(driver).devices] == [f"GPU-{number:02}" for number in range(64)]


@pytest.mark.parametrize("code", [9, 18, 999], ids=["driver not loaded", "another version", "unknown"])
def test_a_driver_that_does_not_start_says_so_and_offers_nothing(driver, code):
    driver.device("GPU-a").says("fail", call="init", code=code)
    found = read(driver)
    assert found.devices == ()
    assert found.faults[0].startswith("NVIDIA's driver: ")


def test_a_library_that_is_none_is_a_host_without_gpus(driver, tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    with Prober(environ={**driver.environ, "LD_LIBRARY_PATH": str(tmp_path)}) as prober:
        assert ask(prober) == Readings()


def test_a_driver_that_cannot_count_says_so(driver):
    driver.device("GPU-a").says("fail", call="count")
    assert read(driver).faults == ("NVIDIA's driver: Unknown Error",)


@pytest.mark.parametrize("call", ["handle", "uuid"])
def test_a_device_without_an_id_is_a_fault_and_the_others_stay(driver, call):
    driver.device("GPU-a").device("GPU-b").device("GPU-c").says("fail", call=call, of="GPU-b", code=15)
    found = read(driver)
    assert [device.id for device in found.devices] == ["GPU-a", "GPU-c"]
    assert found.faults == ("an NVIDIA device does not answer: GPU is lost",)


def test_a_device_whose_memory_cannot_be_read_is_not_offered(driver):
    driver.device("GPU-a").device("GPU-b").says("fail", call="memory", of="GPU-b", code=15)
    found = read(driver)
    assert [device.error for device in found.devices] == [None, "GPU is lost"]
    inventory = inventory_of(found)
    assert [device.id for device in inventory.devices] == ["GPU-a"]
    assert inventory.faults == ("GPU-b is left out: GPU is lost",)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ("busy", "utilisation_percent"),
        ("temp", "temperature_c"),
        ("power", "power_w"),
        ("ecc", "ecc_errors"),
        ("compute", "processes"),
    ],
)
@pytest.mark.parametrize("code", [3, 4, 13, 999], ids=["not supported", "no permission", "no such call", "unknown"])
def test_what_a_device_does_not_tell_is_unknown_and_it_stays(driver, call, field, code):
    (device,) = read(driver.device("GPU-a").says("fail", call=call, code=code)).devices
    assert getattr(device, field) is None
    assert device.error is None


@pytest.mark.parametrize(("call", "field"), [("driver", "driver_version"), ("cuda", "cuda_version")])
def test_a_version_that_is_not_told_is_unknown_and_the_devices_stay(driver, call, field):
    found = read(driver.device("GPU-a").says("fail", call=call))
    assert getattr(found, field) is None
    assert [device.id for device in found.devices] == ["GPU-a"]


def test_an_error_while_the_library_is_closed_does_not_matter(driver):
    assert len(read(driver.device("GPU-a").says("fail", call="shutdown")).devices) == 1


def test_an_old_driver_counts_memory_in_the_first_way(driver):
    (device,) = read(driver.device("GPU-a", total=8 * GIB).says("fail", call="memory-v2", code=13)).devices
    assert (device.memory_bytes, device.used_bytes) == (8 * GIB, GIB // 2)


def test_a_device_with_the_hosts_memory_offers_all_of_it(driver):
    found = read(driver.device("GPU-a", unified=1))
    assert (found.devices[0].memory_bytes, found.devices[0].has_host_memory) == (None, True)
    assert inventory_of(found).devices == (
        Device(
            id="GPU-a",
            vendor=GpuVendor.NVIDIA,
            model="Fake H100",
            memory_bytes=total_memory_bytes(),
            memory_kind=MemoryKind.SHARED,
        ),
    )


def test_mig_instances_are_devices_and_the_divided_one_is_not(driver):
    driver.device("GPU-a", mig=1, temp=55, mw=400_000).device("GPU-b")
    for name in ("MIG-1", "MIG-2"):
        driver.says("instance", of="GPU-a", uuid=name, name="Fake H100 MIG 1g.10gb", total=10 * GIB, used=GIB)
    first, second, whole = read(driver).devices
    assert (first.id, second.id, whole.id) == ("MIG-1", "MIG-2", "GPU-b")
    assert (first.model, first.memory_bytes, first.used_bytes) == ("Fake H100 MIG 1g.10gb", 10 * GIB, GIB)
    assert (first.temperature_c, first.power_w, first.utilisation_percent) == (55, None, None)


def test_a_divided_device_without_instances_is_not_handed_out_whole(driver):
    assert read(driver.device("GPU-a", mig=1)).devices == ()


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"x" * 90, b"\x1b[31mred", b"", "é\u2028".encode()], ids=["binary", "long", "esc", "no", "u"]
)
def test_bad_018_a_name_of_rubbish_hides_no_other_device(driver, name):
    driver.device("GPU-a", name=name).device("GPU-b")
    found = inventory_of(read(driver))
    assert "GPU-b" in [device.id for device in found.devices]
    assert all(device.model.isprintable() for device in found.devices)


@pytest.mark.parametrize("uuid", [b"\xff\xff", b"\x01\x02", b"GPU-\x1b[2J", b"../../etc"])
def test_bad_018_an_id_of_rubbish_is_cleaned_or_refused(driver, uuid):
    driver.device("GPU-b").says("device", uuid=uuid)
    for device in inventory_of(read(driver)).devices:
        assert device.id.isascii()
        assert device.id.isprintable()
        assert not {" ", "\x1b", ","} & set(device.id)


def test_processes_are_told_with_owner_command_and_run(driver):
    pid, gone = os.getpid(), 2**22 + 1
    environment = {**os.environ, "FETCHML_RUN_ID": "2026-11-20_k3f9q2"}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment) as child:
        driver.device("GPU-a")
        driver.says("process", of="GPU-a", pid=pid, used=5).says("process", of="GPU-a", pid=gone, used=6)
        driver.says("process", of="GPU-a", pid=child.pid, kind="both")
        found = {item.pid: item for item in read(driver).devices[0].processes or ()}
        child.communicate()
    assert found.keys() == {pid, child.pid}
    assert (found[pid].user, found[pid].memory_bytes, found[pid].run_id) == (user_name(), 5, None)
    assert (found[pid].is_graphics, found[child.pid].is_graphics) == (False, True)
    assert (found[child.pid].run_id, found[child.pid].memory_bytes) == ("2026-11-20_k3f9q2", None)
    assert "python" in (found[child.pid].command or "")
    assert found[child.pid].ancestors[0] == pid


def test_a_session_sees_what_changes(driver, prober):
    driver.device("GPU-a", used=1).device("GPU-b")
    assert [device.used_bytes for device in ask(prober).devices] == [1, 0]
    driver.forget("device").device("GPU-a", used=2)
    assert [device.used_bytes for device in ask(prober).devices] == [2]


def test_a_device_that_comes_back_is_seen_again(driver, prober):
    driver.device("GPU-a").says("fail", call="handle", of="GPU-a", code=15)
    assert ask(prober).devices == ()
    driver.forget("fail")
    assert [device.id for device in ask(prober).devices] == ["GPU-a"]
