"""Intel GPUs, read from the files of the kernel's drivers `i915` and `xe`."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fetchml.gpus.processes import described
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from fetchml.gpus.sysfs import INTEL, Card, cards, number

_DRIVERS = ("i915", "xe")
_INSIDE_THE_PROCESSOR = "0000:00:02.0"
"""Where every graphics part of a processor is; cards are on buses of their own."""
_DEVICES = "/dev/dri/"


class IntelReader:
    """Reads the Intel GPUs of this host.

    Args:
        root: Where `/sys` and `/proc` are.
        clock: Seconds that only go forward.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._energy: dict[str, tuple[float, int]] = {}

    def read(self) -> Readings:
        """Returns the GPUs in the order of their addresses, which is the order Level Zero can be told to number by."""
        found = [card for card in cards(self._root, INTEL) if card.driver in _DRIVERS and card.render_node is not None]
        if not found:
            return Readings()
        users = self._users({card.address for card in found})
        devices = tuple(self._device(card, ordinal, users.get(card.address, {})) for ordinal, card in enumerate(found))
        return Readings(devices, ("sysfs",))

    def _device(self, card: Card, ordinal: int, users: dict[int, GpuProcess]) -> DeviceReading:
        is_integrated = card.address == _INSIDE_THE_PROCESSOR
        listed = (described(item, self._root) for _, item in sorted(users.items()))
        return DeviceReading(
            card.address,
            "intel",
            model="Intel graphics" if is_integrated else "Intel GPU",
            memory_bytes=None if is_integrated else _memory(card),
            has_host_memory=is_integrated,
            is_integrated=is_integrated,
            nodes=() if card.render_node is None else (card.render_node,),
            ordinal=ordinal,
            temperature_c=card.temperature_c,
            power_w=self._power(card),
            processes=tuple(item for item in listed if item is not None),
        )

    def _power(self, card: Card) -> float | None:
        """Returns the power since the last look: the driver counts energy, in millionths of a joule."""
        energy = card.sensor("energy1_input")
        if energy is None:
            return None
        now = self._clock()
        then, before = self._energy.get(card.address, (now, energy))
        self._energy[card.address] = (now, energy)
        return round((energy - before) / 1e6 / (now - then), 1) if now > then and energy >= before else None

    def _users(self, addresses: set[str]) -> dict[str, dict[int, GpuProcess]]:
        """Returns who has which device open, from what the driver writes about each open file.

        Source: Linux kernel documentation, `gpu/drm-usage-stats.rst`.
        """
        found: dict[str, dict[int, GpuProcess]] = {address: {} for address in addresses}
        for pid, facts in self._open_files():
            address = facts.get("drm-pdev", "")
            if address not in found:
                continue
            computes = any(_count(facts.get(name)) for name in ("drm-engine-compute", "drm-cycles-ccs"))
            size = _size(facts.get("drm-resident-local0") or facts.get("drm-resident-vram0"))
            known = found[address].get(pid, GpuProcess(pid, 0, is_graphics=True))
            found[address][pid] = GpuProcess(pid, (known.memory_bytes or 0) + size, known.is_graphics and not computes)
        return found

    def _open_files(self) -> Iterator[tuple[int, dict[str, str]]]:
        base = self._root / "proc"
        for name in _listed(base):
            if not name.isdigit():
                continue
            clients: dict[str, dict[str, str]] = {}
            for descriptor in _listed(base / name / "fd"):
                if not _target(base / name / "fd" / descriptor).startswith(_DEVICES):
                    continue
                facts = _facts(base / name / "fdinfo" / descriptor)
                clients[facts.get("drm-client-id", descriptor)] = facts  # one client may have many descriptors
            yield from ((int(name), facts) for facts in clients.values())


def _memory(card: Card) -> int | None:
    """Returns the memory of a card, where its driver tells it."""
    tiles = [number(card.folder / f"tile{tile}" / "physical_vram_size_bytes") for tile in range(4)]
    known = [size for size in tiles if size]
    return sum(known) if known else number(card.folder.parent / "lmem_total_bytes")


def _facts(path: Path) -> dict[str, str]:
    try:
        text = path.read_bytes()[:16_384].decode("utf-8", "replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _count(value: str | None) -> int:
    """Reads `12345 ns` and `678`."""
    number_text = (value or "").split(" ")[0]
    return int(number_text) if number_text.isdigit() and len(number_text) < 20 else 0


def _size(value: str | None) -> int:
    """Reads `12 KiB`, `3 MiB` and plain bytes."""
    unit = (value or "").rpartition(" ")[2]
    return _count(value) * {"KiB": 1 << 10, "MiB": 1 << 20}.get(unit, 1)


def _target(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
