"""A user at a shell: a home and a project of their own, and the installed command as a process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

COMMAND = str(Path(sys.executable).parent / "fetchml")
NOWHERE = "http://127.0.0.1:1/api"
"""A Prefect API that does not answer: with it nothing is ever started in the background."""
TIMEOUT_S = 120
MAX_MESSAGE_BYTES = 2048
"""An error is at most this long (reliability.md, D.2)."""
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""Runs a command for which mode bits count, even where the tests run as root."""


@dataclass(frozen=True)
class Done:
    """A call that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Returns the one JSON document on stdout; fails if there is anything else."""
        return json.loads(self.out)

    def json_error(self) -> dict[str, Any]:
        """Returns the error of a call with `--json`; fails if stderr is not that one document."""
        assert self.out == ""
        document = json.loads(self.err)
        assert set(document) == {"error"}
        assert set(document["error"]) == {"code", "summary", "detail", "hint", "exit_code"}
        assert document["error"]["exit_code"] == self.code
        return document["error"]


@dataclass
class User:
    """Somebody who types commands.

    Args:
        path: Folder of the test; home and project are in it.
        env: Variables beside the usual ones; None removes one.
    """

    path: Path
    env: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def __post_init__(self) -> None:
        self.home = self.path / "home"
        self.project = self.path / "project"
        self.project.mkdir(parents=True, exist_ok=True)

    @property
    def runs(self) -> Path:
        return self.home / "store" / "runs"

    def environment(self, changes: dict[str, str | None] | None = None) -> dict[str, str]:
        """Returns the variables of a call; engines and servers that really run here are out of reach."""
        variables: dict[str, str | None] = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "HOME": str(self.path),
            "FETCHML_HOME": str(self.home),
            "FETCHML_ENGINE": "process",
            "FETCHML_REPRO_POLICY": "best-effort",
            "FETCHML_PREFECT_API_URL": NOWHERE,
            **self.env,
            **(changes or {}),
        }
        return {name: value for name, value in variables.items() if value is not None}

    def call(
        self,
        *words: str | bytes,
        env: dict[str, str | None] | None = None,
        cwd: Path | None = None,
        before: Sequence[str] = (),
        typed: str | None = None,
    ) -> Done:
        """Calls `fetchml` and returns how it ended.

        Args:
            words: The words after the name of the command.
            env: Variables that differ from the user's; None removes one.
            cwd: The current folder; the project by default.
            before: A command to call it through.
            typed: What it reads from standard input; None: nothing.
        """
        done = subprocess.run(
            [*before, COMMAND, *words],
            env=self.environment(env),
            cwd=cwd or self.project,
            timeout=TIMEOUT_S,
            check=False,
            **({"stdin": subprocess.DEVNULL} if typed is None else {"input": typed.encode()}),
            capture_output=True,
        )
        return Done(done.returncode, _text(done.stdout), _text(done.stderr))

    def start(
        self,
        *words: str,
        env: dict[str, str | None] | None = None,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
    ) -> "subprocess.Popen[str]":
        """Starts `fetchml` and returns the process."""
        return subprocess.Popen(
            [COMMAND, *words],
            env=self.environment(env),
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def script(self, name: str = "train.py", text: str = "print(1)\n") -> Path:
        """Writes a script into the project."""
        path = self.project / name
        path.write_text(text, encoding="utf-8")
        return path

    def settings(self, text: str) -> Path:
        """Writes the project's fetchml.yaml."""
        path = self.project / "fetchml.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def queue(self, *words: str) -> str:
        """Queues a run that stays queued, and returns its id."""
        done = self.call("queue", "--quiet", *words)
        assert done.code == 0, done.err
        return done.out.strip()

    def manifest_path(self, run_id: str) -> Path:
        return self.runs / run_id / "run_manifest.json"

    def nothing_is_left(self) -> None:
        """Fails if a run, a claim, a temporary file or a background process was left behind."""
        left = [path for path in self.home.rglob("*") if path.name.startswith((".tmp-", "claim")) or path.is_fifo()]
        assert left == []
        assert not self.runs.exists() or os.listdir(self.runs) == []
        incoming = self.home / "store" / "objects" / "incoming"
        assert not incoming.exists() or os.listdir(incoming) == []
        assert not (self.home / "services").exists()

    def copy(self, path: Path) -> "User":
        """Returns a user with a copy of the home and the project, free to damage them."""
        copied = User(path, dict(self.env))
        shutil.copytree(self.home, copied.home, symlinks=True)
        shutil.copytree(self.project, copied.project, dirs_exist_ok=True)
        return copied


def is_refused(done: Done, code: int, *parts: str, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
    """Fails unless a call ended with one clear message and nothing else."""
    assert done.code == code, f"exit {done.code}\n{done.out}{done.err}"
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    assert len(done.err.encode()) <= max_bytes
    is_safe_text(done.err)
    for part in parts:
        assert part in done.err, f"{part!r} is not in {done.err!r}"


def is_safe_text(text: str) -> None:
    """Fails if text could move a cursor, hide or reorder what a terminal shows."""
    unsafe = {c for c in text if not (c.isprintable() or c in "\n\t")}
    assert unsafe == set(), f"{unsafe!r} in {text!r}"


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a JSON file, whoever may write it."""
    value = json.loads(path.read_bytes())
    change(value)
    path.chmod(0o644)
    path.write_text(json.dumps(value), encoding="utf-8")


def words_id(value: object) -> str | None:
    """Returns the name of a test case: its words, or its text; pytest finds one for anything else."""
    if isinstance(value, tuple):
        words = cast("tuple[object, ...]", value)
        return " ".join(word if isinstance(word, str) else repr(word) for word in words)[:40]
    return value[:25] if isinstance(value, str) else None


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "backslashreplace")
