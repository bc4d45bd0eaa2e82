"""Ctrl-C at every kind of work: exit 130, one line, nothing half-made, and what was queued goes on."""

import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from cli.calls import TIMEOUT_S, User
from cli.conftest import Library

INTERRUPTED = "interrupted; what was queued goes on in the background\n"


def interrupted(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Sends Ctrl-C and returns the rest of the output; fails unless the command says what happened, and how it ends."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    assert err.endswith(INTERRUPTED)
    assert "Traceback" not in err
    return out, err


@pytest.mark.parametrize("words", [("wait",), ("wait", "--timeout", "1h")], ids=" ".join)
def test_waiting_is_left_and_the_run_stays(own_library: Library, words: tuple[str, ...]) -> None:
    user = own_library.user
    process = user.start(*words, own_library.queued)
    assert process.stderr is not None
    assert own_library.queued in process.stderr.readline()
    out, _ = interrupted(process)
    assert out == ""
    assert user.call("info", "--json", own_library.queued).json()["status"]["state"] == "queued"


def test_following_is_left_after_what_was_shown(own_library: Library) -> None:
    user, run_id = own_library.user, own_library.queued
    folder = user.runs / run_id / "attempts" / "1"
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("first\n")
    process = user.start("logs", "--follow", run_id)
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    out, err = interrupted(process)
    assert (out, err) == ("", INTERRUPTED)


def test_watching_is_left(library: Library) -> None:
    process = library.user.start("status", "--watch")
    assert process.stdout is not None
    assert "completed" in process.stdout.readline()
    interrupted(process)


def test_a_run_that_is_being_captured_is_not_half_queued(user: User) -> None:
    """The snapshot is taken with the help of a `git` that waits, so that the moment is known."""
    (user.project / ".git").mkdir()
    tools = user.path / "tools"
    tools.mkdir()
    here, on = user.path / "here", user.path / "on"
    os.mkfifo(here)
    os.mkfifo(on)
    git = tools / "git"
    git.write_text(f'#!/bin/sh\necho here > "{here}"\nexec cat "{on}"\n')
    git.chmod(0o755)
    process = user.start("queue", "train.py", env={"PATH": f"{tools}:{user.environment()['PATH']}"})
    assert here.read_text() == "here\n"
    out, err = interrupted(process)
    with suppress(OSError):  # a terminal would have ended the `git`, too
        os.close(os.open(on, os.O_WRONLY | os.O_NONBLOCK))
    assert (out, err) == ("", INTERRUPTED)
    user.nothing_is_left()


def handing_over(user: User, *words: str) -> tuple["subprocess.Popen[str]", socket.socket]:
    """Starts `fetchml queue` with a Prefect server that takes the connection and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT_S)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    process = user.start("queue", *words, "train.py", env={"FETCHML_PREFECT_API_URL": url})
    connection, _ = listener.accept()
    connection.recv(1)
    listener.close()
    return process, connection


def test_a_run_that_is_being_handed_over_is_already_safe(user: User) -> None:
    process, connection = handing_over(user)
    interrupted(process)
    connection.close()
    (run_id,) = os.listdir(user.runs)
    assert user.call("validate", run_id).code == 0
    assert user.call("info", "--json", run_id).json()["status"]["state"] == "queued"


@pytest.mark.parametrize("option", ["--wait", "--follow"])
def test_who_leaves_early_knows_which_run_goes_on(user: User, option: str) -> None:
    process, connection = handing_over(user, option)
    out, err = interrupted(process)
    connection.close()
    (run_id,) = os.listdir(user.runs)
    assert run_id in out + err


PAYLOAD = """\
import os, time
with open({here!r}, "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""


def test_a_direct_run_ends_with_the_command_that_carries_it_out(user: User, tmp_path: Path) -> None:
    here = tmp_path / "here"
    os.mkfifo(here)
    user.script("train.py", PAYLOAD.format(here=str(here)))
    process = user.start("queue", "train.py", env={"FETCHML_EXECUTION_MODE": "direct"})
    payload = int(here.read_text())
    try:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in err
        assert process.returncode == 130
        (run_id,) = os.listdir(user.runs)
        assert user.call("info", "--json", run_id).json()["status"]["state"] == "cancelled"
    finally:
        with suppress(ProcessLookupError):
            os.kill(payload, signal.SIGKILL)
