"""Markdown as the reference pages use it."""

from collections.abc import Sequence

_MARK = "<!-- Made by docs/generate.py from the code; edit the code, then run it again. -->"


def page(title: str, *parts: str) -> str:
    """Returns a page of these parts, with a mark that says where it comes from."""
    return "\n\n".join([_MARK, f"# {title}", *(part for part in parts if part)]) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; cells may hold Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(text: str) -> str:
    """Returns text as code."""
    return f"`{text}`"


def sentence(text: str) -> str:
    """Returns a description with a full stop: in help it has none, in a paragraph it needs one."""
    return text if text.endswith((".", "?", ":")) else text + "."


def flat(text: str) -> str:
    """Returns text on one line."""
    return " ".join(text.split())
