"""Facts of git: recorded when they can be had, and a broken repository is no reason to refuse a run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fetchml.snapshot.git import git_state, git_top, tracked_files
from unit.snapshot.projects import Git, Write


@pytest.fixture
def committed(write: Write, git: Git) -> str:
    """A repository with one commit; its id."""
    write({"a.py": "a\n", "sub/b.py": "b\n"})
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return git("rev-parse", "HEAD")


def test_outside_a_repository_there_is_nothing_to_say(project: Path, write: Write) -> None:
    write({"a.py": ""})
    assert git_top(project) is None
    assert git_state(project) is None
    assert tracked_files(project) == frozenset()


def test_a_clean_commit(project: Path, committed: str) -> None:
    state = git_state(project)
    assert state is not None
    assert (state.top, state.commit, state.branch, state.dirty, state.diff) == (project, committed, "main", False, None)


def test_a_repository_without_a_commit(project: Path, write: Write, git: Git) -> None:
    write({"a.py": ""})
    git("add", "a.py")
    state = git_state(project)
    assert state is not None
    assert (state.commit, state.branch, state.dirty, state.diff) == (None, "main", True, None)
    assert tracked_files(project) == {b"a.py"}


def test_a_detached_head_has_no_branch(project: Path, git: Git, committed: str) -> None:
    git("checkout", "--quiet", "--detach")
    state = git_state(project)
    assert state is not None
    assert (state.commit, state.branch, state.dirty) == (committed, None, False)


@pytest.mark.parametrize("staged", [False, True])
def test_changes_are_in_the_diff(project: Path, write: Write, git: Git, committed: str, staged: bool) -> None:
    write({"a.py": "changed\n"})
    if staged:
        git("add", "a.py")
    state = git_state(project)
    assert state is not None
    assert (state.commit, state.dirty) == (committed, True)
    assert state.diff is not None
    assert b"-a\n+changed\n" in state.diff


def test_the_diff_brings_a_checkout_to_what_was_captured(
    project: Path, git: Git, committed: str, tmp_path: Path
) -> None:
    (project / "a.py").write_bytes(b"\0\xff" * 100)
    (project / "sub" / "b.py").chmod(0o755)
    state = git_state(project)
    assert state is not None
    assert state.diff is not None
    (tmp_path / "diff").write_bytes(state.diff)
    git("clone", "--quiet", str(project), str(tmp_path / "clone"))
    git("apply", str(tmp_path / "diff"), cwd=tmp_path / "clone")
    assert (tmp_path / "clone" / "a.py").read_bytes() == b"\0\xff" * 100
    assert (tmp_path / "clone" / "sub" / "b.py").stat().st_mode & 0o100


@pytest.mark.parametrize("change", ["untracked", "deleted", "mode"])
def test_any_difference_makes_it_dirty(project: Path, write: Write, committed: str, change: str) -> None:
    match change:
        case "untracked":
            write({"new.py": ""})
        case "deleted":
            (project / "a.py").unlink()
        case _:
            (project / "a.py").chmod(0o755)
    state = git_state(project)
    assert state is not None
    assert state.dirty
    assert (state.diff is None) == (change == "untracked")  # what was never added is in no diff


def test_ignored_files_do_not_make_it_dirty(project: Path, write: Write, git: Git, committed: str) -> None:
    write({".gitignore": "*.log"})
    git("add", ".gitignore")
    git("commit", "--quiet", "--message", "ignore")
    write({"a.log": "x"})
    state = git_state(project)
    assert state is not None
    assert not state.dirty


def test_of_a_part_of_a_repository_only_that_part_counts(project: Path, write: Write, committed: str) -> None:
    write({"a.py": "changed\n"})
    outside, inside = git_state(project / "sub"), git_state(project)
    assert outside is not None
    assert inside is not None
    assert (outside.top, outside.commit, outside.dirty, outside.diff) == (project, committed, False, None)
    assert inside.dirty
    assert tracked_files(project / "sub") == {b"b.py"}


def test_tracked_names_are_bytes(project: Path, git: Git) -> None:
    names = {b"\xff", b"new\nline", b'"', b" "}
    for name in names:
        Path(project, os.fsdecode(name)).touch()
    git("add", ".")
    assert tracked_files(project) == names


def test_a_submodule_is_a_repository_of_its_own(project: Path, git: Git, committed: str, tmp_path: Path) -> None:
    git("clone", "--quiet", str(project), str(tmp_path / "library"))
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "library"), "library")
    git("commit", "--quiet", "--message", "library")
    state, inner = git_state(project), git_state(project / "library")
    assert state is not None
    assert inner is not None
    assert (state.top, state.dirty) == (project, False)
    assert (inner.top, inner.commit) == (project / "library", committed)
    (project / "library" / "a.py").write_text("changed\n")
    state = git_state(project)
    assert state is not None
    assert state.dirty


def test_a_worktree_is_a_repository(project: Path, git: Git, committed: str, tmp_path: Path) -> None:
    git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    state = git_state(tmp_path / "side")
    assert state is not None
    assert (state.top, state.commit, state.branch) == (tmp_path / "side", committed, "side")


# What is broken, or wants to do harm


@pytest.mark.parametrize("what", ["empty folder", "no gitdir", "no head", "damaged index", "file"])
def test_a_broken_repository_has_nothing_to_say(project: Path, git: Git, committed: str, what: str) -> None:
    match what:
        case "empty folder":
            shutil.rmtree(project / ".git")
            (project / ".git").mkdir()
        case "no gitdir":
            shutil.rmtree(project / ".git")
            (project / ".git").write_text("gitdir: /no/such/folder\n")
        case "no head":
            (project / ".git" / "HEAD").write_text("nonsense")
        case "damaged index":
            (project / ".git" / "index").write_bytes(b"nonsense")
        case _:
            shutil.rmtree(project / ".git")
            (project / ".git").write_bytes(b"\xff\n")
    assert git_top(project) == project
    assert git_state(project) is None
    assert tracked_files(project) == frozenset()


def test_without_git_installed_there_is_nothing_to_say(
    project: Path, committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert git_top(project) is None
    assert git_state(project) is None
    assert tracked_files(project) == frozenset()


@pytest.mark.parametrize("fails", [OSError("no memory"), subprocess.TimeoutExpired("git", 30)])
def test_a_git_that_does_not_answer_has_nothing_to_say(
    project: Path, committed: str, monkeypatch: pytest.MonkeyPatch, fails: Exception
) -> None:
    def run(*_: object, **__: object) -> None:
        raise fails

    monkeypatch.setattr(subprocess, "run", run)
    assert git_state(project) is None
    assert tracked_files(project) == frozenset()


def test_nothing_of_a_repository_is_executed(project: Path, write: Write, git: Git, committed: str) -> None:
    witness = project.parent / "executed"
    script = project.parent / "hostile"
    script.write_text(f"#!/bin/sh\ntouch {witness}\n")
    script.chmod(0o755)
    git("config", "core.fsmonitor", str(script))
    git("config", "diff.external", str(script))
    git("config", "diff.hostile.textconv", str(script))
    git("config", "core.pager", str(script))
    git("config", "core.hooksPath", str(project.parent))
    write({".gitattributes": "*.py diff=hostile\n", "a.py": "changed\n"})
    witness.unlink(missing_ok=True)
    state = git_state(project)
    assert state is not None
    assert state.diff is not None
    assert tracked_files(project) == {b"a.py", b"sub/b.py"}
    assert not witness.exists()


def test_no_filter_of_a_repository_is_executed(project: Path, write: Write, git: Git, committed: str) -> None:
    witness = project.parent / "executed"
    write({".gitattributes": "*.py filter=hostile\n"})
    git("config", "filter.hostile.clean", f"touch {witness}; cat")
    write({"a.py": "changed\n"})
    witness.unlink(missing_ok=True)
    assert git_state(project) is not None
    assert not witness.exists()


def test_variables_of_git_do_not_lead_elsewhere(
    project: Path, committed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when fetchml is called from a hook."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", "/")
    state = git_state(project)
    assert state is not None
    assert (state.commit, state.dirty) == (committed, False)


def test_looking_changes_nothing(project: Path, write: Write, committed: str) -> None:
    os.utime(project / "a.py", (1, 1))  # git would refresh its index
    before = {path: path.stat().st_mtime_ns for path in (project / ".git").rglob("*")}
    git_state(project)
    tracked_files(project)
    assert {path: path.stat().st_mtime_ns for path in (project / ".git").rglob("*")} == before


def test_a_diff_beyond_all_bounds_is_left_out(
    project: Path, write: Write, committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"a.py": "changed\n"})
    monkeypatch.setattr("fetchml.snapshot.git.MAX_DIFF_BYTES", 20)
    state = git_state(project)
    assert state is not None
    assert (state.dirty, state.diff) == (True, None)
