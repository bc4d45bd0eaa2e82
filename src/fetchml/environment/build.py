"""What building an environment yields, and running a build step with its output in a log."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fetchml import durable
from fetchml.canonical import canonical_sha256
from fetchml.environment.detect import Dependencies, DependencyKind
from fetchml.environment.poetry import poetry_requirements
from fetchml.errors import FetchmlError
from fetchml.models.software import AcceleratorLibrary, PythonBuild, SystemFacts

_POLL_S = 0.1
_TAIL_LINES = 12

Cancelled = Callable[[], bool]
"""Tells whether the run was cancelled meanwhile."""


@dataclass(frozen=True, slots=True)
class BuiltEnvironment:
    """An environment that is ready."""

    python: str | None
    """Version of Python in it."""
    packages: tuple[str, ...]
    """Installed packages as name==version, sorted."""
    build: PythonBuild | None = None
    """Which Python it is, apart from its version."""
    libraries: tuple[AcceleratorLibrary, ...] = ()
    """Libraries for GPUs that were found in it."""
    system: SystemFacts | None = None
    """Operating system around it; None if that is not known."""
    key: str | None = None
    """Key it is kept under; None if nothing was built."""
    interpreter: str | None = None
    """Path of its Python as the payload sees it; None: `python` of the image."""
    image: str | None = None
    """Id of the image to start; None for the process engine."""
    reused: bool = False
    """Whether it was there already."""
    seconds: float = 0.0
    """How long making it ready took."""


class BuildFailed(FetchmlError):
    """The environment of a run could not be built."""

    exit_code = 5
    action = "fix-input"
    default_code = "environment-failed"


class BuildCancelled(Exception):
    """The run was cancelled while its environment was built."""


def environment_key(dependencies: Dependencies, base: Mapping[str, str]) -> str:
    """Returns the key of an environment: equal for equal manifests on an equal base.

    Args:
        dependencies: The manifest and what it includes.
        base: What else decides the result: Python, platform, image digest.
    """
    return canonical_sha256(
        {
            "type": "fetchml.environment.v1",
            "kind": dependencies.kind.value,
            "manifest": dependencies.sha256,
            "included": [list(pair) for pair in dependencies.included],
            "base": dict(base),
        }
    )


def uv_binary() -> str:
    """Returns the path of the uv that fetchml brings."""
    from uv import find_uv_bin

    return find_uv_bin()


def requirements_arguments(dependencies: Dependencies, folder: str, exported: str) -> list[str]:
    """Returns the arguments of `uv pip install` for a manifest.

    Args:
        dependencies: The manifest.
        folder: Where the snapshot is, as uv sees it.
        exported: Where `export_lock` put the requirements of a uv.lock, as uv sees it.
    """
    if dependencies.kind is DependencyKind.UV_LOCK:
        return ["--requirements", exported]
    if dependencies.kind is DependencyKind.POETRY_LOCK:
        return ["--no-deps", "--requirements", exported]
    return ["--requirements", f"{folder}/{dependencies.name}"]


def export_lock(dependencies: Dependencies, code: Path, target: Path, log: Path, cancelled: Cancelled) -> None:
    """Writes the pinned, hashed requirements of a uv.lock or poetry.lock; other manifests need no step."""
    if dependencies.kind is DependencyKind.POETRY_LOCK:
        lock = (code / dependencies.name).read_bytes()
        durable.write_atomic(target, poetry_requirements(lock, dependencies.name).encode())
    if dependencies.kind is DependencyKind.UV_LOCK:
        project = str((code / dependencies.name).parent)
        command = [
            "export",
            "--frozen",
            "--no-emit-project",
            "--quiet",
            "--project",
            project,
            "--output-file",
            str(target),
        ]
        run_logged([uv_binary(), *command], log, cancelled, what="reading uv.lock")


def give_up(cancelled: Cancelled) -> None:
    """Raises BuildCancelled if the run was cancelled."""
    if cancelled():
        raise BuildCancelled


def run_logged(command: Sequence[str], log: Path, cancelled: Cancelled, *, what: str, cwd: Path | None = None) -> None:
    """Runs a command with its output appended to a log; ends its whole process group when cancelled.

    Args:
        command: Program and arguments.
        log: File its output is appended to.
        cancelled: Asked while it runs.
        what: What the step does, for the error.
        cwd: Folder to run it in.

    Raises:
        BuildFailed: It ended with an error; the detail is the end of the log.
        BuildCancelled: The run was cancelled.
    """
    with log.open("ab") as sink:
        sink.write(f"$ {' '.join(command)}\n".encode())
        sink.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=build_environment(),
            cwd=cwd,
            start_new_session=True,
        )
        while process.poll() is None:
            if cancelled():
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise BuildCancelled
            time.sleep(_POLL_S)
    if process.returncode != 0:
        raise failed(what, log)


def build_environment() -> dict[str, str]:
    """Returns the variables a build step sees: the host's, without those of another virtual environment."""
    dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**environment, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


def failed(what: str, log: Path) -> BuildFailed:
    """Returns the error of a build step, with the end of its log."""
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return BuildFailed(
        f"{what} failed",
        detail="\n".join(lines),
        hint=f"the whole log is in `{log}`; mend the dependency manifest and queue again",
    )
