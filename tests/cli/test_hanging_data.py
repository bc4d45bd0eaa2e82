"""Data on a share whose server is gone: nothing waits for ever, and everything can be interrupted."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hanging
from cli.calls import COMMAND, TIMEOUT_S, User, is_refused

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not hanging.can_hang(), reason="NOT TESTED: nothing can be mounted here"),
]

SOON: dict[str, str | None] = {"FETCHML_DATASETS_TIMEOUT": "1s"}


@pytest.fixture
def share(user: User) -> Path:
    """A folder that hangs for whatever is called through `seen_by`."""
    folder = user.path / "share"
    folder.mkdir()
    (folder / "a.txt").write_text("pixels")
    return folder


def seen_by(share: Path) -> tuple[str, ...]:
    return (sys.executable, hanging.__file__, str(share))


@pytest.mark.parametrize(
    "words",
    [
        ("dataset", "add", "other", "{share}"),
        ("dataset", "add", "other", "{share}/a.txt"),
        ("dataset", "verify", "mnist"),
    ],
    ids=["add", "add a file", "verify"],
)
def test_a_command_ends_with_an_error_that_says_what_to_do(user: User, share: Path, words: tuple[str, ...]) -> None:
    assert user.call("dataset", "add", "mnist", str(share)).code == 0
    done = user.call(*(word.format(share=share) for word in words), env=SOON, before=seen_by(share))
    is_refused(done, 6, "does not answer", "no byte and no entry for 1", "`datasets.timeout`")
    assert [item["name"] for item in user.call("dataset", "list", "--json").json()["datasets"]] == ["mnist"]


def test_what_is_queued_with_such_data_is_refused_with_the_reason(user: User, share: Path) -> None:
    assert user.call("dataset", "add", "mnist", str(share)).code == 0
    done = user.call("queue", "--data", "mnist", "train.py", env=SOON, before=seen_by(share))
    is_refused(done, 6, "does not answer")
    assert user.call("status", "--json").json()["total"] == 0


@pytest.mark.parametrize("words", [("add", "other", "{share}"), ("verify", "mnist")], ids=["add", "verify"])
def test_an_interrupt_ends_it_and_leaves_nothing(user: User, share: Path, words: tuple[str, ...]) -> None:
    assert user.call("dataset", "add", "mnist", str(share)).code == 0
    process = subprocess.Popen(
        [*seen_by(share), COMMAND, "dataset", *(word.format(share=share) for word in words)],
        env=user.environment(),
        cwd=user.project,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + TIMEOUT_S
        while not hanging.is_stuck(process.pid):
            assert process.poll() is None
            assert time.monotonic() < until, "nothing hangs"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, told.count("\n"), "interrupted" in told) == (130, 1, True), told
    assert [item["name"] for item in user.call("dataset", "list", "--json").json()["datasets"]] == ["mnist"]
