"""Background processes of this host that survive the shell: started once, found again, stopped by pid.

A process is alive exactly as long as its lock is held. The lock is taken before it starts and inherited by it, so there
is no moment in which two callers could both start one, and no pid file that outlives its process.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fetchml import durable
from fetchml.errors import Unavailable

_POLL_S = 0.05
_LOG_CAP_BYTES = 16 * 1024 * 1024


def detach(
    command: Sequence[str],
    log: BinaryIO,
    environment: Mapping[str, str],
    folder: Path,
    inherited: Sequence[int] = (),
) -> int:
    """Starts a process in a session of its own, which outlives this one; returns its pid.

    Args:
        command: What to run.
        log: Gets what it prints.
        environment: Its environment, whole.
        folder: Where it runs.
        inherited: Descriptors that it gets.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=dict(environment),
        cwd=folder,
        pass_fds=inherited,
        start_new_session=True,
    )
    process.returncode = 0  # nobody here ever waits for it
    return process.pid


@dataclass(frozen=True, slots=True)
class Daemon:
    """A named background process below a folder."""

    folder: Path
    name: str

    @property
    def lock(self) -> Path:
        """Held by the process for as long as it lives."""
        return self.folder / f"{self.name}.lock"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Its pid; meaningful only while the lock is held."""
        return self.folder / f"{self.name}.pid"

    def is_alive(self) -> bool:
        """Tells whether the process lives."""
        return is_locked(self.lock)

    def pid(self) -> int | None:
        """Returns the pid of the living process, or None."""
        if not self.is_alive():
            return None
        with suppress(OSError, ValueError):
            return int(self.pid_file.read_text(encoding="ascii"))
        return None

    def start(self, command: Sequence[str], environment: Mapping[str, str], inherited: Sequence[int] = ()) -> bool:
        """Starts the process in a session of its own, with its output in the log.

        Args:
            command: Program and arguments.
            environment: Its variables, all of them.
            inherited: Descriptors that it gets beside its lock.

        Returns:
            True if this call started it, False if it was alive.
        """
        durable.make_folder(self.folder, mode=0o700)
        with durable.translated("open", self.lock):
            lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._trim_log()
            with self.log.open("ab") as log:
                pid = detach(command, log, environment, self.folder, (lock, *inherited))
            durable.write_atomic(self.pid_file, str(pid).encode())
            return True
        finally:
            os.close(lock)

    def stop(self, timeout_s: float) -> bool:
        """Sends SIGTERM, then SIGKILL after the timeout; returns whether there was anything to stop."""
        pid = self.pid()
        if pid is None:
            return False
        for number, patience in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 10.0)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if self._gone_within(patience):
                return True
        raise Unavailable(f"the {self.name} (pid {pid}) does not end", hint=f"look at `{self.log}`")

    def last_lines(self, count: int = 8) -> str:
        """Returns the end of the log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        return ""

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def _trim_log(self) -> None:
        with suppress(OSError):
            if self.log.stat().st_size > _LOG_CAP_BYTES:
                self.log.replace(self.log.with_suffix(".log.old"))


def is_locked(path: Path) -> bool:
    """Tells whether a living process holds the lock."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def holding(path: Path) -> Generator[bool]:
    """Tries to hold a lock for a block; yields whether it was got."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def wait_until(condition: Callable[[], bool], timeout_s: float, poll_s: float = _POLL_S) -> bool:
    """Waits for a condition; returns whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True
