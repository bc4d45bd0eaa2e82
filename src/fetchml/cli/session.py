"""What one call of the command line shares: how it prints, and where."""

import json
import os
import re
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from fetchml.errors import FetchmlError

as_json = False
"""Whether results and errors are JSON."""
quiet = False
"""Whether notes and progress are left out."""
colour = os.environ.get("FETCHML_COLOR", "auto")
"""Whether output is coloured: `always`, `never`, or `auto`, which is on a terminal."""
_held: list[str] = []
"""Notes that are shown at the end of the call, as `--json` keeps them from the streams until then."""
interruption = "interrupted; what was queued goes on in the background"
"""What is said after Ctrl-C."""
debug = os.environ.get("FETCHML_DEBUG", "").lower() in ("1", "true")
"""Whether tracebacks are shown."""

_COLOUR_CODE = re.compile(r"\x1b\[[0-9;]*m")
_LINE_MAX = 500
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def guess_format(words: Sequence[str], command: Any = None) -> None:
    """Decides how an error is printed when the command line could not be read.

    Args:
        words: The command line.
        command: The command that was typed, if it is known; one that runs scripts leaves their words alone.
    """
    global as_json
    own = list(words[: words.index("--")] if "--" in words else words)
    if command is not None and not command.allow_interspersed_args and not hasattr(command, "commands"):
        own = own[: _first_argument(own, command)]
    as_json = as_json or "--json" in own


def _first_argument(words: Sequence[str], command: Any) -> int:
    """Returns the place of the first word, after the command's own name, that is neither an option nor its value."""
    takes_value = {name for item in command.params for name in item.opts if name.startswith("-") and not item.is_flag}
    position = words.index(command.name) + 1 if command.name in words else 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] in takes_value else 1
    return position


def prepare_streams() -> None:
    """Makes sure that there is something to print to, and that no character ends a command."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by the caller: the next file opened would take its number
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # open as long as the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """Prints a result for programs on stdout; no character in it can do anything to a terminal."""
    print(json_text(value))


def json_text(value: object) -> str:
    """Returns a value as JSON that any terminal can show."""
    is_utf8 = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=not is_utf8)
    return "\n".join(
        line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
        for line in text.split("\n")
    )


def print_line(text: str = "") -> None:
    """Prints a line of a result on stdout."""
    print(text)


def lose(stream: Any) -> None:
    """Lets whatever a stream still has to write go nowhere; Python would complain of it again at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note(text: str) -> None:
    """Prints something the user should know on stderr."""
    note_styled(safe(text, keep_newlines=True))


def note_styled(text: str) -> None:
    """Prints a note that may be coloured; what comes from outside must be safe already.

    With `--json` notes are held back until the call has ended: an error is then the one document on stderr.
    """
    if quiet:
        return
    if as_json:
        _held.append(text)
    else:
        _print_error(text)


def show_notes() -> None:
    """Prints the notes that were held back."""
    for text in _held:
        _print_error(text)
    _held.clear()


def show_error(error: FetchmlError) -> None:
    """Prints an error on stderr."""
    if as_json:
        _print_error(json.dumps({**error.as_json(), **({"notes": _held} if _held else {})}, indent=2))
        return
    lines = [f"{style('error:', 'red', 'bold', stream=sys.stderr)} {_clipped(error.summary)}"]
    if error.detail:
        lines.append(_clipped(error.detail))
    if error.hint:
        lines.append(f"{style('hint:', 'cyan', 'bold', stream=sys.stderr)} {safe(_clipped(error.hint))}")
    _print_error("\n".join(lines))


def _print_error(text: str) -> None:
    """Prints on stderr; what cannot be said there is lost, and changes nothing."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        lose(sys.stderr)


def _clipped(text: str) -> str:
    """Returns a text with no line longer than anyone reads."""
    lines = safe(text, keep_newlines=True).split("\n")
    return "\n".join(line if len(line) <= _LINE_MAX else line[:_LINE_MAX] + " ..." for line in lines)


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

    def show(self, text: str, *, is_last: bool = False) -> None:
        """Shows a text, and waits for the interval unless it is the last one."""
        if self._terminal:
            sys.stdout.write("\x1b[H\x1b[2J" + text + "\n")
        else:
            sys.stdout.write(text + "\n\n")
        sys.stdout.flush()
        if not is_last:
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
