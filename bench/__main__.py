"""`python -m bench`: measures, compares, prints one table."""

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from bench import report
from bench.context import Bench
from bench.machine import machine_facts
from bench.measures import capture, crowd, hashing, overhead, placement, startup, submit, throughput
from bench.results import Row
from bench.say import say
from bench.workspace import workspace

MEASURES: dict[str, Callable[[Bench], list[Row]]] = {
    module.NAME: module.measure
    for module in (startup, submit, overhead, throughput, capture, hashing, placement, crowd)
}
_INTERRUPTED = 130


def main() -> int:
    """Runs the bench; returns 0 unless it was interrupted. A missed aim or a missing peer is no error."""
    options = _parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    rows: list[Row] = []
    try:
        # What is entered last ends first: the stacks stop before their folder goes.
        with workspace(options.folder) as folder, ExitStack() as exits:
            facts = machine_facts(folder)
            bench = Bench(folder, exits, options.repeat, options.quick)
            for name in options.only or MEASURES:
                say(f"--- {name}")
                rows += MEASURES[name](bench)
    except KeyboardInterrupt:
        say("interrupted; everything that was started is stopped")
        return _INTERRUPTED
    table = report.markdown(rows, facts)
    print(table if options.markdown else report.text(rows, facts))
    if options.json:
        options.json.write_text(report.as_json(rows, facts) + "\n", encoding="utf-8")
    if options.write:
        report.write_into_readme(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures fetchml against its peers.")
    parser.add_argument("--only", nargs="+", choices=tuple(MEASURES), metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--repeat", type=_positive, metavar="N", help="measure everything N times")
    parser.add_argument("--quick", action="store_true", help="few and small, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single value to a file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where runs are kept meanwhile; its disk counts")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ends the bench; an impatient second Ctrl-C must not cut the cleaning up short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
