"""Virtual environments for the process engine, made by uv and kept by key."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.environment import probe
from fetchml.environment.build import (
    BuildFailed,
    BuiltEnvironment,
    Cancelled,
    environment_key,
    export_lock,
    give_up,
    requirements_arguments,
    run_logged,
    uv_binary,
)
from fetchml.environment.detect import Dependencies
from fetchml.environment.system import host_system

READY = "fetchml-environment.json"
"""File that tells that an environment is finished, and by its age when it was used last."""


class VenvBuilder:
    """Environments below a folder, one for each key.

    Args:
        root: Folder of the environments; each can be deleted when no run uses it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def ensure(
        self, dependencies: Dependencies, python: str | None, code: Path, log: Path, cancelled: Cancelled
    ) -> BuiltEnvironment:
        """Returns the environment of a manifest; builds it once, however many runs ask at the same time.

        Args:
            dependencies: The dependency manifest of the snapshot.
            python: Version to build with; None takes the one fetchml runs on.
            code: The materialised snapshot.
            log: File the build's output is appended to.
            cancelled: Asked while building.

        Raises:
            BuildFailed: The packages cannot be installed.
            BuildCancelled: The run was cancelled.
        """
        began = time.monotonic()
        version = python or platform.python_version()
        key = environment_key(dependencies, {"python": version, "platform": _platform()})
        folder = self.root / f"venv-{key[:24]}"
        durable.make_folder(self.root, mode=0o700)
        lock = self.root / f"venv-{key[:24]}.lock"
        lock.touch(mode=0o600)
        with durable.locked(lock, waiting=lambda: give_up(cancelled)):
            ready = _ready(folder)
            reused = ready is not None
            if ready is None:
                # Unfinished from a build that was cut short: environments are not moved, so it is made anew in place.
                shutil.rmtree(folder, ignore_errors=True)
                try:
                    ready = self._build(folder, dependencies, version, code, log, cancelled)
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
            with suppress(OSError):
                os.utime(folder / READY)
        return _environment(
            ready, str(folder / "bin" / "python"), key=key, reused=reused, seconds=time.monotonic() - began
        )

    def _build(
        self, folder: Path, dependencies: Dependencies, python: str, code: Path, log: Path, cancelled: Cancelled
    ) -> dict[str, Any]:
        uv = uv_binary()
        run_logged(
            [uv, "venv", "--quiet", "--python", _interpreter(python), str(folder)],
            log,
            cancelled,
            what="making an environment",
        )
        exported = folder / "exported-requirements.txt"
        export_lock(dependencies, code, exported, log, cancelled)
        interpreter = str(folder / "bin" / "python")
        run_logged(
            [
                *(uv, "pip", "install", "--python", interpreter, "--compile-bytecode"),
                *requirements_arguments(dependencies, str(code), str(exported)),
            ],
            log,
            cancelled,
            what=f"installing the packages of `{dependencies.name}`",
            cwd=(code / dependencies.name).parent,  # what relative paths in the file are relative to
        )
        ready = _told(interpreter)
        durable.write_atomic(folder / READY, json.dumps(ready).encode())
        return ready


def as_is_environment(interpreter: str) -> BuiltEnvironment:
    """Returns the environment of an interpreter that is used unchanged.

    Raises:
        BuildFailed: It is no Python interpreter.
    """
    return _environment(_told(interpreter), interpreter)


def _environment(
    found: probe.Told, interpreter: str, *, key: str | None = None, reused: bool = False, seconds: float = 0.0
) -> BuiltEnvironment:
    return BuiltEnvironment(
        python=found["python"],
        packages=tuple(found["packages"]),
        build=probe.python_build(found),
        libraries=probe.libraries(found),
        system=host_system(),
        key=key,
        interpreter=interpreter,
        reused=reused,
        seconds=seconds,
    )


def _told(interpreter: str) -> probe.Told:
    """Returns what an interpreter tells; of one that runs and cannot tell, the version."""
    return probe.ask([interpreter]) or {"python": python_version(interpreter), "packages": list[str]()}


def python_version(interpreter: str) -> str:
    """Returns the version of an interpreter, such as 3.11.7.

    Raises:
        BuildFailed: It does not run.
    """
    command = [interpreter, "-I", "-S", "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildFailed(f"`{interpreter}` is no Python interpreter that runs", detail=str(error)) from error
    return done.stdout.strip()


def _ready(folder: Path) -> dict[str, Any] | None:
    try:
        found = cast("dict[str, Any]", json.loads((folder / READY).read_bytes()))
    except (OSError, ValueError):
        return None
    return found if (folder / "bin" / "python").exists() else None


def _interpreter(wanted: str) -> str:
    """Returns what uv is asked for: the Python fetchml runs on, if it is of that version, else the version.

    uv finds a version on the path only, where a Python that was used to make a virtual environment need not be.
    """
    return sys.executable if f"{platform.python_version()}.".startswith(f"{wanted}.") else wanted


def _platform() -> str:
    libc = "-".join(platform.libc_ver())
    return f"{sys.platform}-{platform.machine()}-{libc}"
