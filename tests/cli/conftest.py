"""What the tests of the command line share: a user, and a store with runs that have really run."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.calls import User
from cli.lab import Lab
from contract.s3_servers import FaultyProxy, S3Server

TRAIN = """\
import os
from fetchml import log_metric
log_metric("loss", 0.5, step=1)
log_metric("loss", 0.25, step=2)
print("first line")
print("last line")
with open(os.path.join(os.environ["FETCHML_RESULTS"], "model.txt"), "w") as file:
    file.write("weights")
"""


@dataclass(frozen=True)
class Library:
    """A store with one run of each kind; read it, and copy the user before changing anything."""

    user: User
    completed: str
    failed: str
    cancelled: str
    queued: str


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Somebody with an empty home, in a project with one script."""
    made = User(tmp_path / "desk")
    made.script()
    return made


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Runs that were carried out by the process engine, in the order completed, failed, cancelled, queued."""
    made = User(tmp_path_factory.mktemp("library"))
    made.script("train.py", TRAIN)
    made.script("fails.py", "raise SystemExit(3)\n")
    ids: list[str] = []
    for words, code in ((("--name", "good", "train.py"), 0), (("fails.py",), 1)):
        done = made.call("queue", "--quiet", *words, env={"FETCHML_EXECUTION_MODE": "direct"})
        assert done.code == code, done.err
        ids.append(done.out.strip())
    cancelled = made.queue("train.py", "--lr", "1")
    assert made.call("cancel", cancelled).code == 0
    return Library(made, ids[0], ids[1], cancelled, made.queue("--name", "waiting", "train.py", "--lr", "2"))


@pytest.fixture
def own_library(library: Library, tmp_path: Path) -> Library:
    """A copy of the library that a test may damage."""
    copied = library.user.copy(tmp_path / "desk")
    return Library(copied, library.completed, library.failed, library.cancelled, library.queued)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes file systems in memory of a given size and unmounts them afterwards; needs root."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        path = tmp_path / f"disk-{len(mounted)}"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def lab(user: User, moto_server: S3Server, tmp_path: Path) -> Lab:
    return Lab(user, moto_server, tmp_path / "staging")


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultyProxy]:
    """A proxy that the user's calls go through."""
    made = FaultyProxy(lab.server.port)
    lab.user.env["FETCHML_OBJECTS_S3_ENDPOINT"] = f"http://127.0.0.1:{made.port}"
    yield made
    made.close()
