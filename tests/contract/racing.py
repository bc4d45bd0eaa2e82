"""Many callers at one moment: threads at a barrier, processes at a gate."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")

_GATE = """
import sys

def gate():
    print("ready", flush=True)
    sys.stdin.readline()

"""


def in_threads(count: int, work: Callable[[int], T]) -> list[T]:
    """Calls `work(number)` in that many threads at one moment and returns what they returned."""
    barrier = threading.Barrier(count)

    def held(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(held, range(count)))


def in_processes(count: int, program: str, *arguments: object) -> list[str]:
    """Runs a program in that many processes and returns what each printed.

    Args:
        count: How many.
        program: Python; it calls `gate()` once, where all of them wait for each other.
        arguments: Its arguments; the number of the process comes first.
    """
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _GATE + program, str(number), *map(str, arguments)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(count)
        ]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=60)[0] for process in running]
        assert [process.returncode for process in running] == [0] * count
        return printed
