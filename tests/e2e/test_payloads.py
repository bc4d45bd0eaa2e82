"""Payloads that misbehave: each ends with the right reason, in bounded memory, and leaves nothing running."""

from pathlib import Path

import pytest

from conftest import BASE_IMAGE, PODMAN_SOCKET
from stack import Stack, sealed_and_valid

pytestmark = pytest.mark.e2e

IMAGE = {"docker": BASE_IMAGE, "podman": "localhost/fetchml-base"}

CONTAINERS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("podman", marks=pytest.mark.podman),
]
engines = pytest.mark.parametrize("engine", ["process", *CONTAINERS])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> object:
    """One stack for all payloads, impatient when it stops them."""
    environment = {"FETCHML_PODMAN_SOCKET": str(PODMAN_SOCKET), "FETCHML_STOP_GRACE": "2s"}
    made = Stack(tmp_path_factory.mktemp("stack"), migrated_database, environment)
    try:
        made.run("up")
        yield made
    finally:
        made.close()


def run(stack: Stack, engine: str, text: str, *words: str) -> str:
    stack.script("payload.py", text)
    image = ["--image", IMAGE[engine]] if engine in IMAGE else []
    run_id = stack.queue("--engine", engine, *image, *words, "payload.py")
    stack.ended(run_id)
    sealed_and_valid(stack, [run_id])
    return run_id


@engines
def test_a_script_that_fails(stack: Stack, engine: str) -> None:
    run_id = run(stack, engine, "print('so far so good')\nraise ValueError('a bad value')\n")
    manifest = stack.manifest(run_id)
    assert (manifest.status.state, manifest.end_reason, manifest.exit_code) == ("failed", "code_error", 1)
    assert manifest.diagnosis is not None
    assert "ValueError: a bad value" in (manifest.diagnosis.detail or "")


@engines
def test_a_script_that_eats_memory(stack: Stack, engine: str) -> None:
    text = "hoard = []\nwhile True:\n    hoard.append(bytearray(10_000_000))\n"
    manifest = stack.manifest(run(stack, engine, text, "--memory", "256M"))
    assert (manifest.status.state, manifest.end_reason) == ("failed", "out_of_memory")
    assert manifest.exit_code == 137
    assert manifest.diagnosis is not None
    assert "--memory" in (manifest.diagnosis.resolution or "")


@engines
def test_a_script_that_outstays_its_time(stack: Stack, engine: str) -> None:
    manifest = stack.manifest(run(stack, engine, "import time\ntime.sleep(600)\n", "--max-runtime", "2s"))
    assert (manifest.status.state, manifest.end_reason) == ("failed", "timeout")
    assert manifest.resources.actual is not None
    assert 2 <= (manifest.resources.actual.wall_s or 0) < 60


@engines
def test_a_script_that_prints_200_mb(stack: Stack, engine: str) -> None:
    text = "import sys\nfor _ in range(20_000):\n    sys.stdout.write('x' * 9_999 + '\\n')\nprint('the end')\n"
    run_id = run(stack, engine, text)
    manifest = stack.manifest(run_id)
    assert manifest.status.state == "completed"
    output = stack.home.store.folder(run_id).attempt(1).output
    assert output.stat().st_size == 200_000_000 + len("the end\n")
    assert stack.run("logs", "--tail", "1", run_id).stdout == "the end\n"
    assert _peak_memory_mb(stack.pid("worker")) < 600
    output.unlink()  # the sealed record then misses it, which is what the next check sees
    assert stack.run("validate", run_id, check=False).returncode == 7


@engines
def test_output_beyond_the_limit_is_dropped_with_a_mark(tmp_path: Path, migrated_database: Path, engine: str) -> None:
    environment = {
        "FETCHML_OUTPUT_MAX_SIZE": "1M",
        "FETCHML_EXECUTION_MODE": "direct",
        "FETCHML_PODMAN_SOCKET": str(PODMAN_SOCKET),
    }
    own = Stack(tmp_path / "own", migrated_database, environment)
    try:
        run_id = run(own, engine, "for _ in range(30_000):\n    print('y' * 99)\n")
        manifest = own.manifest(run_id)
        assert manifest.status.state == "completed"
        assert own.home.store.folder(run_id).attempt(1).output.stat().st_size == 1024 * 1024
        assert any("output.max_size" in warning for warning in manifest.warnings)
    finally:
        own.close()


@engines
def test_a_script_that_leaves_children_behind(stack: Stack, engine: str) -> None:
    text = (
        "import os, time\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork():\n"
        "            os._exit(0)\n"
        "        time.sleep(600)\n"
        "print('parent ends')\n"
    )
    run_id = run(stack, engine, text)
    assert stack.state(run_id) == "completed"
    mark = f"FETCHML_RUN_ID={run_id}".encode()
    assert _processes_with(mark) == []


@engines
def test_a_script_that_prints_garbage(stack: Stack, engine: str) -> None:
    garbage = b"\xff\xfe\x00 \x1b[2J\x1b]0;title\x07 \xc3( no newline"
    run_id = run(stack, engine, f"import sys\nsys.stdout.buffer.write({garbage!r})\n")
    assert stack.state(run_id) == "completed"
    assert stack.home.store.folder(run_id).attempt(1).output.read_bytes() == garbage


@engines
def test_a_program_that_is_not_there(stack: Stack, engine: str) -> None:
    image = ["--image", IMAGE[engine]] if engine in IMAGE else []
    run_id = stack.queue("--engine", engine, *image, "--", "no-such-program", "--flag")
    (manifest,) = stack.ended(run_id)
    assert (manifest.status.state, manifest.end_reason) == ("failed", "image_error")
    sealed_and_valid(stack, [run_id])


@pytest.mark.parametrize("engine", CONTAINERS)  # root may write to any folder; for other users see the contract suite
def test_a_script_that_writes_where_it_may_not(stack: Stack, engine: str) -> None:
    manifest = stack.manifest(run(stack, engine, "open('model.pt', 'w')\n"))
    assert manifest.diagnosis is not None
    assert "FETCHML_RESULTS" in (manifest.diagnosis.resolution or "")


def test_a_script_whose_package_is_missing(stack: Stack) -> None:
    manifest = stack.manifest(run(stack, "process", "import surely_not_installed\n"))
    assert manifest.diagnosis is not None
    assert "surely_not_installed" in manifest.diagnosis.summary
    assert "dependency manifest" in (manifest.diagnosis.resolution or "")


def test_an_environment_that_cannot_be_built(stack: Stack) -> None:
    stack.script("requirements.txt", "surely-not-a-package==99\n")
    try:
        manifest = stack.manifest(run(stack, "process", "print(1)\n"))
        assert (manifest.status.state, manifest.end_reason) == ("failed", "image_error")
        assert "surely-not-a-package" in (manifest.diagnosis.detail or "") if manifest.diagnosis else False
        assert any(item.path.endswith("build.log") for item in manifest.record_files)
    finally:
        (stack.project / "requirements.txt").unlink()


def _peak_memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


def _processes_with(mark: bytes) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
