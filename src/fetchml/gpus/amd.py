"""AMD GPUs, read from the files of the kernel's drivers `amdgpu` and `amdkfd`; no library of ROCm is needed."""

import os
from dataclasses import dataclass
from pathlib import Path

from fetchml.gpus.processes import described
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from fetchml.gpus.sysfs import AMD, Card, cards, number, properties, text

_KFD = "/dev/kfd"
_SMALLEST_CARD_BYTES = 2 << 30
"""Cards with less are the graphics parts of processors: what they have was taken from the host at boot."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A compute node of the kernel's list, which ROCm numbers devices by."""

    ordinal: int
    gpu_id: int
    model: str
    has_cpu: bool


class AmdReader:
    """Reads the AMD GPUs of this host.

    Args:
        root: Where `/sys`, `/dev` and `/proc` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def read(self) -> Readings:
        """Returns the GPUs that can compute, in the order of their addresses."""
        found = list(cards(self._root, AMD))
        if not found:
            return Readings()
        nodes = self._nodes()
        devices = tuple(
            self._device(card, node)
            for card in found
            if (node := nodes.get(card.render_minor if card.render_minor is not None else -1)) is not None
        )
        faults = () if devices else ("the AMD devices here cannot compute: the driver `amdkfd` lists none of them",)
        return Readings(devices, ("sysfs",) if devices else (), faults=faults)

    def _nodes(self) -> dict[int, _Node]:
        """Returns the compute nodes by the number of their render node."""
        base = self._root / "sys/class/kfd/kfd/topology/nodes"
        try:
            numbers = sorted(int(name) for name in os.listdir(base) if name.isdigit())
        except OSError:
            return {}
        found: dict[int, _Node] = {}
        for name in map(str, numbers):
            facts = properties(base / name / "properties")
            gpu_id = number(base / name / "gpu_id") or 0
            if gpu_id and facts.get("simd_count", 0) > 0:
                model = text(base / name / "name")
                has_cpu = facts.get("cpu_cores_count", 0) > 0
                found[facts.get("drm_render_minor", -1)] = _Node(len(found), gpu_id, model, has_cpu)
        return found

    def _device(self, card: Card, node: _Node) -> DeviceReading:
        unique = text(card.folder / "unique_id").lower().removeprefix("0x")
        is_named = len(unique) <= 16 and unique.strip("0123456789abcdef") == "" and unique.strip("0") != ""
        total = number(card.folder / "mem_info_vram_total")
        used = number(card.folder / "mem_info_vram_used")
        is_integrated = node.has_cpu or (total is not None and total < _SMALLEST_CARD_BYTES)
        shared = number(card.folder / "mem_info_gtt_total") if is_integrated else None
        power = card.sensor("power1_average", "power1_input")
        return DeviceReading(
            # ROCm names a device like this; where it has no number of its own its place on the bus has to do.
            f"GPU-{unique:0>16}" if is_named else card.address,
            "amd",
            model=text(card.folder / "product_name") or node.model or "AMD GPU",
            memory_bytes=total if shared is None else shared,
            used_bytes=used if shared is None else number(card.folder / "mem_info_gtt_used"),
            has_host_memory=shared is not None,
            is_integrated=is_integrated,
            nodes=(_KFD, card.render_node) if card.render_node is not None else (_KFD,),
            ordinal=node.ordinal,
            utilisation_percent=_percent(number(card.folder / "gpu_busy_percent")),
            temperature_c=card.temperature_c,
            power_w=None if power is None else round(power / 1e6, 1),
            processes=self._processes(node.gpu_id),
            error="its memory cannot be read" if total is None else None,
        )

    def _processes(self, gpu_id: int) -> tuple[GpuProcess, ...] | None:
        base = self._root / "sys/class/kfd/kfd/proc"
        try:
            pids = sorted(int(name) for name in os.listdir(base) if name.isdigit())
        except OSError:
            return None
        used = ((pid, number(base / str(pid) / f"vram_{gpu_id}")) for pid in pids)
        listed = (described(GpuProcess(pid, size), self._root) for pid, size in used if size)
        return tuple(item for item in listed if item is not None)


def _percent(value: int | None) -> float | None:
    return float(value) if value is not None and 0 <= value <= 100 else None
