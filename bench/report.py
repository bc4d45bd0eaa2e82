"""The table: for a terminal, as Markdown, as JSON, and inside the README."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.results import Row, Series

README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- table: written by `python -m bench --write` -->", "<!-- end of table -->"
_HEADER = ("what", "counted", "fetchml", "peer", "peer's", "ratio", "n", "aim")


def markdown(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """Returns the table and the facts about the machine as Markdown."""
    lines = ["| " + " | ".join(_HEADER) + " |", "|" + " --- |" * len(_HEADER)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"- {name}: {value}" for name, value in facts.items())])


def text(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """Returns the same for a terminal: one block for each thing that was done."""
    lines = [f"{name:<18} {value}" for name, value in facts.items()]
    cells = [_cells(row)[1:] for row in rows]
    widths = [max(len(row[i]) for row in (*cells, _HEADER[1:])) for i in range(len(_HEADER) - 1)]
    shown = ""
    for row, line in zip(rows, cells, strict=True):
        if row.measure != shown:
            shown = row.measure
            lines += ["", shown, _aligned(_HEADER[1:], widths)]
        lines.append(_aligned(line, widths))
    return "\n".join(lines)


def as_json(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """Returns everything that was measured, every single value included."""
    return json.dumps({"schema_version": 1, "machine": dict(facts), "rows": [_row(row) for row in rows]}, indent=2)


def write_into_readme(table: str) -> None:
    """Puts a table between the marks in the README."""
    content = README.read_text(encoding="utf-8")
    before, _, rest = content.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    README.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")


def _cells(row: Row) -> tuple[str, ...]:
    numbers = " / ".join(str(len(series.values)) if series else "-" for series in (row.ours, row.theirs))
    return (
        row.measure,
        row.quantity,
        _series(row.ours, row.reason),
        row.peer or "-",
        "-" if row.peer is None else _series(row.theirs, row.reason),
        "-" if row.ratio is None else _ratio(row.ratio),
        numbers if row.peer else numbers.partition(" ")[0],
        _aim(row),
    )


def _series(series: Series | None, reason: str | None) -> str:
    if series is None:
        return f"not measured: {reason or 'nothing counted'}"
    low, high = min(series.values), max(series.values)
    unit, factor = ("ms", 1000) if high < 1 else ("s", 1)
    middle, low, high = (_number(value * factor) for value in (series.median, low, high))
    return f"{middle} {unit} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio(ratio: float) -> str:
    return f"1/{_factor(1 / ratio)}" if ratio < 1 else _factor(ratio)


def _factor(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _aim(row: Row) -> str:
    if row.aim is None:
        return "-"
    shown = {True: "met", False: "NOT MET", None: "not measured"}[row.met]
    difference = row.difference_s if row.aim.of == "difference" else None
    return f"{row.aim}: {shown}" + (f" (+{difference:.2f} s)" if difference is not None else "")


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _row(row: Row) -> dict[str, object]:
    return {
        "measure": row.measure,
        "quantity": row.quantity,
        "fetchml_s": row.ours.values if row.ours else None,
        "peer": row.peer,
        "peer_s": row.theirs.values if row.theirs else None,
        "ratio": row.ratio,
        "aim": str(row.aim) if row.aim else None,
        "met": row.met,
        "not_measured": row.reason,
    }
