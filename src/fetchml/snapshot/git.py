"""What git knows about a project: read only, with the repository's own hooks and monitors switched off."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 30
MAX_DIFF_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GitState:
    """The state of the repository a project is in."""

    top: Path
    commit: str | None
    branch: str | None
    dirty: bool
    diff: bytes | None
    """`git diff HEAD --binary`; None when clean, without a commit, or larger than `MAX_DIFF_BYTES`."""


def git_top(folder: Path) -> Path | None:
    """Returns the root of the working tree the folder is in, or None without git or outside a repository."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate if shutil.which("git") else None
    return None


def tracked_files(root: Path) -> frozenset[bytes]:
    """Returns the paths below the root that git tracks; empty without git."""
    if git_top(root) is None:
        return frozenset()
    listed = _git(root, "ls-files", "-z", "--cached", "--", ".")
    return frozenset(listed.split(b"\0")) - {b""} if listed is not None else frozenset()


def git_state(root: Path) -> GitState | None:
    """Returns commit, branch, dirty flag and diff, or None where git has nothing to say."""
    top = git_top(root)
    if top is None:
        return None
    off = _filters_off(top)
    status = _git(top, *off, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--", str(root))
    if status is None:
        return None
    headers: dict[str, str] = {}
    dirty = False
    for record in status.split(b"\0"):
        if record.startswith(b"# "):
            name, _, value = record[2:].decode("utf-8", "replace").partition(" ")
            headers[name] = value
        elif record:
            dirty = True
    commit = headers.get("branch.oid")
    branch = headers.get("branch.head")
    commit = None if commit in (None, "(initial)") else commit
    diff = None
    if dirty and commit is not None:
        diff = _git(
            top, *off, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--", str(root)
        )
        if not diff or len(diff) > MAX_DIFF_BYTES:
            diff = None
    return GitState(top, commit, None if branch == "(detached)" else branch, dirty, diff)


def _filters_off(top: Path) -> list[str]:
    """Returns the options that switch off the filters of a repository's own configuration.

    They are commands, and a repository that was unpacked from somewhere may bring its own. Those of the user, such as
    Git LFS, are left alone.
    """
    try:
        configured = (top / ".git" / "config").read_bytes().lower()
    except OSError:
        configured = b"filter"
    if b"filter" not in configured and b"include" not in configured:
        return []
    names = _git(top, "config", "--local", "--includes", "--null", "--name-only", "--get-regexp", r"^filter\.")
    found = (names or b"").decode("utf-8", "replace").split("\0")
    drivers = {name.removeprefix("filter.").rpartition(".")[0] for name in found if name}
    keys = [f"filter.{driver}.{word}" for driver in sorted(drivers) for word in ("clean", "smudge", "process")]
    required = [f"filter.{driver}.required=false" for driver in sorted(drivers)]
    return [option for key in (*(f"{key}=" for key in keys), *required) for option in ("-c", key)]


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Runs git and returns its output, or None if it failed: git facts are recorded when they can be had."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
