"""Ownership: one process drives an attempt, and for exactly as long as it lives."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract.racing import in_processes
from fetchml.errors import FetchmlError
from fetchml.execution.ownership import is_owned, owning
from fetchml.store.folder import AttemptFolder

HOLDER = """
import sys
from pathlib import Path
from fetchml.execution.ownership import owning
from fetchml.store.folder import AttemptFolder

with owning(AttemptFolder(Path(sys.argv[1]))) as is_owner:
    print(is_owner, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    return AttemptFolder(tmp_path / "attempts" / "1")


@contextmanager
def another_owner(folder: AttemptFolder) -> Generator[subprocess.Popen[str]]:
    """Another process that owns the attempt until its stdin is closed."""
    command = [sys.executable, "-c", HOLDER, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_an_attempt_that_nobody_has_touched_is_not_owned(folder: AttemptFolder) -> None:
    assert not is_owned(folder)
    assert not folder.path.exists()


def test_it_is_owned_within_the_block_and_no_longer(folder: AttemptFolder) -> None:
    with owning(folder) as is_owner:
        assert is_owner
        assert is_owned(folder)
    assert not is_owned(folder)


def test_it_is_let_go_of_when_the_block_fails(folder: AttemptFolder) -> None:
    with pytest.raises(KeyboardInterrupt), owning(folder):
        raise KeyboardInterrupt
    assert not is_owned(folder)
    with owning(folder) as is_owner:
        assert is_owner


def test_a_process_may_enter_again(folder: AttemptFolder) -> None:
    with owning(folder):
        with owning(folder) as is_owner:
            assert is_owner
        assert is_owned(folder)
    assert not is_owned(folder)


def test_what_another_process_owns_is_not_taken(folder: AttemptFolder) -> None:
    with another_owner(folder):
        assert is_owned(folder)
        with owning(folder) as is_owner:
            assert not is_owner
        assert is_owned(folder)
    with owning(folder) as is_owner:
        assert is_owner


def test_a_killed_owner_lets_go(folder: AttemptFolder) -> None:
    with another_owner(folder) as process:
        process.kill()
        process.wait()
        assert not is_owned(folder)
        with owning(folder) as is_owner:
            assert is_owner


def test_attempts_are_owned_apart(tmp_path: Path) -> None:
    first, second = AttemptFolder(tmp_path / "1"), AttemptFolder(tmp_path / "2")
    with another_owner(first), owning(second) as is_owner:
        assert is_owner
    assert not is_owned(first)


def test_of_many_processes_one_is_the_owner(folder: AttemptFolder) -> None:
    """All of them have tried before the first lets go."""
    program = """
import time
from pathlib import Path
from fetchml.execution.ownership import owning
from fetchml.store.folder import AttemptFolder

folder = AttemptFolder(Path(sys.argv[2]))
gate()
with owning(folder) as is_owner:
    tried = folder.path.parent / "tried"
    tried.mkdir(exist_ok=True)
    (tried / sys.argv[1]).touch()
    while len(list(tried.iterdir())) < 4:
        time.sleep(0.005)
    print(is_owner)
"""
    assert sorted(in_processes(4, program, folder.path)) == ["False\n"] * 3 + ["True\n"]


def test_someone_who_only_looks_keeps_nobody_from_owning(folder: AttemptFolder) -> None:
    folder.path.mkdir(parents=True)
    folder.owner_lock.touch()
    for _ in range(20):
        assert not is_owned(folder)
        with owning(folder) as is_owner:
            assert is_owner


def test_a_place_that_cannot_be_locked_is_an_error(folder: AttemptFolder) -> None:
    folder.owner_lock.mkdir(parents=True)
    with pytest.raises(FetchmlError), owning(folder):
        raise AssertionError("nothing is owned")
    assert not is_owned(folder)
