"""Hosts of a simulated lab, from a few words."""

import re

from fetchml.admission.lab import HostState
from fetchml.errors import ConfigError
from fetchml.models.resources import Device, GpuVendor, HostCapacity
from fetchml.models.units import TIB, parse_size

_AMPLE_CPUS = 4096.0
_AMPLE_BYTES = 512 * TIB
_GROUP = re.compile(r"([0-9]{1,3})x([0-9]{1,2})(?::([^:,]+))?", re.ASCII)
_MOST_HOSTS = 256


def hosts_of(text: str) -> tuple[HostState, ...]:
    """Returns hosts with so many GPUs each; cores and memory are ample.

    Args:
        text: Groups such as `2x8,1x4:24G`: two hosts of 8 GPUs, one of 4 with 24 GB each.

    Raises:
        ConfigError: The text is none.
    """
    states: list[HostState] = []
    for group in text.split(","):
        match = _GROUP.fullmatch(group.strip())
        if match is None:
            raise ConfigError(
                f"--hosts: `{group.strip()[:40]}` is no group of hosts",
                hint="write HOSTSxGPUS, with the memory of a GPU if it counts: `2x8` or `2x8,1x4:24G`",
            )
        memory = parse_size(match[3]) if match[3] else None
        for _ in range(int(match[1])):
            name = f"host{len(states) + 1}"
            devices = tuple(
                Device(id=f"{name}-gpu{number}", vendor=GpuVendor.NVIDIA, memory_bytes=memory)
                for number in range(int(match[2]))
            )
            capacity = HostCapacity(host=name, cpus=_AMPLE_CPUS, memory_bytes=_AMPLE_BYTES, devices=devices)
            states.append(HostState(capacity))
    if not 0 < len(states) <= _MOST_HOSTS:
        raise ConfigError(f"--hosts: `{text[:40]}` is {len(states)} hosts", detail=f"expected 1 to {_MOST_HOSTS}")
    return tuple(states)
