#!/usr/bin/env python
"""Records the terminal session that the README shows: real commands in a real terminal, drawn as SVG.

Run it as `python docs/pictures/record.py` where `make demo` has run once; it queues one more run of the example.
"""

import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "fetchml queue --name digits train.py --lr 0.03",
    "fetchml wait @",
    "fetchml status --limit 3",
    "fetchml logs @ --tail 3",
    "fetchml info @",
)
WIDTH = 100


def main() -> None:
    """Runs the commands one after the other and draws what the terminal showed."""
    os.chdir(ROOT / "examples" / "digits")
    os.environ.update(COLUMNS=str(WIDTH), TERM="xterm-256color", PATH=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    for command in COMMANDS:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(_typed(command)))
    target = ROOT / "docs" / "pictures" / "terminal.svg"
    drawing = console.export_svg(title="fetchml", font_aspect_ratio=0.61)
    # Without the fonts rich would have a reader fetch from elsewhere.
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL))
    print(f"wrote {target.relative_to(ROOT)}", file=sys.stderr)


def _typed(command: str) -> str:
    """Runs a command on a terminal of its own and returns what it showed there."""
    shown = bytearray()

    def read(descriptor: int) -> bytes:
        chunk = os.read(descriptor, 65536)
        shown.extend(chunk)
        return chunk

    pty.spawn(["/bin/sh", "-c", f"stty cols {WIDTH}; {command}"], read)
    return shown.decode("utf-8", "replace").replace("\r\n", "\n")


if __name__ == "__main__":
    main()
