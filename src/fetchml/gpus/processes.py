"""Who a process is: its user, its command, and the run it was started for."""

import os
import pwd
from dataclasses import replace
from pathlib import Path

from fetchml.gpus.readings import GpuProcess, tidy

RUN_VARIABLE = b"FETCHML_RUN_ID="
_NAME_LENGTH = 40
_GENERATIONS = 64


def described(found: GpuProcess, root: Path = Path("/")) -> GpuProcess | None:
    """Returns a process with what can be said of it; None if it has ended.

    Args:
        found: Its id, and what the driver knows.
        root: Where `/proc` is.
    """
    folder = root / "proc" / str(found.pid)
    try:
        owner = os.stat(folder).st_uid
    except FileNotFoundError:
        # Where others' processes are hidden, what the driver names is there all the same.
        return found if _lives(found.pid) and root == Path("/") else None
    except OSError:
        return found
    return replace(
        found,
        user=_name_of(owner),
        command=_command(folder),
        run_id=_run_id(folder),
        cgroup=_read(folder / "cgroup").decode("utf-8", "replace"),
        ancestors=_ancestors(folder),
    )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(folder: Path) -> str | None:
    words = _read(folder / "cmdline").split(b"\0")
    name = os.path.basename(words[0]) or _read(folder / "comm")
    return tidy(name, _NAME_LENGTH) or None


def _run_id(folder: Path) -> str | None:
    for variable in _read(folder / "environ").split(b"\0"):
        if variable.startswith(RUN_VARIABLE):
            return tidy(variable.removeprefix(RUN_VARIABLE)) or None
    return None


def _ancestors(folder: Path) -> tuple[int, ...]:
    found: list[int] = []
    while len(found) < _GENERATIONS:
        # The name stands in brackets and may hold anything, brackets too.
        fields = _read(folder / "stat").rpartition(b")")[2].split()
        parent = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
        if parent <= 0:
            break
        found.append(parent)
        folder = folder.parent / str(parent)
    return tuple(found)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
