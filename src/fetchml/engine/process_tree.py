"""What a plain process and everything it started has used, read from `/proc`.

The kernel adds what a process used to its parent when that has waited for it, so that the tree below a supervisor knows
what has ended, too (proc(5): `cutime`, `cstime`; `io` likewise).
"""

import os
from collections.abc import Iterable
from pathlib import Path

from fetchml.engine.port import Usage

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAX_PROCESSES = 4096


def tree_usage(supervisor: int, proc: Path = _PROC) -> Usage:
    """Returns the use of all that a process started, without its own; empty if it is gone.

    Args:
        supervisor: The process whose children count.
        proc: Where `/proc` is.
    """
    tree = _descendants(supervisor, proc)
    own = _fields(proc / str(supervisor))
    if own is None:
        return Usage()
    cpu_ticks = sum(own[15:17])  # of children that have ended
    resident = 0
    for pid in tree:
        fields = _fields(proc / str(pid))
        if fields is not None:
            cpu_ticks += sum(fields[13:17])
            resident += fields[23]
    read, written = _sums(_io(proc / str(pid)) for pid in (supervisor, *tree))
    return Usage(
        cpu_s=cpu_ticks / _TICKS,
        memory_bytes=resident * _PAGE,
        read_bytes=read,
        written_bytes=written,
        pid=supervisor,
    )


def tree_io(first: int, proc: Path = _PROC) -> tuple[int | None, int | None]:
    """Returns what a process and everything it started has read from and written to disks; None if it may not be seen.

    Args:
        first: The process.
        proc: Where `/proc` is.
    """
    return _sums(_io(proc / str(pid)) for pid in (first, *_descendants(first, proc)))


def _sums(counted: Iterable[tuple[int, int] | None]) -> tuple[int | None, int | None]:
    known = [item for item in counted if item is not None]
    return (sum(read for read, _ in known), sum(written for _, written in known)) if known else (None, None)


def _descendants(root: int, proc: Path) -> list[int]:
    found: list[int] = []
    pending = [root]
    while pending and len(found) < _MAX_PROCESSES:
        children = _children(pending.pop(), proc)
        found += children
        pending += children
    return found


def _children(pid: int, proc: Path) -> list[int]:
    """Returns the children of a process; each of its threads may have some."""
    found: list[int] = []
    try:
        for thread in os.listdir(proc / str(pid) / "task"):
            found += [int(child) for child in (proc / str(pid) / "task" / thread / "children").read_bytes().split()]
    except (OSError, ValueError):
        pass
    return found


def _fields(folder: Path) -> list[int] | None:
    """Returns the numbers of `stat`, by the positions of proc(5) less one; what is no number is 0."""
    try:
        after_name = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    numbers = [int(field) if field.lstrip(b"-").isdigit() else 0 for field in after_name]
    return [0, 0, *numbers] if len(numbers) > 22 else None


def _io(folder: Path) -> tuple[int, int] | None:
    """Returns bytes that were really read from and written to disks; None if they may not be seen."""
    counted = {b"read_bytes": 0, b"write_bytes": 0}
    try:
        for line in (folder / "io").read_bytes().splitlines():
            name, _, value = line.partition(b":")
            if name in counted:
                counted[name] = int(value)
    except (OSError, ValueError):
        return None
    return counted[b"read_bytes"], counted[b"write_bytes"]
