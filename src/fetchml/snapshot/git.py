"""What git knows about a project: read only, and no command that the repository brings with it is run.

A repository that was unpacked from somewhere may name commands in its configuration: monitors, hooks, filters,
transports. Those of the user's own configuration, such as the filters of Git LFS, are left alone.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 30
_MAX_SUBMODULES = 100
MAX_DIFF_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GitState:
    """The state of the repository a project is in."""

    top: Path
    commit: str | None
    branch: str | None
    dirty: bool
    """Whether a file below the project differs from the commit, or is unknown to it; files of submodules count."""
    diff: bytes | None
    """`git diff HEAD --binary`; None when clean, without a commit, or larger than `MAX_DIFF_BYTES`.

    Of a submodule it shows another commit, not changed files.
    """


def git_top(folder: Path) -> Path | None:
    """Returns the root of the working tree the folder is in, or None without git or outside a repository."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate if shutil.which("git") else None
    return None


def tracked_files(root: Path) -> frozenset[bytes]:
    """Returns the paths below the root that git tracks; empty without git."""
    top = git_top(root)
    if top is None:
        return frozenset()
    # This calls no filter, so the two switches that `_git` always sets are enough.
    listed = _git(top, "-C", str(root.relative_to(top)), "ls-files", "-z", "--cached", "--", ".")
    return frozenset(listed.split(b"\0")) - {b""} if listed is not None else frozenset()


def git_state(root: Path) -> GitState | None:
    """Returns commit, branch, dirty flag and diff, or None where git has nothing to say."""
    top = git_top(root)
    overrides = _overrides(top) if top is not None else None
    if top is None or overrides is None:
        return None
    status = _git(top, *_STATUS, "--branch", "--", str(root), overrides=overrides)
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
        diff = _git(top, *_DIFF, "--", str(root), overrides=overrides)
        if not diff or len(diff) > MAX_DIFF_BYTES:
            diff = None
    dirty = dirty or _has_dirty_submodule(top, root)
    return GitState(top, commit, None if branch == "(detached)" else branch, dirty, diff)


# Of a submodule git itself compares the commit alone: to look at its files it would start another git in it, which
# obeys the configuration there.
_STATUS = ("status", "--porcelain=v2", "-z", "--untracked-files=normal", "--no-renames", "--ignore-submodules=dirty")
_DIFF = (
    *("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color"),
    *("--submodule=short", "--ignore-submodules=dirty"),
)


def _has_dirty_submodule(top: Path, root: Path) -> bool:
    """Tells whether a file of a submodule differs, at any depth; so does what cannot be looked at, or is too much."""
    pending = _submodules(top, root)
    for position, folder in enumerate(pending):  # grows as it is gone through
        overrides = _overrides(folder) if position < _MAX_SUBMODULES else None
        if overrides is None or _git(folder, *_STATUS, overrides=overrides) != b"":
            return True
        pending += _submodules(folder, folder)
    return False


def _submodules(top: Path, root: Path) -> list[Path]:
    """Returns the submodules below a folder that are checked out."""
    records = (_git(top, "ls-files", "--stage", "-z", "--", str(root)) or b"").split(b"\0")
    names = [Path(os.fsdecode(item.partition(b"\t")[2])) for item in records if item.startswith(b"160000 ")]
    return [top / name for name in names if (top / name / ".git").exists() and _is_inside(top, name)]


def _is_inside(top: Path, name: Path) -> bool:
    """Tells whether no part of a path is a link."""
    return (top / name).resolve() == top.resolve() / name


Overrides = tuple[tuple[bytes, bytes], ...]
"""Names of settings of git, and what they are to be instead."""

_PROBE = (b"fetchml.probe", b"")
_TRUSTED_SCOPES = frozenset({b"system", b"global", b"command"})


def _overrides(top: Path) -> Overrides | None:
    """Returns what switches off the commands of a repository's own configuration, or None if that cannot be had.

    Git is asked for the names, since the configuration may lie elsewhere: that of a worktree or a submodule does, and
    files can be included.
    """
    listed = _git(top, "config", "--list", "--show-scope", "--name-only", "--null", overrides=(_PROBE,))
    fields = (listed or b"").split(b"\0")
    names = list(zip(fields[::2], fields[1::2], strict=False))
    if (b"command", _PROBE[0]) not in names:  # a git before 2.31 passes over what it is told in the environment
        return None
    found: dict[bytes, bytes] = {}
    for scope, name in names:
        if scope in _TRUSTED_SCOPES:
            continue
        section, _, rest = name.partition(b".")
        driver = rest.rpartition(b".")[0]
        if name.startswith(b"lfs.extension."):  # commands that the user's own filter would run
            section, driver = b"filter", b"lfs"
        if section == b"filter":
            found |= {b"filter.%b.%b" % (driver, word): b"" for word in (b"clean", b"smudge", b"process")}
            found[b"filter.%b.required" % driver] = b"false"
        elif section == b"hook":
            found[b"hook.%b.enabled" % driver] = b"false"
    return tuple(found.items())


def _git(top: Path, *arguments: str, overrides: Overrides = ()) -> bytes | None:
    """Runs git and returns its output, or None if it failed: git facts are recorded when they can be had."""
    environment = {
        **{name: value for name, value in os.environb.items() if not name.startswith(b"GIT_")},
        # Objects that a partial clone lacks are not fetched: that would run what its configuration says.
        b"GIT_ALLOW_PROTOCOL": b"none",
        b"GIT_NO_LAZY_FETCH": b"1",
        # A broken repository is none, and not the one around it.
        b"GIT_CEILING_DIRECTORIES": os.fsencode(top.parent),
        b"GIT_CONFIG_NOSYSTEM": b"1",
        b"GIT_OPTIONAL_LOCKS": b"0",
        b"GIT_TERMINAL_PROMPT": b"0",
        b"LC_ALL": b"C",
        # Not `-c`, which takes neither a `=` in a name nor bytes that are no UTF-8.
        b"GIT_CONFIG_COUNT": b"%d" % len(overrides),
    }
    for number, (name, value) in enumerate(overrides):
        environment |= {b"GIT_CONFIG_KEY_%d" % number: name, b"GIT_CONFIG_VALUE_%d" % number: value}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(top), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
