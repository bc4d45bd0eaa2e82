"""Projects on disk: made from a few lines, captured into memory, with a git of their own where a test wants one."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.capture import capture
from unit.snapshot.projects import LIMITS, Capture, Git, Write


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without a file."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def write(project: Path) -> Write:
    """Writes files into the project, by path."""

    def writing(files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return writing


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def captured(project: Path, objects: MemoryObjects) -> Capture:
    """Captures the project."""
    return lambda: capture(project, objects, LIMITS)


@pytest.fixture
def git(project: Path, tmp_path: Path) -> Git:
    """Runs git in the project, which becomes a repository, with no configuration but its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }

    def run(*words: str, cwd: Path = project) -> str:
        done = subprocess.run(["git", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    run("init", "--quiet", "--initial-branch=main")
    return run
