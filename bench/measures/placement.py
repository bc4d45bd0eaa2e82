"""How long one look at a long queue takes: who starts where, and why the others wait."""

import sys

from bench.calls import call
from bench.contest import take_turns
from bench.context import Bench
from bench.results import OURS, Aim, Row, Wanted, compare
from bench.workspace import PAYLOADS, environment

NAME = "placement"
_RUNS = 10_000
_LIMIT_S = 0.05
_WALL, _CPU = "wall", "CPU"
_STATES = {"idle": 0, "half in use": 4, "all in use": 8}
"""GPUs in use on each of eight hosts with eight."""


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about a queue, one for each state of the lab; the second call of a new process counts."""
    runs = _RUNS // 10 if bench.quick else _RUNS
    rows: list[Row] = []
    for state, held in _STATES.items():

        def turn(_: int, held: int = held) -> dict[str, float]:
            words = [sys.executable, str(PAYLOADS / "deciding.py"), str(runs), str(held)]
            wall_s, cpu_s = (float(word) for word in call(words, environment(), bench.folder).output.split())
            return {_WALL: wall_s, _CPU: cpu_s}

        measured = take_turns("placement", {OURS: turn}, bench.count(9, 2), warm_up=True)
        title = f"`decide()` over {runs} runs that wait for 64 GPUs, {state}"
        rows += compare(title, measured, (Wanted(_WALL, Aim("seconds", _LIMIT_S)), Wanted(_CPU)))
    return rows
