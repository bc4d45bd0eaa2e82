"""The graphics cards that Linux lists, and the small files about them.

Source: Linux kernel documentation, `gpu/amdgpu/thermal.rst`, `gpu/amdgpu/driver-misc.rst`, `hwmon/sysfs-interface.rst`.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fetchml.gpus.readings import device_id, tidy

AMD, INTEL = "0x1002", "0x8086"

_CARD = re.compile(r"card([0-9]+)")
_RENDER = re.compile(r"renderD([0-9]+)")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_LINE_MAX = 4096


@dataclass(frozen=True, slots=True)
class Card:
    """One card, as the kernel lists it."""

    folder: Path
    """`/sys/class/drm/card*/device`."""
    address: str
    """On the PCI bus; the same after a reboot as long as nothing is plugged over."""
    driver: str

    @property
    def render_minor(self) -> int | None:
        """Number of its render node."""
        found = [int(match[1]) for match in map(_RENDER.fullmatch, _listed(self.folder / "drm")) if match]
        return min(found, default=None)

    @property
    def render_node(self) -> str | None:
        """Device file to compute with."""
        return None if self.render_minor is None else f"/dev/dri/renderD{self.render_minor}"

    def sensor(self, *names: str) -> int | None:
        """Returns the first of some sensors that can be read."""
        for monitor in sorted(_listed(self.folder / "hwmon")):
            for name in names:
                value = number(self.folder / "hwmon" / monitor / name)
                if value is not None:
                    return value
        return None

    @property
    def temperature_c(self) -> float | None:
        """Degrees; the sensor counts in thousandths."""
        value = self.sensor("temp1_input")
        return None if value is None else value / 1000


def cards(root: Path, vendor: str) -> Iterator[Card]:
    """Yields the cards of one maker, by their address.

    Args:
        root: Where `/sys` is.
        vendor: Number of the maker, as in the file `vendor`.
    """
    base = root / "sys/class/drm"
    found: dict[str, Card] = {}
    for name in _listed(base):
        folder = base / name / "device"
        if not _CARD.fullmatch(name) or text(folder / "vendor") != vendor:
            continue
        facts = dict(line.split("=", 1) for line in lines(folder / "uevent") if "=" in line)
        address = device_id(facts.get("PCI_SLOT_NAME") or os.path.basename(os.path.realpath(folder))).lower()
        if _ADDRESS.fullmatch(address):
            found[address] = Card(folder, address, facts.get("DRIVER", ""))
    yield from (card for _, card in sorted(found.items()))


def text(path: Path) -> str:
    """Returns the first line of a file; empty if it cannot be read."""
    return next(iter(lines(path)), "")


def lines(path: Path) -> list[str]:
    """Returns the lines of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return [tidy(line, 128) for line in file.read(_LINE_MAX).splitlines()]
    except OSError:
        return []


def number(path: Path) -> int | None:
    """Returns the whole number in a file; None if there is none."""
    return _whole(text(path))


def properties(path: Path) -> dict[str, int]:
    """Returns the numbers of a file of `name number` lines."""
    pairs = (line.partition(" ") for line in lines(path))
    found = {name: _whole(value.strip()) for name, _, value in pairs}
    return {name: value for name, value in found.items() if value is not None}


def _whole(value: str) -> int | None:
    return int(value) if value.removeprefix("-").isdigit() and value.isascii() and len(value) < 20 else None


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
