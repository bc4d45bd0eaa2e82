"""Twenty trivial runs, submitted one after the other by the command line, until the last one is done."""

import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.contest import Turn, enter, take_turns
from bench.context import PREFECT, TSP, Bench
from bench.results import OURS, Row, Wanted, compare

NAME = "throughput"
_ACCEPTED, _DONE = "wall, until all are accepted", "wall, until all are done"


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about a burst."""
    runs = 6 if bench.quick else 20
    with ExitStack() as workers:
        contestants = {
            OURS: enter(lambda: _ours(bench, runs)),
            PREFECT: enter(lambda: _stock(bench, workers, runs)),
            TSP: enter(lambda: _spooler(bench, runs)),
        }
        measured = take_turns("throughput", contestants, min(2, bench.count(2, 1)), warm_up=False)
    title = f"{runs} runs as processes, {bench.concurrency} at a time"
    return compare(title, measured, (Wanted(_DONE), Wanted(_ACCEPTED)))


def _ours(bench: Bench, runs: int) -> Turn:
    stack = bench.fetchml

    def done(run_ids: list[str]) -> None:
        for run_id in run_ids:
            stack.sealed_at(run_id)

    return _burst(runs, lambda: stack.queue("--engine", "process", "--cpus", "1", "--memory", "128M")[1], done)


def _stock(bench: Bench, workers: ExitStack, runs: int) -> Turn:
    prefect, pool = bench.prefect, "burst"
    prefect.deploy(pool, "process")
    workers.enter_context(prefect.worker(pool, "process", limit=bench.concurrency))
    return _burst(runs, lambda: prefect.submit(pool)[1], prefect.await_ended)


def _spooler(bench: Bench, runs: int) -> Turn:
    spooler = bench.spooler("spooler-burst", bench.concurrency)

    def done(jobs: list[str]) -> None:
        for job in jobs:
            spooler.run("-w", job)

    return _burst(runs, lambda: spooler.submit()[1], done)


def _burst(runs: int, submit: Callable[[], str], done: Callable[[list[str]], None]) -> Turn:
    def turn(_: int) -> dict[str, float]:
        began = time.monotonic()
        submitted = [submit() for _ in range(runs)]
        accepted_s = time.monotonic() - began
        done(submitted)
        return {_DONE: time.monotonic() - began, _ACCEPTED: accepted_s}

    return turn
