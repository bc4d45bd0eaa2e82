"""Which files of a project are no part of its code.

`.gitignore` files are obeyed in every folder, `.fetchmlignore` has the same form and the last word. A short built-in
list (virtual environments, caches) spares newcomers their first size error; files that git tracks are always taken.
"""

import codecs
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from fetchml.errors import ConfigError
from fetchml.snapshot.patterns import Patterns, by_bytes, compiled

IGNORE_FILES = (".gitignore", ".fetchmlignore")
"""In order: the later file wins over the earlier one of the same folder."""

NEVER = frozenset({".git", ".hg", ".svn", ".jj"})
"""Never part of a snapshot: version control keeps its own history, and hooks are code nobody asked to run."""

BUILT_IN = frozenset(
    {
        ".DS_Store",
        ".cache",
        ".direnv",
        ".eggs",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
        ".venv",
        "__pycache__",
        "mlruns",
        "node_modules",
        "venv",
        "wandb",
    }
)
"""Names that are left out unless git tracks the file or an ignore file says `!name`."""

_MAX_IGNORE_BYTES = 256 * 1024
_MAX_LINES = 5_000


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that hold in one folder: its own and those of the folders above."""

    own: tuple[tuple[str, Patterns], ...] = ()
    """Folder (relative, with a trailing slash or empty) and its patterns, outermost first."""
    inside: str = ""
    """Path of the project below the top of its repository, with a trailing slash; empty at the top."""
    above: tuple[tuple[str, Patterns], ...] = ()
    """The same for the folders from the top down to the project, relative to the top."""

    def entered(self, root: Path, folder: str, names: set[str]) -> "Rules":
        """Returns the rules inside a folder.

        Args:
            root: Root of the project.
            folder: Path of the folder below the root, with a trailing slash, or empty for the root itself.
            names: What is in the folder.
        """
        read = [_lines(root / folder / name) for name in IGNORE_FILES if name in names]
        added = tuple((folder, compiled(lines)) for lines in read if lines)
        return replace(self, own=(*self.own, *added)) if added else self

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Tells whether a path below the root is left out."""
        name = path.rpartition("/")[2]
        if name in NEVER:
            return True
        shown = path + "/" if is_folder else path
        for folder, patterns in reversed(self.own):
            verdict = _verdict(patterns, shown[len(folder) :])
            if verdict is not None:
                return verdict
        for folder, patterns in reversed(self.above):
            verdict = _verdict(patterns, (self.inside + shown)[len(folder) :])
            if verdict is not None:
                return verdict
        return name in BUILT_IN or name.endswith((".pyc", ".egg-info"))


def rules_above(top: Path | None, root: Path) -> Rules:
    """Returns the rules that a repository has for a project below its top; none if it ignores the project itself.

    Args:
        top: Top of the repository, or None.
        root: Root of the project.
    """
    if top is None or top == root:
        return Rules()
    parts = root.relative_to(top).parts
    rules = Rules()
    folder = ""
    for part in parts:
        rules = rules.entered(top, folder, {".gitignore"})
        if rules.own and rules.ignores(folder + part, is_folder=True):
            return Rules()
        folder += part + "/"
    return Rules(inside=folder, above=rules.own)


def _verdict(patterns: Patterns, path: str) -> bool | None:
    """Tells whether a path is left out or taken back, or None. What a line says of a folder is not said of its files.

    As in git, which never looks into a folder that is left out.
    """
    matched = by_bytes(os.fsencode(path))
    if patterns.any_of.match(matched) is None:
        return None
    return next((left_out for regex, left_out in patterns.lines if regex.match(matched)), None)


def _lines(path: Path) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return []
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_MAX_IGNORE_BYTES + 1)
    if len(content) > _MAX_IGNORE_BYTES:
        raise ConfigError(f"`{path}` is larger than 256 KB", detail="no list of patterns needs that")
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if len(lines) > _MAX_LINES:
        raise ConfigError(f"`{path}` has more than {_MAX_LINES} lines", detail="each is compared with each path")
    return [by_bytes(line.removesuffix(b"\r").partition(b"\0")[0]) for line in lines]
