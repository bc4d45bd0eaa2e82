"""Cancelling: a waiting, a preparing and a running run; by the command line and by Prefect."""

import os

import pytest

from conftest import BASE_IMAGE
from stack import WITNESS, Stack, sealed_and_valid, until

pytestmark = pytest.mark.e2e

engines = pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=pytest.mark.docker)])

POLITE = """\
import os, signal, sys, time
results = os.environ["FETCHML_RESULTS"]
def stop(*_):
    open(os.path.join(results, "said-goodbye"), "w").write("checkpoint")
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
open(os.path.join(results, "partial"), "w").write("half of it")
print("ready", flush=True)
time.sleep(600)
"""

STUBBORN = """\
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def flags(engine: str) -> list[str]:
    return ["--engine", engine, *(["--image", BASE_IMAGE] if engine == "docker" else [])]


@pytest.fixture(scope="module")
def impatient_stack(tmp_path_factory: pytest.TempPathFactory, migrated_database: object) -> object:
    """A stack that waits two seconds between SIGTERM and SIGKILL."""
    made = Stack(tmp_path_factory.mktemp("stack"), migrated_database, {"FETCHML_STOP_GRACE": "2s"})  # pyright: ignore[reportArgumentType]
    try:
        made.run("up")
        yield made
    finally:
        made.close()


def ready(stack: Stack, run_id: str) -> None:
    output = stack.home.store.folder(run_id).attempt(1).output
    until(lambda: output.exists() and b"ready" in output.read_bytes(), f"{run_id} to be ready")


@engines
def test_a_running_run_gets_sigterm_and_keeps_what_it_wrote(impatient_stack: Stack, engine: str) -> None:
    stack = impatient_stack
    stack.script("polite.py", POLITE)
    run_id = stack.queue(*flags(engine), "polite.py")
    ready(stack, run_id)
    stack.run("cancel", "--wait", "--reason", "wrong data", run_id)
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "cancelled"
    assert manifest.end_reason == "cancelled"
    assert manifest.exit_code == 3
    assert manifest.artifacts is not None
    assert [item.path for item in manifest.artifacts.files] == ["partial", "said-goodbye"]
    request = stack.home.store.read_cancel(run_id)
    assert request is not None
    assert request.reason == "wrong data"
    sealed_and_valid(stack, [run_id])


@engines
def test_a_run_that_ignores_sigterm_is_killed_and_only_then_cancelled(impatient_stack: Stack, engine: str) -> None:
    stack = impatient_stack
    stack.script("stubborn.py", STUBBORN)
    run_id = stack.queue(*flags(engine), "stubborn.py")
    ready(stack, run_id)
    stack.run("cancel", run_id)
    assert stack.state(run_id) != "cancelled"
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "cancelled"
    assert manifest.exit_code == 137
    assert manifest.diagnosis is not None
    assert "did not stop in time" in manifest.diagnosis.summary
    if engine == "docker":
        until(lambda: not stack.containers(), "the container to be removed")
    sealed_and_valid(stack, [run_id])


def test_a_waiting_run_is_cancelled_at_once_and_never_starts(impatient_stack: Stack) -> None:
    stack = impatient_stack
    stack.script("witness.py", WITNESS)
    cpus = str(len(os.sched_getaffinity(0)))
    blocker = stack.queue("--engine", "process", "--cpus", cpus, "--", *stack.gate())
    stack.is_state(blocker, "running")
    waiting = stack.queue("--engine", "process", "--cpus", cpus, "witness.py", "0.1")
    outcome = stack.json("cancel", waiting)
    assert outcome["runs"] == [{"run_id": waiting, "state": "cancelled"}]
    assert stack.manifest(waiting).times.started_at is None
    stack.open_gate()
    stack.ended(blocker)
    after = stack.queue("--engine", "process", "--cpus", cpus, "witness.py", "0.1")
    stack.ended(after)
    assert stack.witnesses(waiting) == []
    until(lambda: flow_run_state(stack, waiting) == "CANCELLED", "Prefect to know that it was cancelled")
    sealed_and_valid(stack, [waiting])


def test_a_preparing_run_is_cancelled_while_its_environment_is_built(impatient_stack: Stack) -> None:
    stack = impatient_stack
    stack.script("witness.py", WITNESS)
    # A dependency that takes its time: the build backend of a local project sleeps.
    slow = stack.project / "slow"
    slow.mkdir()
    (slow / "pyproject.toml").write_text(
        "[project]\nname = 'slow'\nversion = '1'\n"
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    )
    (slow / "backend.py").write_text("import time\ntime.sleep(600)\n")
    stack.script("requirements.txt", "./slow\n")
    try:
        run_ids = [stack.queue("--engine", "process", "--cpus", "0.5", "witness.py", "0.1") for _ in range(2)]

        def building(run_id: str) -> bool:
            log = stack.home.store.folder(run_id).attempt(1).build_log
            return log.exists() and b"pip install" in log.read_bytes()

        until(lambda: any(map(building, run_ids)), "the build to begin")
        for run_id in run_ids:
            stack.is_state(run_id, "preparing")
        # The environment is built once: the other run waits for it, and is cancelled first.
        for run_id in sorted(run_ids, key=building):
            stack.run("cancel", "--wait", run_id)
            (manifest,) = stack.ended(run_id)
            assert manifest.status.state == "cancelled"
            assert manifest.times.started_at is None
            assert stack.witnesses(run_id) == []
        sealed_and_valid(stack, run_ids)
    finally:
        (stack.project / "requirements.txt").unlink()


def test_cancelling_in_prefect_cancels_the_run(impatient_stack: Stack) -> None:
    stack = impatient_stack
    stack.script("polite.py", POLITE)
    run_id = stack.queue("--engine", "process", "polite.py")
    ready(stack, run_id)
    with stack.prefect() as client:
        (flow_run,) = client.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [run_id]}}})
        client.post(f"/flow_runs/{flow_run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "cancelled"
    assert manifest.status.by == "the Prefect UI"
    until(lambda: flow_run_state(stack, run_id) == "CANCELLED", "Prefect to know the end")


def test_what_has_ended_cannot_be_cancelled(impatient_stack: Stack) -> None:
    stack = impatient_stack
    run_id = stack.queue("--engine", "process", "--", "true")
    stack.ended(run_id)
    done = stack.run("cancel", run_id, check=False)
    assert done.returncode == 4
    assert "has ended" in done.stderr
    sealed_and_valid(stack, [run_id])


def flow_run_state(stack: Stack, run_id: str) -> str:
    with stack.prefect() as client:
        (found,) = client.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [run_id]}}})
    return str(found["state_type"])
