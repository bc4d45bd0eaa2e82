"""Why an attempt cannot go on: written by who gave up, taken back by who goes on."""

from pathlib import Path

import pytest

from fetchml.errors import Unavailable
from fetchml.execution.stall import clear_stall, note_stall, read_stall
from fetchml.store.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two attempts."""
    folder = RunFolder(tmp_path)
    for number in (2, 10):
        folder.attempt(number).path.mkdir(parents=True)
    return folder


def test_the_latest_attempt_tells_why_in_one_line(run: RunFolder) -> None:
    note_stall(run.attempt(2), RuntimeError("old"))
    assert read_stall(run) is None
    note_stall(run.attempt(10), Unavailable("the engine is silent", detail="tcp://nas:1\nrefused", hint="not shown"))
    assert read_stall(run) == "the engine is silent: tcp://nas:1 refused"


def test_what_goes_on_says_nothing(run: RunFolder) -> None:
    note_stall(run.attempt(10), OSError("away"))
    clear_stall(run.attempt(10))
    clear_stall(run.attempt(10))
    assert read_stall(run) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", "\ufffd"])
def test_what_cannot_be_read_says_nothing(run: RunFolder, content: str) -> None:
    run.attempt(10).stall.write_text(content)
    assert read_stall(run) is None


def test_a_stranger_among_the_attempts_is_no_attempt(run: RunFolder, tmp_path: Path) -> None:
    (run.attempts / "lost+found").mkdir()
    assert read_stall(run) is None
    assert read_stall(RunFolder(tmp_path / "missing")) is None


def test_a_long_reason_is_cut(run: RunFolder) -> None:
    note_stall(run.attempt(10), RuntimeError("x" * 10_000))
    assert len(read_stall(run) or "") == 500


def test_a_disk_that_takes_nothing_is_no_second_fault(run: RunFolder) -> None:
    folder = run.attempt(3)  # its folder is missing
    note_stall(folder, RuntimeError("away"))
    assert not folder.path.exists()
