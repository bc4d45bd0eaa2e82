"""Calls a command and counts what it costs: CPU seconds of it and its children, wall time, time to its answer."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.waiting import TIMEOUT_S, Failed


@dataclass(frozen=True, slots=True)
class Call:
    """A finished call."""

    started_ns: int
    """Just before it was started, in nanoseconds since 1970."""
    cpu_s: float
    """User and system time, from the rusage of `wait4`."""
    wall_s: float
    answer_s: float
    """Until the first line on stdout, or until the end if there was none."""
    output: str


def call(words: Sequence[str], env: Mapping[str, str], cwd: Path) -> Call:
    """Runs a command to its end.

    Raises:
        Failed: It exits with anything but 0, or takes too long.
    """
    with tempfile.TemporaryFile() as errors:
        started_ns, began = time.time_ns(), time.perf_counter()
        process = subprocess.Popen(
            words, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            with process.stdout as stdout:
                first = stdout.readline()
                answered = time.perf_counter()
                rest = stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            ended = time.perf_counter()
        except BaseException:
            process.kill()
            raise
        finally:
            watchdog.cancel()
        if process.returncode != 0:
            errors.seek(0)
            said = (errors.read() or rest or first).decode(errors="replace").strip().splitlines()[-5:]
            shown = " ".join([os.path.basename(words[0]), *words[1:4]])
            raise Failed(f"`{shown}` ended with {process.returncode}: {' / '.join(said)}")
        return Call(
            started_ns=started_ns,
            cpu_s=usage.ru_utime + usage.ru_stime,
            wall_s=ended - began,
            answer_s=(answered if first else ended) - began,
            output=(first + rest).decode(errors="replace"),
        )
