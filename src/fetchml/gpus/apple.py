"""The GPU of a Mac, which is a part of its processor and shares its memory."""

import platform
import re
import subprocess
from collections.abc import Callable

from fetchml.gpus.readings import DeviceReading, Readings, tidy

Run = Callable[[tuple[str, ...]], str]
"""Runs a program and returns what it prints; empty if it fails."""

_BUSY = re.compile(r'"Device Utilization %"=([0-9]{1,3})\b')
_USED = re.compile(r'"In use system memory"=([0-9]{1,15})\b')
_TIMEOUT_S = 4


def _run(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


class AppleReader:
    """Reads the GPU of this host, if it is a Mac with Apple's own processor.

    Args:
        system: Name of the operating system and of the processor's instruction set.
        run: Runs a program.
    """

    def __init__(self, system: tuple[str, str] | None = None, run: Run = _run) -> None:
        self._system = system or (platform.system(), platform.machine())
        self._run = run

    def read(self) -> Readings:
        """Returns the one GPU there is; nothing on another system."""
        if self._system != ("Darwin", "arm64"):
            return Readings()
        memory = self._run(("sysctl", "-n", "hw.memsize")).strip()
        state = self._run(("ioreg", "-r", "-d", "1", "-c", "IOAccelerator"))
        busy, used = _BUSY.search(state), _USED.search(state)
        device = DeviceReading(
            "apple-gpu",  # a Mac has one, so the name is as stable as the machine
            "apple",
            model=tidy(self._run(("sysctl", "-n", "machdep.cpu.brand_string"))) or "Apple GPU",
            memory_bytes=int(memory) if memory.isdigit() and len(memory) < 16 else None,
            used_bytes=int(used[1]) if used else None,
            has_host_memory=True,
            ordinal=0,
            utilisation_percent=float(busy[1]) if busy and int(busy[1]) <= 100 else None,
        )
        return Readings((device,), ("metal",))
