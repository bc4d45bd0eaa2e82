"""From just before the submit command is started to the payload's own first moment."""

import random
import time
from contextlib import ExitStack

from bench import docker_host
from bench.contest import Turn, enter, take_turns
from bench.context import PREFECT, TSP, Bench
from bench.prefect_stack import DEFAULT_POLL_S, PrefectStack
from bench.results import OURS, Aim, Row, Wanted, compare
from bench.stamps import Stamp

NAME = "submit"
_QUANTITY = "wall"
_TUNED_POLL_S = 1.0
_TUNED = f"Prefect polling every {_TUNED_POLL_S:g} s"
_AIM = Wanted(_QUANTITY, Aim("ratio", 0.1), against=(PREFECT,))


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about processes and about containers."""
    return [*_processes(bench), *_containers(bench)]


def _processes(bench: Bench) -> list[Row]:
    count = bench.count(7, 2)
    with ExitStack() as workers:
        contestants = {
            OURS: enter(lambda: _ours(bench, "--engine", "process")),
            PREFECT: enter(lambda: _stock(bench.prefect, workers, "process", count)),
            _TUNED: enter(lambda: _stock(bench.prefect, workers, "process", count, poll_s=_TUNED_POLL_S)),
            TSP: enter(lambda: _spooler(bench)),
        }
        measured = take_turns("submit to start, process", contestants, count, warm_up=True)
    return compare("submit to start, as a process", measured, (_AIM,))


def _containers(bench: Bench) -> list[Row]:
    count = bench.count(7, 2)
    with ExitStack() as workers:

        def ours() -> Turn:
            return _ours(bench, "--engine", "docker", "--image", docker_host.require_base_image())

        def stock(poll_s: float | None = None) -> Turn:
            image = docker_host.prefect_image(bench.folder / "prefect-image")
            return _stock(bench.prefect, workers, "docker", count, image=image, poll_s=poll_s)

        contestants = {OURS: enter(ours), PREFECT: enter(stock), _TUNED: enter(lambda: stock(_TUNED_POLL_S))}
        measured = take_turns("submit to start, docker", contestants, count, warm_up=True)
    return compare("submit to start, in a Docker container", measured, (_AIM,))


def _ours(bench: Bench, *options: str) -> Turn:
    stack = bench.fetchml

    def turn(_number: int) -> dict[str, float]:
        done, run_id = stack.queue(*options)
        stamp = stack.stamp(run_id)
        stack.settle(run_id)
        return _elapsed(done.started_ns, stamp)

    return turn


def _stock(
    prefect: PrefectStack,
    workers: ExitStack,
    kind: str,
    count: int,
    *,
    image: str | None = None,
    poll_s: float | None = None,
) -> Turn:
    pool = kind if poll_s is None else f"{kind}-tuned"
    prefect.deploy(pool, kind, image)
    workers.enter_context(prefect.worker(pool, kind, poll_s=poll_s))
    wait_s = DEFAULT_POLL_S if poll_s is None else poll_s

    def turn(number: int) -> dict[str, float]:
        if number >= 0:
            # Users do not submit in step with the worker's poll, and rounds of equal length would: each turn gets
            # its own part of the interval.
            time.sleep((number + random.random()) / count * wait_s)
        done, flow_run_id, path = prefect.submit(pool)
        stamp = prefect.stamp(flow_run_id, path)
        prefect.await_ended([flow_run_id])
        return _elapsed(done.started_ns, stamp)

    return turn


def _spooler(bench: Bench) -> Turn:
    spooler = bench.spooler("spooler-start")

    def turn(_number: int) -> dict[str, float]:
        done, _, path = spooler.submit()
        return _elapsed(done.started_ns, spooler.stamp(path))

    return turn


def _elapsed(started_ns: int, stamp: Stamp) -> dict[str, float]:
    return {_QUANTITY: (stamp.began_ns - started_ns) / 1e9}
