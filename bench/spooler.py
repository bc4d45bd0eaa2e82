"""Task-spooler: a queue server of its own, reached through its own socket."""

import shutil
import sys
from pathlib import Path

from bench.calls import Call, call
from bench.stamps import Stamp, await_stamp
from bench.waiting import Failed
from bench.workspace import PAYLOADS, environment


class Spooler:
    """One task-spooler server.

    Args:
        path: Folder for its socket, its outputs and what payloads write.
        slots: Jobs at a time.

    Raises:
        Failed: It is not installed.
    """

    def __init__(self, path: Path, slots: int = 1) -> None:
        if shutil.which("tsp") is None:
            raise Failed("there is no `tsp` (Debian package task-spooler)")
        path.mkdir(parents=True)
        self._path = path
        self._stamp_count = 0
        self._env = environment(HOME=path, TMPDIR=path, TS_SOCKET=path / "socket", TS_SLOTS=str(slots))

    def run(self, *words: str) -> Call:
        """Calls `tsp`."""
        return call(["tsp", *words], self._env, self._path)

    def submit(self) -> tuple[Call, str, Path]:
        """Queues the payload; returns the call, the job's number and where its stamp will be."""
        self._stamp_count += 1
        path = self._path / f"{self._stamp_count}.json"
        done = self.run(sys.executable, str(PAYLOADS / "stamp.py"), str(path))
        return done, done.output.strip(), path

    def stamp(self, path: Path) -> Stamp:
        """Waits for a payload's stamp."""
        return await_stamp(path, "task-spooler")

    def close(self) -> None:
        """Ends the server behind this socket."""
        if (self._path / "socket").exists():
            self.run("-K")
