"""Ignore files: what git leaves out is left out, `.fetchmlignore` has the last word beside it, tracked files stay."""

import os
from pathlib import Path
from typing import Any

import pytest

from fetchml.errors import ConfigError, Refused
from fetchml.snapshot.ignore import BUILT_IN, NEVER
from fetchml.snapshot.scan import scan
from unit.snapshot.projects import LIMITS, Git, Write

TREE = (
    "a.log",
    "a.py",
    "build/a.log",
    "build/keep/a.py",
    "data/a.bin",
    "data/b/a.bin",
    "data/b/a.py",
    "src/a.log",
    "src/build/a.py",
    "src/data/a.bin",
)


def taken(project: Path) -> set[str]:
    """The paths of the snapshot, without the ignore files."""
    paths = {os.fsdecode(item.path) for item in scan(project, LIMITS)}
    return {path for path in paths if not path.endswith("ignore")}


def make(write: Write, ignore_files: dict[str, str], tree: tuple[str, ...] = TREE) -> None:
    write(dict.fromkeys(tree, "x") | ignore_files)


def without(*left_out: str) -> set[str]:
    return {path for path in TREE if not path.startswith(left_out)}


RULES: list[Any] = [
    ({}, set(TREE)),
    ({".gitignore": ""}, set(TREE)),
    ({".gitignore": "# *.py\n\n   \n"}, set(TREE)),
    ({".gitignore": "*.log"}, without("a.log", "build/a.log", "src/a.log")),
    ({".gitignore": "*.log\r\n"}, without("a.log", "build/a.log", "src/a.log")),
    ({".gitignore": "/*.log"}, without("a.log")),
    ({".gitignore": "build/"}, without("build/", "src/build/")),
    ({".gitignore": "/build/"}, without("build/")),
    ({".gitignore": "src/build"}, without("src/build/")),
    ({".gitignore": "a.py/"}, set(TREE)),
    ({".gitignore": "data/**"}, without("data/")),
    ({".gitignore": "**/data"}, without("data/", "src/data/")),
    ({".gitignore": "data/*\n!data/b/"}, without("data/a.bin")),
    ({".gitignore": "data/**/*.bin"}, without("data/a.bin", "data/b/a.bin")),
    ({".gitignore": "*.bin\n!data/b/*.bin"}, without("data/a.bin", "src/data/a.bin")),
    ({".gitignore": "!data/b/*.bin\n*.bin"}, without("data/a.bin", "data/b/a.bin", "src/data/a.bin")),
    # What is below a folder that is left out cannot be taken back.
    ({".gitignore": "data/\n!data/b/a.py"}, without("data/", "src/data/")),
    ({".gitignore": "*.log", "src/.gitignore": "!*.log"}, without("a.log", "build/a.log")),
    ({".gitignore": "!*.log", "src/.gitignore": "*.log"}, without("src/a.log")),
    ({"src/.gitignore": "/data"}, without("src/data/")),
    ({"src/.gitignore": "/src"}, set(TREE)),
    ({"data/b/.gitignore": "*\n!a.py"}, without("data/b/a.bin")),
    ({".gitignore": "[ab].log"}, without("a.log", "build/a.log", "src/a.log")),
    ({".gitignore": "[[:lower:]].log"}, without("a.log", "build/a.log", "src/a.log")),
    ({".gitignore": "\\!odd\n\\#odd\nodd\\ "}, set(TREE)),
]


@pytest.mark.parametrize(
    ("ignore_files", "expected"), RULES, ids=lambda value: str(value) if isinstance(value, dict) else "taken"
)
def test_what_git_leaves_out_is_left_out(
    project: Path, write: Write, git: Git, ignore_files: dict[str, str], expected: set[str]
) -> None:
    make(write, ignore_files)
    listed = git("ls-files", "--others", "--exclude-standard", "-z").split("\0")
    assert {path for path in listed if path and not path.endswith("ignore")} == expected, "what git itself says"
    assert taken(project) == expected


def test_it_takes_no_git_to_obey_them(project: Path, write: Write) -> None:
    make(write, {".gitignore": "*.log", "src/.gitignore": "!*.log"})
    assert taken(project) == without("a.log", "build/a.log")


@pytest.mark.parametrize(
    ("ignore_files", "expected"),
    [
        ({".fetchmlignore": "*.log"}, without("a.log", "build/a.log", "src/a.log")),
        ({".gitignore": "*.log", ".fetchmlignore": "!/a.log"}, without("build/a.log", "src/a.log")),
        ({".gitignore": "!*.log", ".fetchmlignore": "/a.log"}, without("a.log")),
        ({".gitignore": "data/", ".fetchmlignore": "!data/\n!data/**"}, set(TREE)),
        # To take a folder back is not to take back every file in it.
        ({".gitignore": "*.bin", ".fetchmlignore": "!data/"}, without("data/a.bin", "data/b/a.bin", "src/data/a.bin")),
        # Rules of a deeper folder win over those above it, whichever file they are in.
        ({".fetchmlignore": "*.log", "src/.gitignore": "!*.log"}, without("a.log", "build/a.log")),
        ({".fetchmlignore": "!*.log", "src/.fetchmlignore": "*.log"}, without("src/a.log")),
    ],
)
def test_fetchmlignore_has_the_last_word_over_the_gitignore_beside_it(
    project: Path, write: Write, ignore_files: dict[str, str], expected: set[str]
) -> None:
    make(write, ignore_files)
    assert taken(project) == expected


def test_the_ignore_files_are_part_of_the_snapshot(project: Path, write: Write) -> None:
    write({"a.py": "", ".gitignore": "*.log", ".fetchmlignore": ""})
    assert {item.path for item in scan(project, LIMITS)} == {b"a.py", b".gitignore", b".fetchmlignore"}


# What is left out without a rule


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_caches_and_environments_are_left_out_at_any_depth(project: Path, write: Write, name: str) -> None:
    write({"a.py": "", f"{name}/x": "", f"deep/{name}/deeper/x": "", f"{name}.py": "", f"my{name}/x": ""})
    assert taken(project) == {"a.py", f"{name}.py", f"my{name}/x"}


def test_compiled_files_and_metadata_are_left_out(project: Path, write: Write) -> None:
    write({"a.py": "", "a.pyc": "", "b/c.pyc": "", "package.egg-info/PKG-INFO": "", "pyc": ""})
    assert taken(project) == {"a.py", "pyc"}


@pytest.mark.parametrize("file", [".gitignore", ".fetchmlignore"])
@pytest.mark.parametrize(("rule", "paths"), [("!wandb", {"wandb/x", "b/wandb/x"}), ("!/wandb/", {"wandb/x"})])
def test_a_rule_takes_them_back(project: Path, write: Write, file: str, rule: str, paths: set[str]) -> None:
    write({"wandb/x": "", "b/wandb/x": "", file: rule})
    assert taken(project) == paths


@pytest.mark.parametrize("name", sorted(NEVER))
def test_version_control_is_never_taken(project: Path, write: Write, name: str) -> None:
    write({"a.py": "", f"{name}/config": "", f"sub/{name}/hooks/x": "", ".gitignore": f"!{name}\n!{name}/**\n"})
    assert taken(project) == {"a.py"}


def test_a_version_control_link_file_is_never_taken(project: Path, write: Write) -> None:
    """In a submodule or worktree `.git` is a file."""
    write({"a.py": "", "module/.git": "gitdir: ../.git/modules/module", "module/b.py": ""})
    assert taken(project) == {"a.py", "module/b.py"}


# Tracked files


def test_what_git_tracks_is_taken_whatever_a_rule_says(project: Path, write: Write, git: Git) -> None:
    make(write, {".gitignore": "*.log\ndata/\n", ".fetchmlignore": "src/\n"}, (*TREE, "wandb/x"))
    git("add", "--force", "a.log", "data/b/a.bin", "src/a.log", "wandb/x")
    assert taken(project) == {
        *("a.log", "a.py", "build/keep/a.py", "data/b/a.bin", "src/a.log", "wandb/x"),
    }


@pytest.mark.parametrize("name", ["venv", "node_modules", "package.egg-info"])
def test_a_tracked_file_brings_only_itself(project: Path, write: Write, git: Git, name: str) -> None:
    write({f"{name}/tracked": "", f"{name}/other": "", f"{name}/lib/other": "", "a.py": ""})
    git("add", "--force", f"{name}/tracked")
    assert taken(project) == {"a.py", f"{name}/tracked"}


def test_a_project_below_the_top_of_a_repository_obeys_its_own_files(project: Path, write: Write, git: Git) -> None:
    write({"sub/a.py": "", "sub/a.log": "", "sub/kept.log": "", "sub/.gitignore": "*.log", "other.py": ""})
    git("add", "--force", "sub/kept.log")
    assert taken(project / "sub") == {"a.py", "kept.log"}


def test_a_project_below_the_top_of_a_repository_obeys_the_files_above_it(
    project: Path, write: Write, git: Git
) -> None:
    write({"sub/a.py": "", "sub/a.log": "", ".gitignore": "*.log"})
    assert git("ls-files", "--others", "--exclude-standard", "--", "sub") == "sub/a.py"
    assert taken(project / "sub") == {"a.py"}


# Odd ignore files


def test_an_ignore_file_that_is_a_link_is_not_followed(project: Path, write: Write, tmp_path: Path) -> None:
    """Git does not follow it either."""
    write({"a.py": "", "rules": "*.py"})
    (project / ".gitignore").symlink_to("rules")
    assert taken(project) == {"a.py", "rules"}


@pytest.mark.parametrize("name", [".gitignore", ".fetchmlignore"])
def test_an_ignore_file_that_is_a_fifo_holds_nobody_up(project: Path, write: Write, name: str) -> None:
    write({"a.py": ""})
    os.mkfifo(project / name)
    with pytest.raises(Refused) as caught:
        taken(project)
    assert caught.value.detail == f"- {name}: is a FIFO, not a file"


def test_an_ignore_file_that_is_a_folder_is_a_folder(project: Path, write: Write) -> None:
    write({"a.py": "", ".gitignore/b.py": ""})
    assert taken(project) == {"a.py", ".gitignore/b.py"}


def test_an_ignore_file_in_any_encoding_is_read(project: Path) -> None:
    (project / ".gitignore").write_bytes(b"\xff*.log\nb\xe9\n*.bin\n")
    for name in (b"\xffa.log", b"b\xe9", b"a.bin", b"a.py"):
        (project / os.fsdecode(name)).touch()
    assert taken(project) == {"a.py"}


def test_an_ignore_file_beyond_all_bounds_is_refused(project: Path, write: Write) -> None:
    write({"a.py": "", ".gitignore": "#" * (256 * 1024)})
    assert taken(project) == {"a.py"}
    write({".gitignore": "#" * (256 * 1024 + 1)})
    with pytest.raises(ConfigError):
        taken(project)


@pytest.mark.parametrize(
    "rule",
    [
        *("[", "[a", "**/**/**/**", "a" * 10_000, "/", "//", "[!]", "***", "a[", "**a"),
        *("!", "\\", "a\\"),
    ],
)
def test_a_rule_that_makes_no_sense_means_what_it_means_to_git(
    project: Path, write: Write, git: Git, rule: str
) -> None:
    write({"a.py": "", ".gitignore": f"{rule}\n*.log\n", "a.log": ""})
    listed = git("ls-files", "--others", "--exclude-standard", "-z").split("\0")
    assert taken(project) == {path for path in listed if path and not path.endswith("ignore")}
