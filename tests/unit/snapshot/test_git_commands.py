"""While a project is queued, no command that its repository brings with it is run; those of the user are."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.snapshot.git import git_state, tracked_files
from unit.snapshot.projects import Git, Write


@pytest.fixture
def committed(write: Write, git: Git) -> None:
    """A repository with one commit, whose Python files any filter or driver by the name of `hostile` is for."""
    write({".gitattributes": "*.py filter=hostile diff=hostile\n", "a.py": "a\n", "sub/b.py": "b\n"})
    git("add", ".")
    git("commit", "--quiet", "--message", "first")


class Canary:
    """A program that leaves a trace when it is run, and fails."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "canary"
        self._trace = folder / "trace"
        self.program.write_text(f'#!/bin/sh\necho "$0 $@" >> {self._trace}\nexit 1\n')
        self.program.chmod(0o755)

    def heard(self) -> str:
        """Returns how it was called since it was last asked; empty if it was not."""
        text = self._trace.read_text() if self._trace.exists() else ""
        self._trace.unlink(missing_ok=True)
        return text


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path)


def plain_git(folder: Path, *words: str) -> None:
    """Git as anyone would call it, to prove that a trap is one; it may fail."""
    subprocess.run(["git", *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)


def edit(path: Path) -> None:
    """Changes a file but not its size, so that git has to read it."""
    path.write_bytes(path.read_bytes().swapcase())


def look(project: Path) -> None:
    tracked_files(project)
    git_state(project)


def dirty(project: Path) -> bool:
    state = git_state(project)
    assert state is not None
    return state.dirty


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


# Filters, wherever their configuration lies


NAMES = (b"hostile", b"a=b", b"a.b=c.d", b"\xff", b"Upper", b"sp ace", b"")


@pytest.mark.parametrize("word", ["clean", "process"])
@pytest.mark.parametrize("name", NAMES[:-1])
def test_no_filter_of_a_repository_is_run_whatever_its_name(
    project: Path, committed: None, canary: Canary, name: bytes, word: str
) -> None:
    append(project / ".git" / "config", b'[filter "%b"]\n%b = %b\n' % (name, word.encode(), bytes(canary.program)))
    (project / ".gitattributes").write_bytes(
        b'*.py "filter=%b"\n' % name if b" " in name else b"*.py filter=%b\n" % name
    )
    edit(project / "a.py")
    if b" " not in name:  # an attribute cannot have one; the filter must do no harm to the others
        plain_git(project, "status")
        assert canary.heard()
    look(project)
    assert canary.heard() == ""


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_name_of_a_filter_hides_no_facts(project: Path, committed: None, name: bytes) -> None:
    append(project / ".git" / "config", b'[filter "%b"]\nclean = false\nrequired\n' % name)
    edit(project / "a.py")
    state = git_state(project)
    assert state is not None
    assert state.diff is not None
    assert b"-a\n+A\n" in state.diff


def _in_the_config_of_the_worktree(project: Path, git: Git, setting: bytes) -> Path:
    git("config", "extensions.worktreeConfig", "true")
    (project / ".git" / "config.worktree").write_bytes(setting)
    return project


def _in_an_included_file(project: Path, git: Git, setting: bytes) -> Path:
    (project / "included").write_bytes(setting)
    git("config", "include.path", "../included")
    return project


def _in_a_file_included_for_a_branch(project: Path, git: Git, setting: bytes) -> Path:
    (project / "included").write_bytes(setting)
    git("config", "includeIf.onbranch:main.path", "../included")
    return project


def _in_a_linked_worktree(project: Path, git: Git, setting: bytes) -> Path:
    git("worktree", "add", "--quiet", "-b", "side", str(project.parent / "side"))
    append(project / ".git" / "config", setting)
    return project.parent / "side"


def _in_a_linked_worktree_alone(project: Path, git: Git, setting: bytes) -> Path:
    git("config", "extensions.worktreeConfig", "true")
    git("worktree", "add", "--quiet", "-b", "side", str(project.parent / "side"))
    (project / ".git" / "worktrees" / "side" / "config.worktree").write_bytes(setting)
    return project.parent / "side"


def _in_a_common_folder(project: Path, git: Git, setting: bytes) -> Path:
    shutil.copytree(project / ".git", project.parent / "common")
    append(project.parent / "common" / "config", setting)
    (project / ".git" / "commondir").write_text("../../common")
    return project


def _around_a_broken_repository(project: Path, git: Git, setting: bytes) -> Path:
    append(project / ".git" / "config", setting)
    (project / "sub" / ".git").mkdir()
    (project / "sub" / ".git" / "config").touch()
    return project / "sub"


@pytest.mark.parametrize(
    "place",
    [
        *(_in_the_config_of_the_worktree, _in_an_included_file, _in_a_file_included_for_a_branch),
        *(_in_a_linked_worktree, _in_a_linked_worktree_alone, _in_a_common_folder, _around_a_broken_repository),
    ],
)
def test_no_filter_of_a_repository_is_run_wherever_it_is_configured(
    project: Path, git: Git, committed: None, canary: Canary, place: Callable[[Path, Git, bytes], Path]
) -> None:
    folder = place(project, git, b'[filter "hostile"]\nclean = %b\nrequired = true\n' % bytes(canary.program))
    canary.heard()
    for name in ("a.py", "b.py"):
        if (folder / name).exists():
            edit(folder / name)
    plain_git(folder, "status")
    assert canary.heard()
    look(folder)
    assert canary.heard() == ""


def test_the_filters_of_the_user_are_run(project: Path, git: Git, committed: None, canary: Canary) -> None:
    """As Git LFS is: without it every file it keeps would seem to be changed."""
    git("config", "--global", "filter.hostile.clean", str(canary.program))
    edit(project / "a.py")
    look(project)
    assert canary.heard()


def test_a_filter_of_the_user_that_would_run_commands_of_the_repository_is_not_run(
    project: Path, write: Write, git: Git, committed: None, canary: Canary
) -> None:
    git("config", "--global", "filter.lfs.clean", str(canary.program))
    git("config", "lfs.extension.hostile.clean", "true")
    write({".gitattributes": "*.py filter=lfs\n"})
    edit(project / "a.py")
    look(project)
    assert canary.heard() == ""


def test_a_git_that_cannot_be_told_has_nothing_to_say(
    project: Path, committed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One before 2.31 does not know `GIT_CONFIG_COUNT`, and would run the filters."""
    really = shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\nunset GIT_CONFIG_COUNT\nexec {really} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    assert git_state(project) is not None
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert git_state(project) is None
    assert tracked_files(project) == {b".gitattributes", b"a.py", b"sub/b.py"}


# Whatever else a repository can have run


@pytest.mark.parametrize(
    ("setting", "command"),
    [
        ("core.fsmonitor", "status"),
        ("diff.external", "diff"),
        ("diff.hostile.command", "diff"),
        ("diff.hostile.textconv", "diff"),
        ("core.pager", None),
        ("pager.diff", None),
        ("pager.status", None),
        ("core.sshCommand", None),
        ("core.gitProxy", None),
        ("core.askPass", None),
        ("core.editor", None),
        ("core.alternateRefsCommand", None),
        ("credential.helper", None),
        ("gpg.program", None),
        ("alias.status", None),
        ("alias.ls-files", None),
        ("hook.hostile.command", None),
        ("interactive.diffFilter", None),
        ("merge.hostile.driver", None),
        ("uploadpack.packObjectsHook", None),
    ],
)
def test_no_command_of_a_repository_is_run(
    project: Path, git: Git, committed: None, canary: Canary, setting: str, command: str | None
) -> None:
    git("config", setting, f"!{canary.program}" if setting.startswith("alias.") else str(canary.program))
    git("config", "hook.hostile.event", "post-index-change")
    edit(project / "a.py")
    os.utime(project / "sub" / "b.py", (1, 1))
    if command is not None:
        plain_git(project, command)
        assert canary.heard()
    look(project)
    assert canary.heard() == ""


@pytest.mark.parametrize("hooks", [".git/hooks", "hooks"])
def test_no_hook_is_run(project: Path, git: Git, committed: None, canary: Canary, hooks: str) -> None:
    git("config", "core.hooksPath", hooks)
    (project / hooks).mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "post-checkout"):
        shutil.copy(canary.program, project / hooks / name)
    os.utime(project / "sub" / "b.py", (1, 1))
    plain_git(project, "status")
    assert canary.heard()
    os.utime(project / "sub" / "b.py", (2, 2))
    os.utime(project / "a.py", (2, 2))
    edit(project / "a.py")
    look(project)
    assert canary.heard() == ""


# Submodules


@pytest.fixture
def library(project: Path, git: Git, committed: None, tmp_path: Path) -> Path:
    """A submodule of the project, checked out."""
    git("clone", "--quiet", str(project), str(tmp_path / "origin"))
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "origin"), "library")
    git("commit", "--quiet", "--message", "library")
    return project / "library"


@pytest.mark.parametrize(
    ("setting", "trap"),
    [
        ("core.fsmonitor", "status"),
        ("filter.hostile.clean", "status"),
        ("filter.hostile.process", "status"),
        ("diff.external", "diff"),
        ("diff.hostile.textconv", "diff"),
    ],
)
def test_no_command_of_a_submodule_is_run(
    project: Path, library: Path, git: Git, canary: Canary, setting: str, trap: str
) -> None:
    git("config", setting, str(canary.program), cwd=library)
    for name, value in (("diff.submodule", "diff"), ("submodule.recurse", "true"), ("status.submoduleSummary", "true")):
        git("config", name, value)
    edit(library / "a.py")
    plain_git(project, trap)
    assert canary.heard()
    look(project)
    assert canary.heard() == ""
    off = [
        word
        for name in ("core.fsmonitor", "filter.hostile.clean", "filter.hostile.process")
        for word in ("-c", f"{name}=")
    ]
    git(*off, "commit", "--all", "--quiet", "--message", "second", cwd=library)
    edit(library / "a.py")
    canary.heard()
    look(project)
    assert canary.heard() == ""


@pytest.mark.parametrize("change", ["edited", "untracked", "staged", "another commit", "nested", "no longer one"])
def test_a_submodule_that_differs_makes_it_dirty(project: Path, library: Path, git: Git, change: str) -> None:
    assert not dirty(project)
    match change:
        case "edited":
            edit(library / "a.py")
        case "untracked":
            (library / "new.py").touch()
        case "staged":
            edit(library / "a.py")
            git("add", "a.py", cwd=library)
        case "another commit":
            edit(library / "a.py")
            git("commit", "--all", "--quiet", "--message", "second", cwd=library)
        case "nested":
            git("clone", "--quiet", str(project.parent / "origin"), "inner", cwd=library)
            git("add", "inner", cwd=library)
            git("commit", "--quiet", "--message", "inner", cwd=library)
            git("commit", "--all", "--quiet", "--message", "inner")
            assert not dirty(project)
            edit(library / "inner" / "a.py")
        case _:
            (library / ".git").write_text("gitdir: /no/such/folder\n")
    assert dirty(project)
    assert not dirty(project / "sub")


def test_a_submodule_that_is_not_checked_out_is_clean(project: Path, library: Path, git: Git) -> None:
    git("submodule", "--quiet", "deinit", "--force", "library")
    assert not dirty(project)


def test_a_link_in_the_place_of_a_submodule_is_not_entered(project: Path, library: Path) -> None:
    library.rename(project.parent / "elsewhere")
    library.symlink_to(project.parent / "elsewhere")
    assert dirty(project)


def test_submodules_beyond_all_bounds_are_not_looked_at(
    project: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.snapshot.git._MAX_SUBMODULES", 0)
    assert dirty(project)


# Partial clones


@pytest.mark.parametrize(
    "settings",
    [
        {"remote.origin.uploadpack": "{canary}"},
        {"remote.origin.url": "ext::{canary}", "protocol.ext.allow": "always"},
        {"remote.origin.url": "ssh://example.org/x", "core.sshCommand": "{canary}"},
        {"remote.origin.url": "git://example.org/x", "core.gitProxy": "{canary}"},
    ],
    ids=["uploadpack", "ext", "ssh", "proxy"],
)
def test_nothing_is_fetched(
    project: Path, git: Git, committed: None, tmp_path: Path, canary: Canary, settings: dict[str, str]
) -> None:
    git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--filter=blob:none", f"file://{project}", str(clone))
    edit(project / "a.py")
    git("commit", "--all", "--quiet", "--message", "second")
    git("fetch", "--quiet", cwd=clone)
    git("reset", "--quiet", "--soft", "origin/main", cwd=clone)  # to a commit whose file is not here
    for name, value in settings.items():
        git("config", name, value.format(canary=canary.program), cwd=clone)
    plain_git(clone, "diff", "HEAD")
    assert canary.heard()
    look(clone)
    assert canary.heard() == ""
    state = git_state(clone)
    assert state is not None
    assert (state.dirty, state.diff) == (True, None)
