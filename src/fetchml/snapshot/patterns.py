"""The lines of an ignore file as regular expressions, which take time in proportion to a path's length.

What holds is what `wildmatch.c` and `dir.c` of git say. Two cases differ: letters right before `**/`, where git is of
two minds (`a**/b` takes `ab`), and `/` in a set, which git never matches, but takes for a path.

A star is tried at the first place where what follows it fits, and nowhere else: what it stands for ends at the next
slash or the end of the path, so that a later place could fit no more. The same holds for `**` and the folders after it.
"""

import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patterns:
    """What the lines of one file match; a folder's path ends with a slash."""

    lines: tuple[tuple[re.Pattern[bytes], bool], ...]
    """Each line, and whether it leaves out; the last line first, as it has the last word."""
    any_of: re.Pattern[bytes]
    """What any of them matches."""


def by_bytes(content: bytes) -> str:
    """Returns text with one character for each byte: to git a `?` is one byte."""
    return content.decode("latin-1")


def compiled(lines: Iterable[str]) -> Patterns:
    """Returns what the lines of a file match, each given by its bytes; see `by_bytes`."""
    found: dict[str, bool] = {}
    for line in lines:
        regex = _regex(line)
        if regex is not None:
            found.pop(regex, None)  # the last one counts
            found[regex] = not line.startswith("!")
    return Patterns(
        tuple((_compiled(regex), left_out) for regex, left_out in reversed(found.items())),
        _compiled("|".join(f"(?:{regex})" for regex in found) or _NOTHING),
    )


def _compiled(regex: str) -> re.Pattern[bytes]:
    return re.compile(regex.encode("latin-1"), re.DOTALL)


_NOTHING = "(?!)"
_ANY = "[^/]"
_STAR = "*"
_SLASH = "/"
_ESCAPED_SLASH = "\\/"
_FOLDERS = "(?:[^/]++/)"


def _regex(line: str) -> str | None:
    """Returns what a line matches, from the beginning of a path to its end; None if that is nothing."""
    if line.startswith("#"):
        return None
    tokens = _tokens(line[line.startswith("!") :])
    if tokens is None:
        return None
    while tokens and tokens[-1] == " ":
        tokens.pop()
    end = "/?+\\Z"
    if tokens and tokens[-1] == _SLASH:
        tokens.pop()
        end = "/\\Z"
    if not tokens or _ESCAPED_SLASH in (tokens[0], tokens[-1]):
        return None
    is_path = any(token in (_SLASH, _ESCAPED_SLASH) for token in tokens)
    if tokens[0] == _SLASH:
        tokens = tokens[1:]
    parts: list[str | None] = []
    for name in _names(tokens):
        part = None if is_path and len(name) > 1 and set(name) == {_STAR} else _name(name)
        if part is None and parts and parts[-1] is None:
            continue
        if part == _NOTHING:
            return None
        parts.append(part)
    return _path(parts if is_path else [None, *parts]) + end


def _path(parts: list[str | None]) -> str:
    """Returns what a path matches; None stands for any number of folders, at the end for all that is in one."""
    found = ""
    runs: list[list[str]] = [[]]
    for part in parts:
        if part is None:
            runs.append([])
        else:
            runs[-1].append(part)
    for number, names in enumerate(runs):
        is_last = number == len(runs) - 1
        joined = "/".join(names)
        if number == 0:
            found += joined if is_last or not names else joined + "/"
        elif not is_last:
            found += f"(?>{_FOLDERS}*?{joined}/)"
        elif names:
            found += f"{_FOLDERS}*{joined}"
        else:
            found += "[^/].*?"
    return found


def _names(tokens: list[str]) -> Iterator[list[str]]:
    name: list[str] = []
    for token in tokens:
        if token in (_SLASH, _ESCAPED_SLASH):
            yield name
            name = []
        else:
            name.append(token)
    yield name


def _name(tokens: list[str]) -> str:
    """Returns what one name of a path matches."""
    chunks = [""]
    for token in tokens:
        if token == _STAR:
            chunks.append("")
            continue
        element = _element(token)
        if element is None:
            return _NOTHING
        chunks[-1] += element
    if not any(chunks):
        return f"{_ANY}++" if len(chunks) > 1 else ""
    first, *middle = chunks
    if not middle:
        return first
    last = middle.pop()
    found = first + "".join(f"(?>[^/]*?{chunk})" for chunk in middle if chunk)
    return f"{found}[^/]*{last}(?![^/])" if last else f"{found}[^/]*+"


def _element(text: str) -> str | None:
    """Returns what one element of a pattern matches, or None if git lets nothing match a pattern that holds it."""
    if text == "?":
        return _ANY
    if len(text) > 2 and text[0] == "[":
        _, members = _set(text, 0)
        if members is None:
            return None
        chosen = (_ALL - members if text[1] in "!^" else members) - {_SLASH, "\0"}
        return f"[{''.join(map(re.escape, sorted(chosen)))}]" if chosen else _NOTHING
    return re.escape(text[-1])


def _tokens(text: str) -> list[str] | None:
    """Returns the elements of a pattern; None if a set is never closed, or a backslash stands before nothing."""
    found: list[str] = []
    at = 0
    while at < len(text):
        after = at + 1
        if text[at] == "\\":
            after = at + 2
        elif text[at] == "[":
            after, _ = _set(text, at)
        if not at < after <= len(text):
            return None
        found.append(text[at:after])
        at = after
    return found


def _set(text: str, start: int) -> tuple[int, set[str] | None]:
    """Reads a set such as `[!a-f[:digit:]_]`, character by character as git does.

    Args:
        text: The pattern.
        start: Where the bracket is.

    Returns:
        Where the set ends, or 0 if it does not; and what stands in it, or None if it names an unknown class.
    """
    at = start + 1 + (text[start + 1 : start + 2] in ("!", "^"))
    members: set[str] = set()
    is_known = True
    before = ""  # what a range would begin with
    closed = 0
    is_first = True
    while at < len(text) and (is_first or text[at] != "]"):
        is_first = False
        # Looked for once for all that begins before it: a long row of brackets would take for ever.
        closed = text.find("]", at + 2) if 0 <= closed < at + 2 else closed
        if text.startswith("[:", at) and closed < 0:
            return 0, None
        is_range = text[at] == "-" and before != "" and text[at + 1 : at + 2] not in ("", "]")
        if is_range:
            at += 1
        elif text.startswith("[:", at) and closed > at + 2 and text[closed - 1] == ":":
            name = text[at + 2 : closed - 1]
            is_known = is_known and name in _CLASSES
            members.update(_CLASSES.get(name, ""))
            before, at = "", closed + 1
            continue
        if text[at] == "\\":
            at += 1
        if at == len(text):
            return 0, None
        last = text[at]
        members.update(map(chr, range(ord(before), ord(last) + 1)) if is_range else last)
        before = "" if is_range else last
        at += 1
    return (at + 1 if at < len(text) else 0), (members if is_known else None)


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
_ALL = frozenset(map(chr, range(256)))
