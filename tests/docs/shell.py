"""Finds the calls of `fetchml` in the shell lines of code blocks; nothing is run."""

import itertools
import re
import shlex
from collections.abc import Iterator

from docs.markdown import Block

LANGUAGES = frozenset({"console", "sh", "bash", "shell"})

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PUNCTUATION = "();<>|&"
_INSIDE = re.compile(r"\$\(([^()]*)\)")


def lines(block: Block) -> Iterator[str]:
    """Yields the lines that a reader types: those after `$` in a session, all of them in a script."""
    joined = block.text.replace("\\\n", " ")
    for line in joined.splitlines():
        text = line.strip()
        if block.language == "console":
            if text.startswith("$ "):
                yield text[2:]
        elif text and not text.startswith("#"):
            yield text


def fetchml_calls(line: str) -> list[list[str]]:
    """Returns the arguments of every call of `fetchml` in a shell line."""
    calls: list[list[str]] = []
    command: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.commenters = ""
    lexer.whitespace_split = True
    for token in (*itertools.takewhile(lambda token: not token.startswith("#"), lexer), ";"):
        if not all(char in _PUNCTUATION for char in token):
            for inner in _INSIDE.findall(token):  # a command inside double quotes
                calls += fetchml_calls(inner)
            command.append(token)
            continue
        if token.startswith(">") and command and command[-1] in ("1", "2"):
            command.pop()  # the number belongs to the redirection
        words = list(command)
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        if words and words[0] == "fetchml":
            calls.append(words[1:])
        command = []
    return calls
