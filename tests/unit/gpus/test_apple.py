import pytest

from fetchml.gpus.apple import AppleReader
from fetchml.gpus.inventory import inventory_of
from fetchml.gpus.readings import Readings
from fetchml.models.resources import Device, GpuVendor, MemoryKind
from fetchml.models.units import GIB

MAC = ("Darwin", "arm64")
SAID = {
    ("sysctl", "-n", "hw.memsize"): f"{64 * GIB}\n",
    ("sysctl", "-n", "machdep.cpu.brand_string"): "Apple M3 Max\n",
    ("ioreg", "-r", "-d", "1", "-c", "IOAccelerator"): '"PerformanceStatistics" = '
    '{"In use system memory"=2147483648,"Device Utilization %"=37,"Renderer Utilization %"=30}',
}


def test_a_mac_has_one_gpu_with_the_memory_of_the_host():
    found = AppleReader(MAC, lambda command: SAID[command]).read()
    assert (found.devices[0].utilisation_percent, found.devices[0].used_bytes) == (37, 2 * GIB)
    assert inventory_of(found).detection == "metal"
    assert inventory_of(found).devices == (
        Device(
            id="apple-gpu",
            vendor=GpuVendor.APPLE,
            model="Apple M3 Max",
            memory_bytes=64 * GIB,
            memory_kind=MemoryKind.SHARED,
            ordinal=0,
        ),
    )


@pytest.mark.parametrize("system", [("Linux", "aarch64"), ("Darwin", "x86_64")])
def test_no_other_machine_is_asked(system):
    assert AppleReader(system, lambda _: pytest.fail("a program was run")).read() == Readings()


def test_a_mac_that_tells_nothing_has_its_gpu_all_the_same():
    (device,) = AppleReader(MAC, lambda _: "").read().devices
    assert (device.model, device.memory_bytes, device.utilisation_percent) == ("Apple GPU", None, None)
