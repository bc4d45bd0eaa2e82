from dataclasses import replace

import pytest

from fetchml.gpus.amd import AmdReader
from fetchml.gpus.inventory import inventory_of
from fetchml.gpus.readings import DeviceReading, Readings
from fetchml.models.host import user_name
from fetchml.models.units import GIB, MIB
from unit.gpus.trees import amd_node, card, lay, process

CARD = {
    "unique_id": "bd0a6a9b5b1b2a5d\n",
    "product_name": "AMD Instinct MI210\n",
    "mem_info_vram_total": f"{64 * GIB}\n",
    "mem_info_vram_used": f"{3 * GIB}\n",
    "gpu_busy_percent": "87\n",
    "hwmon__hwmon4__power1_average": "212500000\n",
    "hwmon__hwmon4__temp1_input": "58000\n",
}
FIRST = DeviceReading(
    "GPU-bd0a6a9b5b1b2a5d",
    "amd",
    model="AMD Instinct MI210",
    memory_bytes=64 * GIB,
    used_bytes=3 * GIB,
    nodes=("/dev/kfd", "/dev/dri/renderD128"),
    ordinal=0,
    utilisation_percent=87,
    temperature_c=58,
    power_w=212.5,
    processes=(),
)


@pytest.fixture
def one(tmp_path):
    """A host with one card."""
    lay(tmp_path, card(0, "0x1002", "0000:03:00.0", "amdgpu", 128, **CARD))
    lay(tmp_path, amd_node(0, 0, cpu_cores_count=16, simd_count=0) | amd_node(1, 128))
    (tmp_path / "sys/class/kfd/kfd/proc").mkdir(parents=True)
    return tmp_path


def test_everything_the_kernel_tells_is_read(one):
    assert AmdReader(one).read() == Readings((FIRST,), ("sysfs",))


def test_a_host_without_cards_has_none(tmp_path):
    assert AmdReader(tmp_path).read() == Readings()


def test_cards_are_numbered_as_the_compute_driver_does_and_named_for_ever(one):
    lay(one, card(7, "0x1002", "0000:43:00.0", "amdgpu", 130, **{**CARD, "unique_id": "0\n"}) | amd_node(2, 130))
    lay(one, card(8, "0x10de", "0000:44:00.0", "nvidia", 131))
    _, second = AmdReader(one).read().devices
    assert (second.id, second.ordinal, second.nodes[1]) == ("0000:43:00.0", 1, "/dev/dri/renderD130")


def test_a_card_that_cannot_compute_is_not_offered_and_the_host_says_why(tmp_path):
    lay(tmp_path, card(0, "0x1002", "0000:03:00.0", "amdgpu", 128, **CARD))
    found = AmdReader(tmp_path).read()
    assert found.devices == ()
    assert "amdkfd" in found.faults[0]


@pytest.mark.parametrize("name", ["gpu_busy_percent", "mem_info_vram_used", "unique_id", "product_name", "vendor"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"-1\n", b"9" * 9999, b"\x1b[31m" * 2000, b"1e9", b"\n\n"])
def test_rubbish_in_a_file_is_no_value(one, name, content):
    (one / "sys/class/drm/card0/device" / name).write_bytes(content)
    for device in AmdReader(one).read().devices:
        assert replace(device, used_bytes=None, utilisation_percent=None, id="", model="") == replace(
            FIRST, used_bytes=None, utilisation_percent=None, id="", model=""
        )
        assert device.id.isascii()
        assert device.model.isprintable()


def test_a_card_whose_memory_cannot_be_read_is_known_and_not_offered(one):
    (one / "sys/class/drm/card0/device/mem_info_vram_total").unlink()
    found = AmdReader(one).read()
    assert found.devices[0].error == "its memory cannot be read"
    assert inventory_of(found).devices == ()


def test_processes_are_told_with_what_they_have_on_each_card(one):
    lay(one, process(77, FETCHML_RUN_ID="2026-11-20_k3f9q2"))
    lay(one, {"sys/class/kfd/kfd/proc/77/vram_1001": f"{5 * GIB}\n", "sys/class/kfd/kfd/proc/77/vram_1002": "0\n"})
    lay(one, {"sys/class/kfd/kfd/proc/88/vram_1001": f"{GIB}\n"})  # it has ended since
    (found,) = AmdReader(one).read().devices[0].processes or ()
    assert (found.pid, found.memory_bytes, found.command, found.user) == (77, 5 * GIB, "python", user_name())
    assert (found.run_id, found.ancestors) == ("2026-11-20_k3f9q2", (1,))


def test_the_part_of_a_processor_has_the_hosts_memory_and_stands_back_behind_a_card(one):
    small = {**CARD, "unique_id": "", "mem_info_vram_total": f"{512 * MIB}", "mem_info_gtt_total": f"{15 * GIB}"}
    lay(one, card(1, "0x1002", "0000:0b:00.0", "amdgpu", 129, **small) | amd_node(2, 129))
    found = AmdReader(one).read()
    inside = next(device for device in found.devices if device.id == "0000:0b:00.0")
    assert (inside.memory_bytes, inside.has_host_memory, inside.is_integrated) == (15 * GIB, True, True)
    assert [device.id for device in inventory_of(found).devices] == [FIRST.id]
    alone = replace(found, devices=(inside,))
    assert [device.id for device in inventory_of(alone).devices] == ["0000:0b:00.0"]
