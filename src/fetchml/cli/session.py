"""What one call of the command line shares: how it prints, and where."""

import json
import os
import re
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fetchml.errors import FetchmlError

as_json = False
"""Whether results and errors are JSON."""
quiet = False
"""Whether notes and progress are left out."""
colour = os.environ.get("FETCHML_COLOR", "auto")
debug = os.environ.get("FETCHML_DEBUG", "").lower() in ("1", "true")
"""Whether tracebacks are shown."""

_COLOUR_CODE = re.compile(r"\x1b\[[0-9;]*m")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def guess_format(words: Sequence[str]) -> None:
    """Decides how an error is printed when the command line could not be read."""
    global as_json
    own = words[: words.index("--")] if "--" in words else words
    as_json = as_json or "--json" in own


def print_json(value: object) -> None:
    """Prints a result for programs on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_line(text: str = "") -> None:
    """Prints a line of a result on stdout."""
    print(text)


def note(text: str) -> None:
    """Prints something the user should know on stderr."""
    note_styled(safe(text, keep_newlines=True))


def note_styled(text: str) -> None:
    """Prints a note that may be coloured; what comes from outside must be safe already."""
    if not quiet:
        print(text, file=sys.stderr)


def show_error(error: FetchmlError) -> None:
    """Prints an error on stderr."""
    if as_json:
        print(json.dumps(error.as_json(), indent=2), file=sys.stderr)
        return
    lines = [f"{style('error:', 'red', 'bold', stream=sys.stderr)} {safe(error.summary, keep_newlines=True)}"]
    if error.detail:
        lines.append(safe(error.detail, keep_newlines=True))
    if error.hint:
        lines.append(f"{style('hint:', 'cyan', 'bold', stream=sys.stderr)} {safe(error.hint)}")
    print("\n".join(lines), file=sys.stderr)


def exit_code_of(error: OSError) -> int:
    """Returns the exit code of an operating system error that reached the top."""
    from pathlib import Path

    from fetchml.durable import translate

    return translate(error, "use", Path(str(error.filename or "?"))).exit_code


def safe(text: str, *, keep_newlines: bool = False) -> str:
    """Returns text for a terminal: whatever could move the cursor, hide or reorder text is escaped."""
    return "".join(
        c if c.isprintable() or (keep_newlines and c in "\n\t") else c.encode("unicode_escape").decode() for c in text
    )


def style(text: str, *names: str, stream: Any = None) -> str:
    """Returns text in colour where the terminal and the user want it."""
    if not wants_colour(stream or sys.stdout):
        return text
    codes = ";".join(_STYLES[name] for name in names)
    return f"\x1b[{codes}m{text}\x1b[0m"


def wants_colour(stream: Any, environ: Mapping[str, str] = os.environ) -> bool:
    """Tells whether output may be coloured (no-color.org, and CLICOLOR_FORCE)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    if environ.get("CLICOLOR_FORCE", "0") != "0" or environ.get("FORCE_COLOR", "0") != "0":
        return True
    return colour == "always" or (colour != "never" and stream.isatty())


def table(header: Sequence[str], rows: Sequence[Sequence[str]], stream: Any = None) -> str:
    """Returns aligned columns; the last one is cut to the terminal, and only there.

    Args:
        header: Names of the columns.
        rows: Cells, already safe to print; they may be coloured.
        stream: Where it is printed; stdout by default.
    """
    stream = stream or sys.stdout
    widths = [max(_width(row[i]) for row in (header, *rows)) for i in range(len(header))]
    limit = terminal_width() if stream.isatty() else None
    lines: list[str] = []
    for number, row in enumerate((header, *rows)):
        cells = [cell + " " * (widths[i] - _width(cell)) for i, cell in enumerate(row[:-1])]
        used = sum(widths[:-1]) + 2 * (len(row) - 1)
        last = row[-1]
        if limit is not None and limit - used >= 8 and _width(last) > limit - used:
            last = _cut(last, limit - used)
        line = "  ".join([*cells, last]).rstrip()
        lines.append(style(line, "bold", stream=stream) if number == 0 else line)
    return "\n".join(lines)


def terminal_width() -> int:
    """Returns the width of the terminal in columns."""
    import shutil

    return max(40, shutil.get_terminal_size((100, 24)).columns)


@contextmanager
def screen_updates(interval_s: float) -> Generator["Screen"]:
    """Yields a screen that is drawn over itself on a terminal, and printed one below the other elsewhere."""
    screen = Screen(interval_s)
    try:
        yield screen
    finally:
        screen.close()


class Screen:
    """Text that replaces the text before it.

    Args:
        interval_s: Seconds between two texts.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._terminal = sys.stdout.isatty()
        if self._terminal:
            sys.stdout.write("\x1b[?25l")

    def show(self, text: str) -> None:
        """Shows a text and waits for the interval."""
        if self._terminal:
            sys.stdout.write("\x1b[H\x1b[2J" + text + "\n")
        else:
            sys.stdout.write(text + "\n\n")
        sys.stdout.flush()
        time.sleep(self._interval_s)

    def close(self) -> None:
        """Gives the cursor back."""
        if self._terminal:
            sys.stdout.write("\x1b[?25h")
            sys.stdout.flush()


def _cut(text: str, width: int) -> str:
    """Returns a text cut to a width, with its colour codes whole."""
    room = width - 1
    parts: list[str] = []
    for part in re.split(f"({_COLOUR_CODE.pattern})", text):
        is_code = part.startswith("\x1b")
        parts.append(part if is_code else part[:room])
        if not is_code:
            room -= len(parts[-1])
    end = "\x1b[0m" if "\x1b" in text else ""
    return "".join(parts).removesuffix(end) + "…" + end


def _width(text: str) -> int:
    """Returns how wide a text is shown, without colour codes."""
    if "\x1b" not in text:
        return len(text)
    return len(_COLOUR_CODE.sub("", text))
