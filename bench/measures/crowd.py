"""What a lab of years costs: lists, and the worker's look, with a long queue and many runs that have ended."""

import sys

from bench.calls import Call, call
from bench.contest import take_turns
from bench.context import Bench
from bench.results import OURS, Aim, Row, Wanted, compare
from bench.say import say
from bench.workspace import PAYLOADS, environment, tool

NAME = "crowd"
_ENDED, _QUEUED = 100_000, 10_000
_CPU, _WALL = "CPU", "wall"


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about a crowded store."""
    scale = 100 if bench.quick else 1
    ended, queued = _ENDED // scale, _QUEUED // scale
    home = bench.folder / "crowd" / "home"
    home.parent.mkdir()
    say(f"making {ended} runs that have ended and {queued} that wait")
    words = [sys.executable, str(PAYLOADS / "crowding.py"), str(home), str(ended), str(queued)]
    call(words, environment(HOME=home.parent), home.parent)
    env = environment(HOME=home.parent, FETCHML_HOME=home)
    crowd = f"{queued} runs that wait and {ended} that have ended"

    def status(_: int) -> dict[str, float]:
        return _cost(call([tool("fetchml"), "status"], env, home.parent))

    def look(_: int) -> dict[str, float]:
        words = [sys.executable, str(PAYLOADS / "looking.py"), str(queued)]
        wall_s, cpu_s = (float(word) for word in call(words, env, home.parent).output.split())
        return {_WALL: wall_s, _CPU: cpu_s}

    measured = take_turns("status, crowd", {OURS: status}, bench.count(9, 2), warm_up=True)
    rows = compare(f"`fetchml status` with {crowd}", measured, (Wanted(_WALL, Aim("seconds", 1)), Wanted(_CPU)))
    measured = take_turns("look, crowd", {OURS: look}, bench.count(5, 2), warm_up=True)
    title = f"a worker's look at the store with {crowd}, when nothing has changed"
    return rows + compare(title, measured, (Wanted(_WALL, Aim("seconds", 0.1)), Wanted(_CPU)))


def _cost(done: Call) -> dict[str, float]:
    return {_CPU: done.cpu_s, _WALL: done.wall_s}
