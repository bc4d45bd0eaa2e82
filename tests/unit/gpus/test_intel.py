import os
from itertools import count

import pytest

from fetchml.gpus.intel import IntelReader
from fetchml.gpus.inventory import inventory_of
from fetchml.gpus.readings import DeviceReading, Readings
from fetchml.models.resources import GpuVendor, MemoryKind
from fetchml.models.units import GIB, MIB
from unit.gpus.trees import card, lay, process


@pytest.fixture
def host(tmp_path):
    """A host with graphics in its processor and one card."""
    lay(tmp_path, card(0, "0x8086", "0000:00:02.0", "i915", 128))
    size = {"tile0__physical_vram_size_bytes": f"{12 * GIB}\n"}
    lay(tmp_path, card(1, "0x8086", "0000:03:00.0", "xe", 129, **size))
    return tmp_path


def test_the_card_and_the_part_of_the_processor_are_told_apart(host):
    assert IntelReader(host).read() == Readings(
        (
            DeviceReading(
                "0000:00:02.0",
                "intel",
                model="Intel graphics",
                has_host_memory=True,
                is_integrated=True,
                nodes=("/dev/dri/renderD128",),
                ordinal=0,
                processes=(),
            ),
            DeviceReading(
                "0000:03:00.0",
                "intel",
                model="Intel GPU",
                memory_bytes=12 * GIB,
                nodes=("/dev/dri/renderD129",),
                ordinal=1,
                processes=(),
            ),
        ),
        ("sysfs",),
    )


def test_the_part_of_the_processor_is_offered_to_those_who_name_its_maker(host):
    found = IntelReader(host).read()
    assert [device.id for device in inventory_of(found).devices] == ["0000:03:00.0"]
    inside, _ = inventory_of(found, GpuVendor.INTEL).devices
    assert (inside.id, inside.memory_kind) == ("0000:00:02.0", MemoryKind.SHARED)
    assert inside.memory_bytes is not None


def test_a_host_without_cards_has_none(tmp_path):
    assert IntelReader(tmp_path).read() == Readings()


def test_a_card_of_another_driver_is_none(tmp_path):
    lay(tmp_path, card(0, "0x8086", "0000:03:00.0", "vfio-pci", 128))
    assert IntelReader(tmp_path).read().devices == ()


def test_power_is_told_from_the_second_look_on(host):
    energy = host / "sys/class/drm/card1/device/hwmon/hwmon3/energy1_input"
    clock = count(100, 2)
    reader = IntelReader(host, lambda: float(next(clock)))
    seen = []
    for value in (1_000_000, 301_000_000, 200_000_000):  # the last: the counter began anew
        lay(host, {str(energy.relative_to(host)): f"{value}\n"})
        seen.append(reader.read().devices[1].power_w)
    assert seen == [None, 150.0, None]


def client(host, pid: int, descriptor: int, target: str, **facts: str) -> None:
    os.makedirs(host / f"proc/{pid}/fd", exist_ok=True)
    os.symlink(target, host / f"proc/{pid}/fd/{descriptor}")
    lines = "".join(f"{name.replace('_', '-')}:\t{value}\n" for name, value in facts.items())
    lay(host, {f"proc/{pid}/fdinfo/{descriptor}": f"pos:\t0\n{lines}"})


def test_those_who_compute_and_those_who_draw_are_told_apart(host):
    pdev = {"drm_pdev": "0000:03:00.0", "drm_driver": "xe"}
    lay(host, process(10, command="trainer") | process(11, command="desktop") | process(12))
    client(
        host, 10, 5, "/dev/dri/renderD129", **pdev, drm_client_id="1", drm_cycles_ccs="9", drm_resident_vram0="3 MiB"
    )
    client(
        host, 10, 6, "/dev/dri/renderD129", **pdev, drm_client_id="1", drm_cycles_ccs="9", drm_resident_vram0="3 MiB"
    )
    client(host, 10, 7, "/dev/dri/renderD129", **pdev, drm_client_id="2", drm_resident_vram0="1024 KiB")
    client(host, 11, 5, "/dev/dri/card1", **pdev, drm_client_id="3", drm_cycles_rcs="7", drm_resident_vram0="2 MiB")
    client(host, 12, 5, "/tmp/file", **pdev, drm_client_id="4")
    found = IntelReader(host).read().devices[1].processes or ()
    assert [(item.pid, item.command, item.memory_bytes, item.is_graphics) for item in found] == [
        (10, "trainer", 4 * MIB, False),
        (11, "desktop", 2 * MIB, True),
    ]
