"""A whole fetchml of a test's own: a home folder, a private server, a worker, and the command line to drive them."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fetchml.config.settings import Settings
from fetchml.daemons.server import PrivateServer
from fetchml.home import Home
from fetchml.models.manifest import RunManifest
from fetchml.prefect_api.client import PrefectClient

TIMEOUT_S = 180
"""Generous: the machines that run this are shared, and a step may take four times its usual time."""


def until(condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S, poll_s: float = 0.05) -> Any:
    """Waits for a condition and returns its value; fails with what it waited for."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for: {what}")
        time.sleep(poll_s)


@dataclass
class Stack:
    """One home folder and what runs in it."""

    path: Path
    """Folder of the test; the home is in it."""
    database: Path | None = None
    """A Prefect database that was migrated before, which saves each test the ten seconds of its own."""
    extra_env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home_path = self.path / "home"
        self.project = self.path / "project"
        self.project.mkdir(parents=True, exist_ok=True)
        if self.database is not None:
            target = self.home_path / "prefect"
            target.mkdir(parents=True)
            shutil.copy(self.database, target / "prefect.db")

    @property
    def home(self) -> Home:
        return Home(Settings(home=self.home_path))

    @property
    def env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "SSL_CERT_FILE", "CI") if name in os.environ}
        path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        # Most tests queue a bare script, which the policy `strict` would not let through.
        own = {"HOME": str(self.path), "FETCHML_HOME": str(self.home_path), "FETCHML_REPRO_POLICY": "best-effort"}
        return {**kept, "PATH": path, **own, **self.extra_env}

    def run(
        self, *words: str, check: bool = True, cwd: Path | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Calls `fetchml` and returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "fetchml.cli.main", *words],
            env=self.env,
            cwd=cwd or self.project,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"fetchml {' '.join(words)} ended with {done.returncode}\n{done.stderr}\n{self.logs()}"
            )
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts `fetchml` and returns the process."""
        return subprocess.Popen(
            [sys.executable, "-m", "fetchml.cli.main", *words],
            env=self.env,
            cwd=self.project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def script(self, name: str, text: str) -> Path:
        """Writes a script into the project."""
        path = self.project / name
        path.write_text(text, encoding="utf-8")
        return path

    def gate(self, name: str = "gate") -> tuple[str, ...]:
        """Returns a command, for the process engine, that goes on until `open_gate` is called."""
        return "sh", "-c", f"until [ -e '{self.path}/{name}.open' ]; do sleep 0.05; done; echo done"

    def open_gate(self, name: str = "gate") -> None:
        """Lets the command of `gate` end."""
        (self.path / f"{name}.open").touch()

    def queue(self, *words: str) -> str:
        """Queues a run and returns its id."""
        return self.run("queue", "--quiet", *words).stdout.strip()

    def manifest(self, run_id: str) -> RunManifest:
        return self.home.store.read_manifest(run_id)

    def state(self, run_id: str) -> str:
        return str(self.manifest(run_id).status.state)

    def ended(self, *run_ids: str, timeout_s: float = TIMEOUT_S) -> list[RunManifest]:
        """Waits until runs are sealed."""
        for run_id in run_ids:
            try:
                until(lambda run_id=run_id: self.manifest(run_id).seal, f"the end of {run_id}", timeout_s)
            except AssertionError as error:
                raise AssertionError(f"{error}; it is {self.state(run_id)}\n{self.logs()}") from None
        return [self.manifest(run_id) for run_id in run_ids]

    def is_state(self, run_id: str, *states: str) -> str:
        """Waits until a run is in one of some states."""
        return until(lambda: self.state(run_id) if self.state(run_id) in states else None, f"{run_id} to be {states}")

    def witnesses(self, run_id: str) -> list[Path]:
        """What the payload itself left to say that it was started, one file a start."""
        return sorted((self.home_path / "store/runs" / run_id / "results").glob("witness-*"))

    def json(self, *words: str) -> Any:
        """Calls `fetchml ... --json` and returns the value."""
        return json.loads(self.run(*words, "--json").stdout)

    def prefect(self) -> PrefectClient:
        """Returns a client of this stack's private server; close it, or use it in a `with` block."""
        api_url = PrivateServer(self.home.settings).api_url
        assert api_url is not None, "the server is not running"
        return PrefectClient(api_url)

    def pid(self, name: str) -> int:
        """Returns the pid of the server or the worker."""
        return int((self.home_path / "services" / f"{name}.pid").read_text(encoding="ascii"))

    def flow_processes(self) -> list[int]:
        """Returns the pids that hold the lock of an attempt of this home."""
        return [pid for pid, path in _open_files(self.home_path) if path.endswith("/owner.lock")]

    def processes(self) -> list[int]:
        """Returns every process that has a file of this home open or a variable that names it."""
        return sorted({pid for pid, _ in _open_files(self.home_path)})

    def logs(self) -> str:
        """Returns the ends of the logs, for the message of a failed test."""
        parts: list[str] = []
        for log in sorted((self.home_path / "services").glob("*.log")):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
            parts.append(f"--- {log.name}\n" + "\n".join(lines))
        return "\n".join(parts)

    def containers(self, engine: str = "docker") -> list[str]:
        """Returns the containers of this home, in any state."""
        listed = subprocess.run(
            [engine, "ps", "-a", "-q", "--filter", f"label=fetchml.store={self.home.store_id}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return listed.stdout.split()

    def close(self) -> None:
        """Ends everything this stack has started."""
        self.run("down", "--quiet", check=False)
        for pid in self.processes():
            if pid != os.getpid():
                _kill(pid)
        if shutil.which("docker"):
            listed = subprocess.run(
                ["docker", "ps", "-a", "-q", "--filter", f"label=fetchml.store={self.home.store_id}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if listed.stdout.split():
                subprocess.run(["docker", "rm", "-f", *listed.stdout.split()], capture_output=True, check=False)


WITNESS = """\
import os, sys, time, uuid
path = os.path.join(os.environ["FETCHML_RESULTS"], "witness-" + uuid.uuid4().hex)
with open(path, "w") as file:
    file.write(f"{time.time()}\\n")
    file.flush()
    deadline = time.time() + float(sys.argv[1])
    tick = 0
    while time.time() < deadline:
        print("tick", tick, flush=True)
        tick += 1
        time.sleep(0.1)
    file.write(f"{time.time()}\\n")
"""
"""A payload that says itself when it was started and when it ended."""


def sealed_and_valid(stack: Stack, run_ids: Sequence[str]) -> None:
    """Fails unless every run has a sealed record in which nothing is wrong."""
    for run_id in run_ids:
        report = stack.run("validate", run_id, check=False)
        assert report.returncode == 0, report.stdout


def _open_files(root: Path) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            for descriptor in (entry / "fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith(f"{root}/"):
                    found.append((int(entry.name), target))
        except OSError:
            continue
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
