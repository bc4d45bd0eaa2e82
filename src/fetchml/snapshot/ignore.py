"""Which files of a project are no part of its code.

`.gitignore` files are obeyed in every folder, `.fetchmlignore` has the same form and the last word. A short built-in
list (virtual environments, caches) spares newcomers their first size error; files that git tracks are always taken.
"""

import codecs
import os
import re
import stat
import string
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from fetchml.errors import ConfigError

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


Patterns = tuple[tuple[re.Pattern[str], bool], ...]
"""What the lines of one file match, and whether that is left out; the last line first, as it has the last word."""


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
        added = tuple((folder, _compiled(lines)) for lines in read if lines)
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
    matched = _by_bytes(os.fsencode(path))
    return next((left_out for regex, left_out in patterns if regex.fullmatch(matched)), None)


def _by_bytes(content: bytes) -> str:
    """Returns text with one character for each byte: to git a `?` is one byte."""
    return content.decode("latin-1")


def _compiled(lines: list[str]) -> Patterns:
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # 50 ms of CPU that many projects are spared

    found: list[tuple[re.Pattern[str], bool]] = []
    for line in reversed(lines):
        try:
            regex, left_out = GitIgnoreSpecPattern.pattern_to_regex(_rewritten(line))
        except ValueError:  # git, too, passes over what is no pattern
            continue
        if regex is not None and left_out is not None:
            found.append((re.compile(regex), left_out))
    return tuple(found)


def _rewritten(line: str) -> str:
    """Returns a line of an ignore file in words that pathspec takes as git takes the line; empty if it says nothing.

    The cases are those in which the two differ; `wildmatch.c` and `dir.c` of git say what holds. Two are left: letters
    right before `**/`, where git is of two minds (`a**/b` takes `ab`), and `/` in a set, which git never matches, but
    takes for a path.
    """
    sign = "!" if line.startswith("!") else ""
    tokens: list[str] = []
    for match in () if line.startswith("#") else _TOKEN.finditer(line, len(sign)):
        if match[0] in _OPEN:  # the rest is not read: a long row of brackets would take for ever
            return ""
        tokens.append(match[0])
    while tokens and tokens[-1] == " ":
        tokens.pop()
    end = "/" if tokens and tokens[-1] == "/" else ""
    translated = [_translated(token) for token in (tokens[:-1] if end else tokens)]
    if not translated or _ESCAPED_SLASH in (translated[0], translated[-1]) or None in translated:
        return ""
    pattern = "".join(token for token in translated if token is not None).replace(_ESCAPED_SLASH, "/")
    pattern = _STARS.sub("**", pattern)
    # Of the folder itself `data/**` says nothing; `?*` is any name, and `*` alone is a case of its own in pathspec.
    folder, slash, name = pattern.rpartition("/")
    if name in ("*", "**"):
        pattern = folder + slash + ("**/?*" if slash and name == "**" else "?*")
    return sign + pattern + end


_STARS = re.compile(r"(?<![^/])\*{3,}(?![^/])")
_OPEN = ("[", "\\")  # never closed, or nothing to escape: git lets nothing match
_ESCAPED_SLASH = "\\/"
_SET = r"\[[!^]?\]?(?:\[:[^\]]*:\]|\\.|[^\]\\])*+\]"
_TOKEN = re.compile(rf"\\.|{_SET}|.", re.DOTALL)
_MEMBER = re.compile(r"\[:([^\]]*):\]|\\?(.)(?:-\\?(.))?", re.DOTALL)
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


def _translated(token: str) -> str | None:
    """Returns one element of a pattern for pathspec, or None if git lets nothing match a pattern that holds it."""
    if len(token) > 2 and token[0] == "[":
        is_negated = token[1] in "!^"
        members = _members(token[1 + is_negated : -1])
        if members is None:
            return None
        return _set_of((_ALL - members if is_negated else members) - {"/"})
    return _set_of({token[-1]}) if token[-1].isspace() else token  # pathspec strips more than blanks from the end


def _members(text: str) -> set[str] | None:
    """Returns the characters of a set such as `a-f[:digit:]_`, or None if it names an unknown class."""
    members: set[str] = set()
    for name, first, last in _MEMBER.findall(text):
        if not first and name not in _CLASSES:
            return None
        members |= {chr(code) for code in range(ord(first), ord(last or first) + 1)} if first else set(_CLASSES[name])
    return members


_ALL = frozenset(map(chr, range(256)))


def _set_of(members: AbstractSet[str]) -> str:
    """Returns a set that pathspec and `re` read alike; a NUL, which no name has, comes before what is special there."""
    inner = "".join(sorted(members - {"]", "-", "\0"}))
    return "[" + ("]" if "]" in members else "\0") + inner + ("-" if "-" in members else "") + "]"


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
    return [_by_bytes(line.removesuffix(b"\r").partition(b"\0")[0]) for line in lines]
