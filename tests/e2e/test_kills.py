"""`kill -9` of every process of the stack, at a random moment of a run.

After `fetchml up` the run ends once, with a complete record, and its payload was started once: the payload itself
writes a witness file for each start, and the test counts them.
"""

import os
import random
import signal
import time

import pytest

from conftest import BASE_IMAGE
from stack import WITNESS, Stack, sealed_and_valid, until

ROUNDS = int(os.environ.get("FETCHML_TEST_KILL_ROUNDS", "1"))
"""More rounds find rarer moments; each takes about 15 s."""

SEED = int(os.environ.get("FETCHML_TEST_SEED", "0")) or random.randrange(1, 10**6)
RUNTIME_S = 3.0

pytestmark = pytest.mark.e2e

engines = pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=pytest.mark.docker)])


def _moment(*parts: object) -> float:
    """A random moment, the same for the same seed."""
    moment = random.Random(f"{SEED}-{parts}").uniform(0, RUNTIME_S + 2)
    print(f"seed {SEED}, {parts}: {moment:.2f} s; FETCHML_TEST_SEED={SEED} repeats it")
    return moment


@engines
@pytest.mark.parametrize("victim", ["flow", "worker", "server", "all"])
@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_run_ends_once_whoever_is_killed(stack: Stack, engine: str, victim: str, number: int) -> None:
    stack.script("witness.py", WITNESS)
    stack.run("up")
    run_id = (
        stack.queue("--engine", engine, "--image", BASE_IMAGE, "witness.py", str(RUNTIME_S))
        if engine != "process"
        else stack.queue("--engine", engine, "witness.py", str(RUNTIME_S))
    )
    time.sleep(_moment(engine, victim, number))
    _kill(stack, victim)
    if victim != "flow":
        stack.run("up")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    assert len(stack.witnesses(run_id)) == 1
    assert stack.home.store.folder(run_id).attempt(1).output.read_bytes().startswith(b"tick 0\n")
    sealed_and_valid(stack, [run_id])
    if engine == "docker":
        until(lambda: not stack.containers(), "its container to be removed")


@pytest.mark.parametrize("number", range(max(3, ROUNDS)))
def test_a_killed_submission_was_accepted_whole_or_not_at_all(stack: Stack, number: int) -> None:
    stack.script("witness.py", WITNESS)
    stack.run("up")
    client = stack.start("queue", "--engine", "process", "witness.py", "0.2")
    time.sleep(random.Random(f"{SEED}-cli-{number}").uniform(0.05, 0.7))
    client.send_signal(signal.SIGKILL)
    client.wait()
    stack.run("doctor", check=False)  # its reconciler hands over what the dead client could not
    run_ids = stack.home.store.run_ids()
    assert len(run_ids) <= 1
    for manifest in stack.ended(*run_ids):
        assert manifest.status.state == "completed"
    assert all(len(stack.witnesses(run_id)) == 1 for run_id in run_ids)
    leftovers = [path.name for path in (stack.home_path / "store/runs").glob("*") if path.name not in run_ids]
    assert all(name.startswith(".tmp-") for name in leftovers)
    sealed_and_valid(stack, run_ids)


def test_a_second_kill_during_recovery_changes_nothing(stack: Stack) -> None:
    stack.script("witness.py", WITNESS)
    stack.run("up")
    run_id = stack.queue("--engine", "process", "witness.py", "4")
    stack.is_state(run_id, "running")
    for _ in range(2):
        _kill(stack, "worker")
        _kill(stack, "flow")
        stack.run("up")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed"
    assert len(stack.witnesses(run_id)) == 1
    sealed_and_valid(stack, [run_id])


def test_a_run_is_sealed_while_the_server_is_down(stack: Stack) -> None:
    stack.script("witness.py", WITNESS)
    stack.run("up")
    run_id = stack.queue("--engine", "process", "witness.py", "2")
    stack.is_state(run_id, "running")
    _kill(stack, "server")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed"
    stack.run("up")
    state = until(lambda: _flow_run_state(stack, run_id, "COMPLETED"), "Prefect to learn of the end")
    assert state == "COMPLETED"


def _flow_run_state(stack: Stack, run_id: str, wanted: str) -> str | None:
    with stack.prefect() as client:
        found = client.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [run_id]}}})
    return wanted if any(run["state_type"] == wanted for run in found) else None


def _kill(stack: Stack, victim: str) -> None:
    names = ("worker", "server") if victim == "all" else (victim,)
    pids = [stack.pid(name) for name in names if name != "flow"]
    if victim in ("flow", "all"):
        pids += stack.flow_processes()
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
