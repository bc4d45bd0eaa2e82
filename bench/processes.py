"""Background processes of the bench: started with a log, stopped by pid, and none left behind."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.waiting import Failed, until

_GRACE_S = 20


class Background:
    """One background process in a session of its own, so that a Ctrl-C reaches it only through `stop`.

    Args:
        words: The command.
        env: Its environment.
        log: Where its output goes.
    """

    def __init__(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                words,
                env=env,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    def require_alive(self) -> None:
        """Raises if it has ended.

        Raises:
            Failed: With the end of its log.
        """
        if self._process.poll() is not None:
            last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise Failed(f"`{self.log.stem}` ended with {self._process.returncode}: {' / '.join(last)}")

    def stop(self) -> None:
        """Ends it: SIGTERM, then SIGKILL."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def end_marked(variable: str, value: str, grace_s: float = 10) -> None:
    """Ends every process that was started with a variable: those of one folder of this bench, and no others.

    Args:
        variable: Name of an environment variable that holds a folder made for this run of the bench.
        value: The folder.
        grace_s: Seconds they get to end by themselves.
    """
    mark = os.fsencode(f"{variable}={value}")
    try:
        until(lambda: not _marked(mark), "leftovers", grace_s)
    except Failed:
        for pid in _marked(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _marked(mark: bytes) -> list[int]:
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with suppress(OSError):
                if mark in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
    return found
