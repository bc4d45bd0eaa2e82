"""Asks the probe, and gives up on it in time."""

import ctypes
import math
import os
import platform
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from fetchml.gpus.readings import Readings
from fetchml.gpus.sysfs import AMD, INTEL, cards

DEADLINE_S = 5.0
"""After this long without an answer the drivers count as hanging."""

_KILL_AFTER_S = 60.0
"""A driver that wakes many devices may take this long; one that takes longer does not come back."""
_FAREWELL_S = 1.0
_ANSWER_MAX = 8 << 20
_CHUNK = 1 << 16

_readings: TypeAdapter[Readings] = TypeAdapter(Readings)


class Prober:
    """The caller's end of a probe: one process at most, whatever a driver does.

    A probe that hangs is left alone for a while, then killed. Until it is really gone, which a driver can keep it from,
    no other is started. Nothing here blocks for longer than it is told to.

    Args:
        command: Starts the probe; the default is fetchml's own.
        environ: Variables of the probe.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        command: tuple[str, ...] | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = command or (sys.executable, "-P", "-m", "fetchml.gpus.probe")
        self._environ = environ
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_at: float | None = None
        self._answer = bytearray()
        self._is_killed = False
        self.fault: str | None = None
        """Why there is no answer, in words."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def silence_s(self) -> float:
        """Seconds since the question that has no answer yet; 0 if there is none."""
        return 0.0 if self._asked_at is None else self._clock() - self._asked_at

    def ask(self) -> None:
        """Asks, unless an earlier question still has no answer."""
        if self._asked_at is not None or not self._is_ready():
            return
        process = self._process
        assert process is not None and process.stdin is not None  # noqa: S101, PT018  # it is ready
        try:
            process.stdin.write(b"look\n")
            process.stdin.flush()
            self._asked_at = self._clock()
        except OSError as error:
            self._end(f"the probe of the GPUs ended: {error.strerror or error}")

    def answer(self, timeout_s: float) -> Readings | None:
        """Returns the answer to the last question; None if there is none yet, or it is none.

        Args:
            timeout_s: How long to wait for it; 0 looks and returns.
        """
        deadline = self._clock() + timeout_s
        process = self._process
        while process is not None and process.stdout is not None and self._asked_at is not None:
            left = max(0.0, deadline - self._clock())
            if not _is_readable(process.stdout.fileno(), left):
                self.fault = f"the GPU drivers have not answered for {self.silence_s:.0f} s"
                if self.silence_s > _KILL_AFTER_S and not self._is_killed:
                    self._is_killed = True
                    process.kill()
                return None
            chunk = os.read(process.stdout.fileno(), _CHUNK)
            self._answer += chunk
            if not chunk or len(self._answer) > _ANSWER_MAX:
                return self._end("the probe of the GPUs broke off" if not chunk else "the probe of the GPUs babbles")
            if self._answer.endswith(b"\n"):
                return self._understood()
        return None

    def close(self) -> None:
        """Ends the probe; one that hangs is left to its driver."""
        self._end(None)

    def _understood(self) -> Readings | None:
        content, self._answer = bytes(self._answer), bytearray()
        self._asked_at = None
        try:
            found = _readings.validate_json(content)
        except ValidationError as error:
            return self._end(f"the probe of the GPUs answers in another shape ({error.error_count()} faults)")
        self.fault = None
        return found

    def _is_ready(self) -> bool:
        """Starts a probe if there is none."""
        if self._process is not None:
            if self._process.poll() is None and not self._is_killed:
                return True
            if self._process.poll() is None:
                return False  # killed, and still in its driver
            self._end(self.fault)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
                cwd="/",
                start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
                bufsize=0,
            )
        except OSError as error:
            self.fault = f"the probe of the GPUs cannot be started: {error.strerror or error}"
            return False
        self._is_killed = False
        return True

    def _end(self, fault: str | None) -> None:
        self.fault = fault
        is_busy, self._asked_at, self._answer = self._asked_at is not None, None, bytearray()
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if not is_busy:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_FAREWELL_S)
                return
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_FAREWELL_S)
            return
        process.returncode = -9  # it is in its driver for good: nobody waits for it any more


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()  # `select` knows no descriptor above 1023
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(math.ceil(timeout_s * 1000)))


def look(timeout_s: float = DEADLINE_S) -> Readings:
    """Asks once, in a process of its own.

    Returns:
        What was found; a fault says if there was no answer in time.
    """
    if not has_devices():
        return Readings()
    with Prober() as prober:
        prober.ask()
        found = prober.answer(timeout_s)
        return found if found is not None else Readings(faults=(prober.fault or "the GPU drivers do not answer",))


def has_devices(root: Path = Path("/")) -> bool:
    """Tells whether it is worth asking: there is a library of NVIDIA's, a card, or this is a Mac.

    It asks no driver, so it cannot hang; and where there is nothing it costs no process.
    """
    if platform.system() == "Darwin":
        return True
    if next(cards(root, AMD), None) or next(cards(root, INTEL), None):
        return True
    try:
        ctypes.CDLL("libnvidia-ml.so.1")  # the very name that NVIDIA's binding loads
    except OSError:
        return False
    return True
