"""Which files of a project are no part of its code.

`.gitignore` files are obeyed in every folder, `.fetchmlignore` has the same form and the last word. A short built-in
list (virtual environments, caches) spares newcomers their first size error; files that git tracks are always taken.
"""

import codecs
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from fetchml.errors import ConfigError
from fetchml.snapshot.patterns import Patterns, by_bytes, compiled

IGNORE_FILES = (".gitignore", ".fetchmlignore")
"""In order: the later file wins over the earlier one of the same folder."""

_IGNORE_FILES = tuple(map(os.fsencode, IGNORE_FILES))

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


_NEVER = frozenset(map(os.fsencode, NEVER))
_BUILT_IN = frozenset(map(os.fsencode, BUILT_IN))
_BUILT_IN_ENDS = (b".pyc", b".egg-info")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that hold in one folder: its own and those of the folders above."""

    own: tuple[tuple[int, Patterns], ...] = ()
    """Length of a folder's path with its trailing slash, and the folder's patterns; innermost first."""
    inside: bytes = b""
    """Path of the project below the top of its repository, with a trailing slash; empty at the top."""
    above: tuple[tuple[int, Patterns], ...] = ()
    """The same for the folders from the top down to the project, relative to the top."""

    def entered(self, root: bytes, folder: bytes, names: Collection[bytes]) -> "Rules":
        """Returns the rules inside a folder.

        Args:
            root: Root of the project.
            folder: Path of the folder below the root, with a trailing slash, or empty for the root itself.
            names: What is in the folder.
        """
        read = [_lines(os.path.join(root, folder, name)) for name in _IGNORE_FILES if name in names]
        added = tuple((len(folder), compiled(lines)) for lines in reversed(read) if lines)
        return replace(self, own=(*added, *self.own)) if added else self

    def ignores(self, path: bytes, name: bytes, *, is_folder: bool) -> bool:
        """Tells whether a path below the root is left out.

        Args:
            path: The path.
            name: The last part of it.
            is_folder: Whether it is a folder.
        """
        if name in _NEVER:
            return True
        shown = path + b"/" if is_folder else path
        for start, patterns in self.own:
            # What none of the lines matches, as nearly all paths, costs one call.
            if patterns.any_of.match(shown, start) is not None:
                return _verdict(patterns, shown, start)
        if self.above:
            shown = self.inside + shown
            for start, patterns in self.above:
                if patterns.any_of.match(shown, start) is not None:
                    return _verdict(patterns, shown, start)
        return name in _BUILT_IN or name.endswith(_BUILT_IN_ENDS)


def is_never(name: bytes) -> bool:
    """Tells whether a name is never part of a snapshot, tracked or not."""
    return name in _NEVER


def rules_above(top: Path | None, root: Path) -> Rules:
    """Returns the rules that a repository has for a project below its top; none if it ignores the project itself.

    Args:
        top: Top of the repository, or None.
        root: Root of the project.
    """
    if top is None or top == root:
        return Rules()
    parts = map(os.fsencode, root.relative_to(top).parts)
    rules = Rules()
    folder = b""
    for part in parts:
        rules = rules.entered(os.fsencode(top), folder, _IGNORE_FILES[:1])
        if rules.own and rules.ignores(folder + part, part, is_folder=True):
            return Rules()
        folder += part + b"/"
    return Rules(inside=folder, above=rules.own)


def _verdict(patterns: Patterns, path: bytes, start: int) -> bool:
    """Tells whether a path that some line matches is left out. What a line says of a folder is not said of its files.

    As in git, which never looks into a folder that is left out.
    """
    return next(left_out for regex, left_out in patterns.lines if regex.match(path, start) is not None)


def _lines(path: bytes) -> list[str]:
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
        raise ConfigError(f"`{os.fsdecode(path)}` is larger than 256 KB", detail="no list of patterns needs that")
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if len(lines) > _MAX_LINES:
        raise ConfigError(
            f"`{os.fsdecode(path)}` has more than {_MAX_LINES} lines", detail="each is compared with each path"
        )
    return [by_bytes(line.removesuffix(b"\r").partition(b"\0")[0]) for line in lines]
