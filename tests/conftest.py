"""What all tests share: a scrubbed environment, a home folder of their own, and engines that are really there."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.s3_servers import S3Server, serving
from fetchml import durable
from fetchml.config.settings import Settings
from fetchml.home import Home
from stack import Stack

BASE_IMAGE = os.environ.get("FETCHML_BASE_IMAGE", "fetchml-base")
PODMAN_SOCKET = Path(os.environ.get("FETCHML_TEST_PODMAN_SOCKET", "/run/fetchml-tests/podman.sock"))
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

# Before anything of the product or of Prefect is imported by a test: nobody's own settings take part.
for _name in [name for name in os.environ if name.startswith(("FETCHML_", "FETCH_ML_", "PREFECT_", "AWS_"))]:
    del os.environ[_name]
for _name in ("NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(_name, None)
# A shell without job control starts what it puts in the background deaf to Ctrl-C, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _missing(marker: str) -> str | None:
    """Returns why the engine of a marker cannot be used, or None."""
    match marker:
        case "docker":
            if not _succeeds("docker", "image", "inspect", BASE_IMAGE):
                return f"no Docker engine with the image `{BASE_IMAGE}` (scripts/provision-tests makes both)"
        case "podman":
            url = "http://podman/images/localhost/fetchml-base/json"
            if not _succeeds("curl", "-sf", "--max-time", "5", "--unix-socket", str(PODMAN_SOCKET), url):
                return f"no Podman service on {PODMAN_SOCKET} with the image (scripts/provision-tests makes both)"
        case "root":
            if os.geteuid() != 0:
                return "not root"
        case _:
            pass
    return None


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this machine cannot run; in CI that ends the session, so that green cannot mean nothing was tested."""
    for marker in ("docker", "podman", "root"):
        wanting = [item for item in items if item.get_closest_marker(marker) is not None]
        reason = _missing(marker) if wanting else None
        if reason is None:
            continue
        if IN_CI:
            raise pytest.UsageError(f"{len(wanting)} tests need {marker}, and in CI none may be skipped: {reason}")
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=f"NOT TESTED: {reason}"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Default settings with a home folder of the test's own."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def home(settings: Settings) -> Home:
    """A home folder of the test's own."""
    made = Home(settings)
    made.create()
    return made


@pytest.fixture(autouse=True)
def _own_home_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test does reaches the home folder of whoever runs it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FETCHML_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect database as the private server makes it, made once for all processes of a session."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    database = shared / "prefect.db"
    with durable.locked(shared):
        if not database.exists():
            stack = Stack(tmp_path_factory.mktemp("template"))
            try:
                stack.run("up")
            finally:
                stack.close()
            shutil.copy(stack.home_path / "prefect" / "prefect.db", database)
    return database


@pytest.fixture
def stack(tmp_path: Path, migrated_database: Path) -> Iterator[Stack]:
    """A fetchml of the test's own; nothing runs yet."""
    made = Stack(tmp_path / "stack", migrated_database)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def running_stack(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[Stack]:
    """A fetchml that is up, shared by the tests of a module that leave it as they found it."""
    made = Stack(tmp_path_factory.mktemp("stack"), migrated_database)
    try:
        made.run("up")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server in memory, shared; each test has a bucket of its own."""
    with serving("moto", tmp_path_factory.mktemp("moto")) as made:
        yield made


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on a folder, shared; each test has a bucket of its own."""
    with serving("rclone", tmp_path_factory.mktemp("rclone")) as made:
        yield made
