"""The commands while server and worker are up: waiting, following, leaving, stopping."""

import json
import signal
import subprocess
from itertools import takewhile

import pytest

from cli.calls import COMMAND, is_safe_text
from stack import TIMEOUT_S, WITNESS, Stack, sealed_and_valid, until

pytestmark = pytest.mark.e2e

PROCESS = ("--engine", "process", "--cpus", "0.5", "--memory", "256M")


@pytest.fixture
def stack(running_stack: Stack) -> Stack:
    """The stack of this module, with the scripts of its tests."""
    running_stack.script("witness.py", WITNESS)
    running_stack.script("fails.py", "print('before the end')\nraise SystemExit(3)\n")
    return running_stack


def command(stack: Stack, *words: str) -> "subprocess.Popen[str]":
    """Starts the installed command."""
    return subprocess.Popen(
        [COMMAND, *words],
        env=stack.env,
        cwd=stack.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_up_when_all_is_up_changes_nothing(stack: Stack) -> None:
    before = (stack.pid("server"), stack.pid("worker"))
    done = stack.run("up", "--json")
    assert json.loads(done.stdout)["worker_pid"] == before[1]
    assert (stack.pid("server"), stack.pid("worker")) == before
    status = stack.json("server", "status")
    assert status["server_answers"] is status["worker_alive"] is True
    assert (status["server_pid"], status["worker_pid"]) == before


def test_the_doctor_is_content(stack: Stack) -> None:
    report = stack.json("doctor")
    assert [item for item in report["findings"] if item["level"] == "error"] == []
    assert report["ok"] is True


def test_waiting_returns_the_record_and_the_exit_code(stack: Stack) -> None:
    done = stack.run("queue", *PROCESS, "--wait", "--json", "fails.py", check=False)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["manifest"]["identity"]["run_id"] == document["run_id"]
    assert document["manifest"]["exit_code"] == 3
    assert "failed" in done.stderr
    assert (
        stack.run("queue", *PROCESS, "--wait", "--quiet", "witness.py", "0").stdout.strip()
        in stack.home.store.run_ids()
    )


def test_watching_one_run_ends_with_it(stack: Stack) -> None:
    run_id = stack.queue(*PROCESS, "--", *stack.gate("watched"))
    stack.is_state(run_id, "running")
    process = command(stack, "status", run_id, "--watch")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    shown = "".join(takewhile(lambda line: line != "state          running\n", lines))
    stack.open_gate("watched")
    shown += process.communicate(timeout=TIMEOUT_S)[0]
    assert process.returncode == 0
    assert shown.rstrip().rpartition("\nrun  ")[2].splitlines()[1] == "state          completed"


def test_following_shows_the_output_and_nothing_else_on_stdout(stack: Stack) -> None:
    done = stack.run("queue", *PROCESS, "--follow", "fails.py", check=False)
    assert (done.returncode, done.stdout) == (1, "before the end\n")
    assert "Ctrl-C leaves it running" in done.stderr
    is_safe_text(done.stderr)


def test_following_a_run_that_goes_on_shows_all_of_it(stack: Stack) -> None:
    run_id = stack.queue(*PROCESS, "witness.py", "1")
    done = stack.run("logs", "--follow", run_id)
    assert done.stdout == stack.run("logs", run_id).stdout
    assert done.stdout.startswith("tick 0\ntick 1\n")
    assert stack.ended(run_id)[0].status.state == "completed"


@pytest.mark.parametrize("option", ["--wait", "--follow"])
def test_who_leaves_lets_the_run_go_on(stack: Stack, option: str) -> None:
    before = set(stack.home.store.run_ids())
    process = command(stack, "queue", *PROCESS, option, "witness.py", "6")
    (run_id,) = until(lambda: set(stack.home.store.run_ids()) - before, "the run to be queued")
    stack.is_state(run_id, "running")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert stack.ended(run_id)[0].status.state == "completed"
    assert len(stack.witnesses(run_id)) == 1
    sealed_and_valid(stack, [run_id])


def test_a_reader_that_has_enough_lets_the_run_go_on(stack: Stack) -> None:
    before = set(stack.home.store.run_ids())
    line = f"{COMMAND} queue {' '.join(PROCESS)} --follow witness.py 1 | head -1"
    done = subprocess.run(
        ["bash", "-c", line], env=stack.env, cwd=stack.project, capture_output=True, text=True, check=True
    )
    assert done.stdout == "tick 0\n"
    assert "Traceback" not in done.stderr
    (run_id,) = set(stack.home.store.run_ids()) - before
    assert stack.ended(run_id)[0].status.state == "completed"


def test_a_running_run_is_stopped_and_its_end_is_told(stack: Stack) -> None:
    run_id = stack.queue(*PROCESS, "--name", "stopped", "witness.py", "600")
    stack.is_state(run_id, "running")
    waiting = command(stack, "wait", "stopped")
    assert waiting.stderr is not None
    assert run_id in waiting.stderr.readline()
    done = stack.run("cancel", "--wait", "--reason", "enough", "stopped")
    assert done.stdout == f"{run_id}  cancelled\n"
    out, err = waiting.communicate(timeout=TIMEOUT_S)
    assert (waiting.returncode, out) == (1, "")
    assert f"{run_id}  cancelled" in err
    assert stack.run("cancel", run_id, check=False).returncode == 4
    sealed_and_valid(stack, [run_id])


def test_a_run_that_cannot_be_started_says_why(stack: Stack) -> None:
    done = stack.run("queue", *PROCESS, "--wait", "--", "no-such-program", check=False)
    assert done.returncode == 1
    shown = stack.run("info", "@").stdout
    assert "no-such-program" in shown
    assert "\nnext " in shown
    is_safe_text(done.stderr)


def test_what_waits_says_why_and_where_in_the_queue(stack: Stack) -> None:
    blocker = stack.queue("--engine", "process", "--memory", "256M", "--cpus", "2", "witness.py", "600")
    stack.is_state(blocker, "running")
    first = stack.queue("--engine", "process", "--memory", "256M", "--cpus", "2", "--name", "first", "witness.py", "0")
    try:
        found = until(
            lambda: next((r for r in stack.json("status")["runs"] if r["run_id"] == first and r["reasons"]), None),
            "the worker to say what the run waits for",
        )
        assert found["position"] == 1
        assert "cpus" in found["reasons"][0]
        assert "#1: " in stack.run("status").stdout
    finally:
        stack.run("cancel", first, blocker, "--wait")
