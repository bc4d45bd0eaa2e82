"""How fast a large file is hashed: beside the same bytes in memory, and beside `sha256sum`."""

import os
import sys
from pathlib import Path

from bench.calls import call
from bench.contest import Turn, take_turns
from bench.context import Bench
from bench.results import OURS, Aim, Row, Wanted, compare
from bench.workspace import PAYLOADS, environment

NAME = "hashing"
_BYTES = 2_000_000_000
_BLOCK = 1_000_000
_SHARE = 0.85
"""Of the speed in memory, at least; what is left pays for reading from the page cache."""
_WALL = "wall"
_MEMORY = "`hashlib` in memory"


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about one large file, which lies in the page cache."""
    size_bytes = _BYTES // 10 if bench.quick else _BYTES
    path = bench.folder / "large"
    with path.open("wb") as file:
        for _ in range(size_bytes // _BLOCK):
            file.write(os.urandom(_BLOCK))
    contestants: dict[str, Turn] = {
        OURS: _inside(bench, "dataset", path),
        _MEMORY: _inside(bench, "memory", size_bytes),
        "`sha256sum`": lambda _: {_WALL: call(["sha256sum", str(path)], environment(), bench.folder).wall_s},
    }
    title = f"SHA-256 of a dataset of one file, {size_bytes / 1e9:g} GB"
    measured = take_turns("hashing", contestants, bench.count(5, 2), warm_up=True)
    path.unlink()
    return compare(title, measured, (Wanted(_WALL, Aim("ratio", round(1 / _SHARE, 3)), (_MEMORY,)),))


def _inside(bench: Bench, kind: str, what: Path | int) -> Turn:
    """Returns what starts a new process, which says itself how long the hashing took."""
    words = [sys.executable, str(PAYLOADS / "hashing.py"), kind, str(what)]
    return lambda _: {_WALL: float(call(words, environment(), bench.folder).output)}
