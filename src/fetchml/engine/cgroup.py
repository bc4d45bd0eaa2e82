"""What a container has used, read from its control group on this host.

Reading the files takes 0.2 ms; asking the engine takes one to two seconds an answer.
"""

from pathlib import Path

from fetchml.engine.port import Usage

_ROOT = Path("/sys/fs/cgroup")


def cgroup_usage(pid: int, root: Path = _ROOT) -> Usage:
    """Returns the use of the control group a process is in; empty where the files cannot be read.

    Source: Linux kernel documentation, cgroup-v1/memory, cgroup-v1/cpuacct and cgroup-v2 (`memory.peak`, `cpu.stat`).
    """
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return Usage()
    paths: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path.lstrip("/")
    if "memory" in paths:
        peak = _number(root / "memory" / paths["memory"] / "memory.max_usage_in_bytes")
        nanoseconds = _number(root / "cpuacct" / paths.get("cpuacct", "") / "cpuacct.usage")
        return Usage(None if nanoseconds is None else nanoseconds / 1e9, peak)
    own = root / paths.get("", "")
    microseconds = _field(own / "cpu.stat", "usage_usec")
    return Usage(None if microseconds is None else microseconds / 1e6, _number(own / "memory.peak"))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return None
