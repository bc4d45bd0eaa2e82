"""Watches over the reading of data: how far it is, when to give up, and that it can be left.

A share that is gone does not answer with an error: the system call that asks it never returns, and no signal reaches
it. So data is read by a thread of its own, and whoever waits for it can be interrupted, report, and leave it behind.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from fetchml.errors import Unavailable
from fetchml.models.units import format_duration
from fetchml.snapshot.capture import Observe, Progress

DATA_UNAVAILABLE = "data-unavailable"
"""Code of the error for data that does not answer."""

_T = TypeVar("_T")
_LOOK_S = 0.2


class Stopped(Exception):
    """Whoever asked for the reading does not want it any more, or its time is up."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversight:
    """How long data may take, and who is told."""

    silence_s: float = 60.0
    """Time without a byte and without an entry of a folder after which the data counts as gone."""
    within_s: float | None = None
    """Time that all of it may take; None: no end."""
    observe: Observe | None = None
    """Told now and then how far it is."""
    should_stop: Callable[[], bool] = _never
    """Asked now and then whether to go on."""


class Tally:
    """How far a reading has come; several threads write it, one looks."""

    def __init__(self) -> None:
        self.pulse = 0
        """Grows with everything that happens."""
        self._lock = threading.Lock()
        self._stopped = False
        self._files = self._size_bytes = self._total_files = self._total_bytes = 0

    def stop(self) -> None:
        """Ends the threads at their next step."""
        self._stopped = True

    def tick(self) -> None:
        """Notes that there is life.

        Raises:
            Stopped: Nobody waits any more.
        """
        self.pulse += 1
        if self._stopped:
            raise Stopped

    def found(self, size_bytes: int) -> None:
        """Notes a file to read."""
        self._total_files += 1
        self._total_bytes += size_bytes
        self.tick()

    def known(self, size_bytes: int) -> None:
        """Notes that a file need not be read."""
        self._total_files -= 1
        self._total_bytes -= size_bytes
        self.tick()

    def read(self, size_bytes: int, files: int = 0) -> None:
        """Notes bytes that were read, and files that are done."""
        with self._lock:
            self._size_bytes += size_bytes
            self._files += files
        self.tick()

    def again(self) -> None:
        """Begins anew, as what was read has changed."""
        with self._lock:
            self._files = self._size_bytes = self._total_files = self._total_bytes = 0

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self._files, self._size_bytes, self._total_files, self._total_bytes)


class _Work(Generic[_T]):
    """A call in a thread of its own; the thread is left behind if nobody waits for its end."""

    def __init__(self, call: Callable[[], _T]) -> None:
        self._call = call
        self._result: _T
        self._error: BaseException | None = None
        self.done = threading.Event()
        threading.Thread(target=self._run, name="fetchml-data", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._error = error
        finally:
            self.done.set()

    def result(self) -> _T:
        if self._error is not None:
            raise self._error
        return self._result


def overseen(call: Callable[[], _T], place: Path | str, oversight: Oversight, tally: Tally | None = None) -> _T:
    """Returns what a call returns that reads data, unless the data does not answer.

    Args:
        call: Reads; in another thread.
        place: Where the data is, for the error.
        oversight: How long it may take, and who is told.
        tally: What the call notes its steps in; None for a call of one step.

    Raises:
        Unavailable: Nothing has happened for too long.
        Stopped: It is to be stopped, or its time is up.
    """
    tally = tally or Tally()
    work = _Work(call)
    began = heard_at = time.monotonic()
    pulse = tally.pulse
    try:
        while not work.done.wait(_LOOK_S):
            now = time.monotonic()
            if tally.pulse != pulse:
                pulse, heard_at = tally.pulse, now
            elif now - heard_at >= oversight.silence_s:
                raise silent(place, f"no byte and no entry for {format_duration(oversight.silence_s)}")
            if oversight.should_stop() or (oversight.within_s is not None and now - began >= oversight.within_s):
                raise Stopped
            if oversight.observe is not None:
                oversight.observe(tally.progress)
    finally:
        tally.stop()
    return work.result()


def silent(place: Path | str, detail: str) -> Unavailable:
    """Returns the error for data that does not answer."""
    return Unavailable(
        f"the data at `{place}` does not answer",
        detail=detail,
        hint="see whether the disk or share is there and its server is up; `datasets.timeout` says how long is waited",
        code=DATA_UNAVAILABLE,
    )
