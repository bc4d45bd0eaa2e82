"""What a run in a container costs over the container alone, from submission to a sealed record."""

from bench import docker_host
from bench.calls import call
from bench.contest import Turn, enter, take_turns
from bench.context import Bench
from bench.results import OURS, Aim, Row, Wanted, compare
from bench.workspace import environment

NAME = "overhead"
_BARE = "`docker run --rm`"
_TOTAL = "wall"
_SEALED, _RETURNED = "wall, payload's end to the seal", "wall, payload's end to the return of `--wait`"
_PROGRAM = "import json, os, sys, time; print(json.dumps({'began_ns': time.time_ns()}))"


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about the whole run and about its end."""
    contestants = {OURS: enter(lambda: _ours(bench)), _BARE: enter(lambda: _bare(bench))}
    measured = take_turns("overhead", contestants, bench.count(9, 2), warm_up=True)
    title = f"`fetchml queue --wait` on the Docker engine, `docker run --rm {docker_host.BASE_IMAGE}`"
    rows = compare(title, measured, (Wanted(_TOTAL, Aim("difference", 1.0)),))
    return rows + compare(title, {OURS: measured[OURS]}, (Wanted(_SEALED), Wanted(_RETURNED)))


def _ours(bench: Bench) -> Turn:
    image, stack = docker_host.require_base_image(), bench.fetchml

    def turn(_: int) -> dict[str, float]:
        done, run_id = stack.queue("--wait", "--engine", "docker", "--image", image)
        ended_s = stack.stamp(run_id).ended_ns / 1e9
        sealed_s = stack.sealed_at(run_id).timestamp()
        stack.settle(run_id)
        returned_s = done.started_ns / 1e9 + done.wall_s
        return {_TOTAL: done.wall_s, _SEALED: sealed_s - ended_s, _RETURNED: returned_s - ended_s}

    return turn


def _bare(bench: Bench) -> Turn:
    env = environment(HOME=bench.folder)
    words = ["docker", "run", "--rm", docker_host.require_base_image(), "python3", "-c", _PROGRAM]
    return lambda _: {_TOTAL: call(words, env, bench.folder).wall_s}
