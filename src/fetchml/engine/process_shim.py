"""The parent of a payload in the process engine: starts it once, keeps its output, outlives everyone else.

Runs as a script of its own with the standard library only (`python -I -S process_shim.py FOLDER LOCK_FD`), so that it
starts in milliseconds and survives the flow process, the worker and an upgrade of fetchml. It holds the lock of its
folder for as long as it lives; `started.json` is created exclusively before the payload starts, so no second shim ever
starts it again; `exit.json` is the last thing it writes.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MEMORY_CHECK_S = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Shim:
    """Supervises one payload."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with open(os.path.join(folder, "spec.json"), "rb") as file:
            self.spec = json.load(file)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.payload_pid = 0
        self.status: int | None = None
        self.cpu_s = 0.0
        self.memory_peak = 0
        self.out_of_memory = False
        self.stop_deadline: float | None = None
        self.kept = 0
        self.dropped = 0

    def run(self) -> None:
        """Starts the payload and stays until nothing of it is left."""
        if not self._mark_started():
            return
        self.libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        sink = os.open(
            os.path.join(self.folder, "output"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        started = time.time()
        error = None
        try:
            payload = subprocess.Popen(
                self.spec["argv"],
                cwd=self.spec["cwd"],
                env=self.spec["env"],
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                start_new_session=True,
                preexec_fn=self._before_exec,
            )
            self.payload_pid = payload.pid
            if self.stop_deadline is not None:  # asked to stop before there was anything to stop
                _signal(self.payload_pid, signal.SIGTERM)
        except (OSError, subprocess.SubprocessError, ValueError) as failure:
            error = str(failure)
        os.close(writer)
        if error is None:
            self._supervise(reader, sink)
        os.fsync(sink)
        self._finish(started, error)

    def _mark_started(self) -> bool:
        content = {"pid": os.getpid(), "boot_id": self.spec["boot_id"], "started_at": time.time()}
        temporary = os.path.join(self.folder, f"started.json.{os.getpid()}")
        self._write(temporary, content)
        try:
            os.link(temporary, os.path.join(self.folder, "started.json"))
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        self._sync_folder()
        return True

    def _before_exec(self) -> None:
        # If this shim is killed, nobody is left to keep the record: the payload goes with it.
        self.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")  # when the host runs out of memory, the payload goes before the user's desktop
        for name, limit in self.spec["rlimits"].items():
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            wanted = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (wanted, wanted))

    def _supervise(self, reader: int, sink: int) -> None:
        next_check = 0.0
        open_pipe = True
        while True:
            now = time.monotonic()
            if open_pipe and select.select([reader], [], [], _MEMORY_CHECK_S)[0]:
                chunk = os.read(reader, 65_536)
                open_pipe = bool(chunk)
                self._keep(sink, chunk)
            elif not open_pipe:
                time.sleep(0.01)
            if now >= next_check:
                next_check = now + _MEMORY_CHECK_S
                self._reap()
                if self.status is None:
                    self._watch_memory()
            if self.stop_deadline is not None and now >= self.stop_deadline and self.status is None:
                self._kill_descendants()
            if self.status is None and not open_pipe:
                self._reap()
            if self.status is not None:
                # The payload is gone: what it left behind goes too, as in a container.
                self._kill_descendants()
                self._reap()
                if not self._has_children():
                    break
        self._drain(reader, sink)

    def _drain(self, reader: int, sink: int) -> None:
        os.set_blocking(reader, False)
        while True:
            try:
                chunk = os.read(reader, 65_536)
            except BlockingIOError:
                return
            if not chunk:
                return
            self._keep(sink, chunk)

    def _keep(self, sink: int, chunk: bytes) -> None:
        room = self.spec["output_max_bytes"] - self.kept
        taken = chunk[: max(0, room)]
        self.dropped += len(chunk) - len(taken)
        try:
            while taken:
                written = os.write(sink, taken)
                self.kept += written
                taken = taken[written:]
        except OSError:
            # A full disk must not block the payload on its own output.
            self.dropped += len(taken)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.memory_peak = max(self.memory_peak, usage.ru_maxrss * 1024)
            if pid == self.payload_pid:
                self.status = status

    def _watch_memory(self) -> None:
        limit = self.spec["memory_bytes"]
        tree = self._descendants()
        used = sum(_resident(pid) for pid in tree)
        if used > limit:
            # Resident sizes count shared pages once a process; the proportional size does not.
            used = sum(_proportional(pid) for pid in tree)
        self.memory_peak = max(self.memory_peak, used)
        if used > limit:
            self.out_of_memory = True
            self._kill_descendants()

    def _on_stop(self, *_: object) -> None:
        if self.stop_deadline is not None:
            return
        grace = self.spec["stop_grace_s"]
        try:
            with open(os.path.join(self.folder, "stop.json"), "rb") as file:
                grace = json.load(file)["grace_s"]
        except (OSError, ValueError, KeyError):
            pass
        self.stop_deadline = time.monotonic() + grace
        if self.payload_pid and self.status is None:
            _signal(self.payload_pid, signal.SIGTERM)

    def _descendants(self) -> list[int]:
        found: list[int] = []
        pending = [os.getpid()]
        while pending:
            children = _children(pending.pop())
            found += children
            pending += children
        return found

    def _kill_descendants(self) -> None:
        for pid in self._descendants():
            _signal(pid, signal.SIGKILL)

    def _has_children(self) -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _finish(self, started: float, error: str | None) -> None:
        exit_code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        record = {
            "started_at": started,
            "ended_at": max(started, time.time()),
            # The shell's convention, which Docker follows: 128 + the number of the signal.
            "exit_code": exit_code if exit_code is None or exit_code >= 0 else 128 - exit_code,
            "out_of_memory": self.out_of_memory,
            "error": error,
            "dropped_bytes": self.dropped,
            "cpu_s": round(self.cpu_s, 3),
            "memory_peak_bytes": self.memory_peak,
        }
        temporary = os.path.join(self.folder, "exit.json.tmp")
        self._write(temporary, record)
        os.replace(temporary, os.path.join(self.folder, "exit.json"))
        self._sync_folder()

    @staticmethod
    def _write(path: str, content: Mapping[str, object]) -> None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)


def _children(pid: int) -> list[int]:
    """Returns the children of a process; each of its threads may have some."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(child) for child in file.read().split()]
    except (OSError, ValueError):
        pass
    return found


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return _resident(pid)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    os.set_inheritable(int(sys.argv[2]), False)
    Shim(sys.argv[1]).run()
