"""Which files of a project are no part of its code.

`.gitignore` files are obeyed in every folder, `.fetchmlignore` has the same form and the last word. A short built-in
list (virtual environments, caches) spares newcomers their first size error; files that git tracks are always taken.
"""

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fetchml.errors import ConfigError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

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


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that hold in one folder: its own and those of the folders above."""

    own: tuple[tuple[str, "GitIgnoreSpec"], ...] = ()
    """Folder (relative, with a trailing slash or empty) and its patterns, outermost first."""
    inside: str = ""
    """Path of the project below the top of its repository, with a trailing slash; empty at the top."""
    above: tuple[tuple[str, "GitIgnoreSpec"], ...] = ()
    """The same for the folders from the top down to the project, relative to the top."""

    def entered(self, root: Path, folder: str, names: set[str]) -> "Rules":
        """Returns the rules inside a folder.

        Args:
            root: Root of the project.
            folder: Path of the folder below the root, with a trailing slash, or empty for the root itself.
            names: What is in the folder.
        """
        read = [_lines(root / folder / name) for name in IGNORE_FILES if name in names]
        added = tuple((folder, _compiled(lines)) for lines in read if lines)
        return replace(self, own=(*self.own, *added)) if added else self

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Tells whether a path below the root is left out."""
        name = path.rpartition("/")[2]
        if name in NEVER:
            return True
        shown = path + "/" if is_folder else path
        for folder, spec in reversed(self.own):
            verdict = spec.check_file(shown[len(folder) :]).include
            if verdict is not None:
                return verdict
        for folder, spec in reversed(self.above):
            verdict = spec.check_file((self.inside + shown)[len(folder) :]).include
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


def _compiled(lines: list[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # 50 ms of CPU that a project without ignore files is spared

    expanded = [_POSIX_CLASS.sub(lambda match: _POSIX_CLASSES[match[1]], line) for line in lines]
    try:
        return GitIgnoreSpec.from_lines(expanded)
    except ValueError:
        return GitIgnoreSpec.from_lines(line for line in expanded if _makes_sense(line))


def _makes_sense(line: str) -> bool:
    """Tells whether a line is a pattern; git passes over those that are none."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \t",
    "digit": "0-9",
    "lower": "a-z",
    "space": " \t\r\n\v\f",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_POSIX_CLASS = re.compile(r"\[:(" + "|".join(_POSIX_CLASSES) + r"):\]")


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
    return content.decode("utf-8", "surrogateescape").splitlines()
