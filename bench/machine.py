"""Facts about the machine and the versions, without which no number means anything."""

import os
import platform
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import fetchml


def machine_facts(folder: Path) -> dict[str, str]:
    """Returns what the numbers were measured on.

    Args:
        folder: Where the runs are kept; its disk is asked how long `fsync` takes.
    """
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{memory_gib:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "fsync of 4 KiB": f"{_fsync_s(folder) * 1000:.2f} ms",
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "fetchml": fetchml.__version__,
        "Prefect": version("prefect"),
        "prefect-docker": version("prefect-docker"),
        "Docker": _first_line("docker", "version", "--format", "{{.Server.Version}}"),
        "task-spooler": _first_line("tsp", "-V").removeprefix("Task Spooler ").partition(" - ")[0],
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _fsync_s(folder: Path) -> float:
    path = folder / "fsync"
    seconds: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(9):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(seconds)


def _first_line(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return (done.stdout or done.stderr).partition("\n")[0].strip()
