"""What an interpreter says about itself and its surroundings, asked without importing what is installed.

The same short program is run by the Python of a host, of a virtual environment and of an image. What it cannot tell is
left out: facts are recorded when they can be had, and never keep a run from starting.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any, cast

from pydantic import ValidationError

from fetchml.models.software import AcceleratorLibrary, LibraryName, PythonBuild, SystemFacts

_TIMEOUT_S = 20
_MAX_TEXT = 200

PROGRAM = r"""
import json, os, platform, re

def guarded(ask):
    try:
        return ask()
    except Exception:
        return None

def packages():
    from importlib import metadata
    found = {}
    for item in metadata.distributions():
        head = {}
        # The head alone: reading a description of a hundred pages as mail takes longer than all the rest.
        text = guarded(lambda: item.read_text("METADATA") or item.read_text("PKG-INFO")) or ""
        for line in text.splitlines():
            if not line:
                break
            name, _, value = line.partition(":")
            head.setdefault(name.strip().lower(), value.strip())
        if head.get("name") and head.get("version"):
            # The first one wins, as it does for an import. Names are written as PEP 503 has them.
            name = re.sub("[-_.]+", "-", head["name"]).lower()
            found.setdefault(name, name + "==" + head["version"])
    return sorted(found.values())

def distribution():
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            if name == "PRETTY_NAME":
                return value.strip("\"'")

def libc():
    import glob
    return " ".join(platform.libc_ver()).strip() or ("musl" if glob.glob("/lib/ld-musl-*") else None)

def cuda():
    with open("/usr/local/cuda/version.json", encoding="utf-8") as file:
        return json.load(file)["cuda"]["version"]

print(json.dumps({
    "python": platform.python_version(),
    "implementation": platform.python_implementation(),
    "build": guarded(lambda: " ".join(platform.python_build() + (platform.python_compiler(),))),
    "packages": guarded(packages) or [],
    "distribution": guarded(distribution),
    "libc": guarded(libc),
    "machine": platform.machine(),
    "cuda": guarded(cuda),
    "variables": {name: os.environ[name] for name in ("CUDA_VERSION", "NV_CUDNN_VERSION", "ROCM_VERSION")
                  if name in os.environ},
}))
"""
"""Runs on every Python from 3.8 on, and prints one line of JSON."""

Told = dict[str, Any]
"""What the program printed, or what was kept of it; any field may be missing."""

_PACKAGES: tuple[tuple[LibraryName, re.Pattern[str]], ...] = (
    ("cuda", re.compile(r"nvidia-cuda-runtime(-cu\d+)?")),
    ("cudnn", re.compile(r"nvidia-cudnn(-cu\d+)?")),
)
_LOCAL = re.compile(r"\+(cu|rocm)([0-9.]+)$")


def ask(interpreter: Sequence[str]) -> Told | None:
    """Returns what an interpreter tells; None if it does not run, or takes too long.

    Args:
        interpreter: Program and options to run it with.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    try:
        done = subprocess.run(
            [*interpreter, "-I", "-c", PROGRAM],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
            env=environment,
        )
        return told(done.stdout)
    except (OSError, subprocess.SubprocessError):
        return None


def told(output: bytes) -> Told | None:
    """Reads what the program printed; None if that is something else."""
    try:
        value = json.loads(output)
    except ValueError:
        return None
    return cast("Told", value) if isinstance(value, dict) and "python" in value else None


def python_build(found: Told) -> PythonBuild | None:
    """Returns which Python it was."""
    try:
        return PythonBuild(implementation=found["implementation"][:_MAX_TEXT], build=found["build"][:_MAX_TEXT])
    except (KeyError, TypeError, ValidationError):
        return None


def system_facts(found: Told) -> SystemFacts | None:
    """Returns the operating system around an interpreter; without the kernel, which is the host's."""
    names = ("distribution", "libc", "machine")
    known = {name: found[name][:_MAX_TEXT] for name in names if isinstance(found.get(name), str) and found[name]}
    return SystemFacts(**known) if known else None


def libraries(found: Told) -> tuple[AcceleratorLibrary, ...]:
    """Returns the libraries for GPUs, each from what comes nearest to the payload: packages before the image."""
    nearest: dict[str, AcceleratorLibrary] = {}
    for library in (*_from_packages(found.get("packages", ())), *_from_image(found)):
        nearest.setdefault(library.name, library)
    return tuple(nearest.values())


def _from_packages(packages: Sequence[str]) -> Iterator[AcceleratorLibrary]:
    pairs = [package.partition("==")[::2] for package in packages]
    for name, pattern in _PACKAGES:
        for package, version in pairs:
            if pattern.fullmatch(package):
                yield AcceleratorLibrary(name=name, version=version, told_by=package)
    for package, version in pairs:
        local = _LOCAL.search(version) if package in ("torch", "jaxlib") else None
        if local is not None:
            is_cuda = local[1] == "cu"
            digits = f"{local[2][:-1]}.{local[2][-1]}" if is_cuda and local[2].isdigit() else local[2]
            yield AcceleratorLibrary(
                name="cuda" if is_cuda else "rocm", version=digits, told_by=f"{package}=={version}"[:_MAX_TEXT]
            )


def _from_image(found: Told) -> Iterator[AcceleratorLibrary]:
    variables = cast("dict[str, Any]", found.get("variables") or {})
    names: tuple[tuple[LibraryName, str], ...] = (
        ("cuda", "CUDA_VERSION"),
        ("cudnn", "NV_CUDNN_VERSION"),
        ("rocm", "ROCM_VERSION"),
    )
    if isinstance(found.get("cuda"), str):
        yield AcceleratorLibrary(name="cuda", version=found["cuda"][:_MAX_TEXT], told_by="/usr/local/cuda/version.json")
    for name, variable in names:
        if isinstance(variables.get(variable), str):
            yield AcceleratorLibrary(name=name, version=variables[variable][:_MAX_TEXT], told_by=variable)
