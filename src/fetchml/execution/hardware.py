"""The fingerprint of this host that goes into a manifest."""

import os
import platform
from pathlib import Path

from fetchml.environment.system import host_system
from fetchml.gpus.discover import Discovery
from fetchml.models.host import host_name, total_memory_bytes
from fetchml.models.manifest import Hardware


def hardware(discovery: Discovery) -> Hardware:
    """Returns what this host is made of."""
    return Hardware(
        host=host_name(),
        platform=platform.platform(),
        system=host_system(),
        cpu_model=_cpu_model(),
        cpu_count=os.cpu_count() or 1,
        memory_bytes=total_memory_bytes(),
        gpus=discovery.inventory.devices,
        gpu_detection=discovery.inventory.detection,
        driver_version=discovery.inventory.driver_version,
        cuda_version=discovery.inventory.cuda_version,
    )


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or None
