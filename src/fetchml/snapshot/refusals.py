"""Why a project is not captured, for people."""

import stat
from pathlib import Path

from fetchml.errors import Refused
from fetchml.models.units import format_size
from fetchml.snapshot.found import Found, Limits
from fetchml.snapshot.tree import shown

_SHOWN = 10


def kind_of(mode: int) -> str:
    """Returns what something is that is no file, in words."""
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def too_large(root: Path, found: list[Found], total_bytes: int, limits: Limits) -> Refused:
    """Returns the refusal of a tree that is too large, with what takes the room."""
    sizes: dict[bytes, list[int]] = {}
    for item in found:
        # Name the folder at the top when many small files are the trouble, the file itself when it is large.
        key = item.path if item.status.st_size > limits.max_bytes // 20 else item.path.split(b"/")[0]
        entry = sizes.setdefault(key, [0, 0, 0])
        entry[0] += item.status.st_size
        entry[1] += 1
        entry[2] += item.status.st_blocks * 512  # stat(2)
    by = 0 if total_bytes > limits.max_bytes else 1
    largest = sorted(sizes.items(), key=lambda pair: -pair[1][by])[:_SHOWN]
    more = " or more" if len(found) > 4 * limits.max_files else ""
    lines = [
        f"- {shown(path)}  {format_size(size)} in {count} file{'s' if count > 1 else ''}"
        + (f", of which {format_size(on_disk)} on the disk: it has holes" if on_disk < size // 2 else "")
        for path, (size, count, on_disk) in largest
    ]
    return Refused(
        f"the code tree in `{root}` is too large: {format_size(total_bytes)} in {len(found)} files{more}",
        detail=f"allowed: {format_size(limits.max_bytes)} in {limits.max_files} files; the largest:\n"
        + "\n".join(lines),
        hint="list what is no code in .fetchmlignore, or raise `snapshot.max_size` and `snapshot.max_files`",
        code="snapshot-too-large",
    )


def refusal(summary: str, faults: list[str], hint: str, code: str = "snapshot-refused") -> Refused:
    """Returns a refusal that names the first faults and counts the others."""
    rest = [f"... and {len(faults) - 2 * _SHOWN} more"] if len(faults) > 2 * _SHOWN else []
    lines = [f"- {fault}" for fault in faults[: 2 * _SHOWN]] + rest
    return Refused(summary, detail="\n".join(lines), hint=hint, code=code)
