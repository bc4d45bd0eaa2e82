"""Runs as plain child processes, for hosts with neither Docker nor Podman.

There is no isolation: the code is a private read-only copy, memory is watched and processes are ended as a tree, but
the payload sees the host. Each payload has a shim as its parent (`process_shim.py`) and a folder for its state, so it
can be found again by name after fetchml was restarted.
"""

import fcntl
import json
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.containers import STORE_LABEL, ContainerSpec, Places
from fetchml.engine.port import ContainerState, EngineFacts, ImageFacts, Phase, Usage
from fetchml.engine.process_tree import tree_usage
from fetchml.errors import Conflict, NotFound, Unavailable
from fetchml.models.host import boot_id
from fetchml.models.plan import EngineKind
from fetchml.models.units import GIB

_SHIM = Path(__file__).with_name("process_shim.py")
_POLL_S = 0.05
_START_TIMEOUT_S = 30
_CHUNK = 256 * 1024

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables of the host a payload gets. Not LD_PRELOAD or PYTHONPATH: they would be an undeclared input."""


class ProcessEngine:
    """The engine that needs nothing.

    Args:
        root: Folder for the state of live processes.
    """

    kind = EngineKind.PROCESS

    def __init__(self, root: Path) -> None:
        self.root = root

    def facts(self) -> EngineFacts:
        if not sys.platform.startswith("linux"):
            raise Unavailable("the process engine needs Linux", hint="use `--engine docker` or `--engine podman`")
        return EngineFacts(EngineKind.PROCESS, platform.release(), detail="plain child processes, not isolated")

    def image(self, reference: str) -> ImageFacts:
        raise NotFound("the process engine has no images", hint="leave `--image` out, or choose `--engine docker`")

    def places(self, name: str, results: Path, inbox: Path, support: Path) -> Places:
        return Places(
            code=str(self._folder(name) / "code"),
            results=str(results),
            inbox=str(inbox),
            support=str(support),
            home=os.environ.get("HOME") or "/",
        )

    def create(self, spec: ContainerSpec) -> None:
        folder = self._folder(spec.name)
        durable.make_folder(self.root, mode=0o700)
        with durable.locked(self.root):
            existing = _read_json(folder / "spec.json")
            if existing is not None:
                if existing["labels"] != spec.labels:
                    raise Conflict(f"another run uses the name `{spec.name}`", code="name-taken")
                return
            remove_folder(folder)  # an earlier `create` that was cut short
            folder.mkdir(mode=0o700)
            for mount in spec.mounts:
                if str(mount.source) != mount.target:
                    _copy_tree(mount.source, Path(mount.target), read_only=mount.read_only)
            (folder / "lock").touch(mode=0o600)
            durable.write_atomic(folder / "spec.json", json.dumps(self._shim_spec(spec)).encode(), mode=0o600)

    def start(self, name: str) -> None:
        folder = self._existing(name)
        deadline = time.monotonic() + _START_TIMEOUT_S
        launched = False
        while self._read_state(folder).phase is Phase.CREATED:
            if not launched:
                launched = self._launch(folder)
            elif not self._is_locked(folder) and self._read_state(folder).phase is Phase.CREATED:
                log = (folder / "shim.log").read_text(errors="replace")[-500:]
                raise Unavailable("a process could not be started", detail=log or "its supervisor ended at once")
            if time.monotonic() > deadline:
                raise Unavailable("a process could not be started", detail="its supervisor does not answer")
            time.sleep(0.002)

    def inspect(self, name: str) -> ContainerState | None:
        folder = self._folder(name)
        return self._read_state(folder) if durable.exists(folder / "spec.json") else None

    def mounted(self, name: str, target: str) -> tuple[int, int] | None:
        return None  # nothing is mounted

    def usage(self, name: str) -> Usage:
        started = _read_json(self._folder(name) / "started.json")
        if started is None or started["boot_id"] != boot_id() or not self._is_locked(self._folder(name)):
            return Usage()
        return tree_usage(int(started["pid"]))  # the peak of its memory is known to the shim, at the end

    def output(self, name: str, skip_bytes: int) -> Iterator[bytes]:
        folder = self._existing(name)
        position = skip_bytes
        while True:
            # The state first: what was written before the exit is then on disk when it is read below.
            ended = self._read_state(folder).phase is Phase.EXITED
            self._existing(name)
            try:
                with (folder / "output").open("rb", buffering=0) as file:
                    file.seek(position)
                    while chunk := file.read(_CHUNK):
                        position += len(chunk)
                        yield chunk
            except FileNotFoundError:
                pass
            if ended:
                return
            time.sleep(_POLL_S)

    def stop(self, name: str, grace_s: float) -> None:
        folder = self._folder(name)
        state = self.inspect(name)
        if state is None or state.phase is not Phase.RUNNING:
            return
        durable.write_atomic(folder / "stop.json", json.dumps({"grace_s": grace_s}).encode(), mode=0o600)
        started = _read_json(folder / "started.json")
        if started is not None and self._is_locked(folder):
            with suppress(ProcessLookupError):
                os.kill(started["pid"], signal.SIGTERM)
        while self._is_locked(folder):
            time.sleep(_POLL_S)

    def remove(self, name: str) -> None:
        folder = self._folder(name)
        if not durable.exists(folder):
            return
        self.stop(name, grace_s=0)
        _kill_marked(name)
        (folder / "spec.json").unlink(missing_ok=True)  # first: without its spec what is left is no container
        remove_folder(folder)

    def names(self, store_id: str) -> list[str]:
        found: list[str] = []
        with suppress(FileNotFoundError):
            for name in os.listdir(self.root):
                spec = _read_json(self.root / name / "spec.json")
                if spec is not None and spec["labels"].get(STORE_LABEL) == store_id:
                    found.append(name)
        return sorted(found)

    def _shim_spec(self, spec: ContainerSpec) -> dict[str, object]:
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        path = ":".join([*spec.path_prefix, spec.env.get("PATH") or passed.get("PATH") or os.defpath])
        environment = {**passed, **spec.env, "PATH": path, _MARK: spec.name}
        rlimits: dict[str, int] = {"RLIMIT_CORE": 0}
        if not spec.devices.ids:
            # A backstop behind the watch on resident memory, wide because libraries reserve more than they touch;
            # GPU runtimes map far more than memory, so runs with devices have none.
            rlimits["RLIMIT_DATA"] = max(4 * spec.memory_bytes, spec.memory_bytes + 8 * GIB)
        argv = list(spec.argv)
        found = shutil.which(argv[0], path=path) if "/" not in argv[0] else None
        return {
            "labels": spec.labels,
            "argv": [found or argv[0], *argv[1:]],
            "cwd": spec.workdir,
            "env": environment,
            "memory_bytes": spec.memory_bytes,
            "rlimits": rlimits,
            "output_max_bytes": spec.output_max_bytes,
            "stop_grace_s": 10,
            "boot_id": boot_id(),
        }

    def _read_state(self, folder: Path) -> ContainerState:
        # The lock first: a shim writes exit.json before it lets go.
        locked = self._is_locked(folder)
        ended = _read_json(folder / "exit.json")
        started = _read_json(folder / "started.json")
        if ended is not None:
            return ContainerState(
                phase=Phase.EXITED,
                started_at=_moment(ended["started_at"]) if ended["error"] is None else None,
                ended_at=_moment(ended["ended_at"]),
                exit_code=ended["exit_code"],
                out_of_memory=ended["out_of_memory"],
                error=ended["error"],
                dropped_bytes=ended["dropped_bytes"],
                cpu_s=ended["cpu_s"],
                memory_peak_bytes=ended["memory_peak_bytes"] or None,
            )
        if started is None:
            return ContainerState(phase=Phase.CREATED)
        if locked and started["boot_id"] == boot_id():
            return ContainerState(phase=Phase.RUNNING, started_at=_moment(started["started_at"]))
        return ContainerState(phase=Phase.EXITED, started_at=_moment(started["started_at"]), lost=True)

    @staticmethod
    def _launch(folder: Path) -> bool:
        """Starts the shim, which inherits the lock; returns False if someone else holds the lock."""
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with (folder / "shim.log").open("ab") as log:
                # Isolated mode: neither the user's site-packages nor PYTHON* variables reach the shim.
                shim = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_SHIM), str(folder), str(lock)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    pass_fds=(lock,),
                    start_new_session=True,
                )
                shim.returncode = 0  # it outlives this process, which therefore never waits for it
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    @staticmethod
    def _is_locked(folder: Path) -> bool:
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look must not see each other
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _folder(self, name: str) -> Path:
        return self.root / name

    def _existing(self, name: str) -> Path:
        folder = self._folder(name)
        if not durable.exists(folder / "spec.json"):
            raise NotFound(f"there is no process `{name}`")
        return folder


_MARK = "FETCHML_CONTAINER"
"""Variable by which everything a payload started can be found, even after its shim was killed."""


def remove_folder(folder: Path) -> None:
    """Removes a folder whose contents may be read-only; a missing one is fine."""
    for current, _, _ in os.walk(folder):
        with suppress(OSError):
            os.chmod(current, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _copy_tree(source: Path, target: Path, *, read_only: bool) -> None:
    shutil.copytree(source, target, symlinks=True)
    for current, _, files in os.walk(target, topdown=False):
        for name in files:
            path = os.path.join(current, name)
            if not os.path.islink(path):
                mode = stat.S_IMODE(os.stat(path).st_mode)
                os.chmod(path, mode & ~0o222 if read_only else mode | 0o200)
        os.chmod(current, 0o555 if read_only else 0o755)


def _kill_marked(name: str) -> None:
    """Ends every process of this user that inherited the mark of a container."""
    mark = f"{_MARK}={name}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with suppress(OSError):
                if mark in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry), signal.SIGKILL)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return cast("dict[str, Any]", json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError):
        return None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
