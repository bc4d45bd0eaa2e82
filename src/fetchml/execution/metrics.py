"""Metrics of a run: from what a script logged or printed to the record.

Two doors, one result: `fetchml.log_metric` appends JSON lines to a file in the run's inbox, and a line
`FETCHML_METRIC name=value step=n` on stdout means the same in any language. Both are written by the payload, so
nothing in them is trusted beyond its form.
"""

import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fetchml.models.manifest import MetricSummary

STDOUT_PREFIX = b"FETCHML_METRIC "
MAX_LINE_BYTES = 4096
MAX_VALUES = 1_000_000
"""Values kept of one run; beyond that the file would outgrow its use."""

_STDOUT_LINE = re.compile(rb"FETCHML_METRIC\s+([^\s=]{1,128})=(\S{1,64})(?:\s+step=([0-9]{1,15}))?\s*", re.ASCII)
_INTEGER_LIMIT = 2**53
"""Beyond it canonical JSON (RFC 8785) has no integers."""
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One logged value."""

    name: str
    value: float
    step: int | None
    time: float | None
    """Seconds since 1970; None if unknown."""

    @property
    def json_value(self) -> float | str:
        """The value as JSON has it: a number, or the word for one that JSON has no number for."""
        return self.value if math.isfinite(self.value) else next(w for w, v in _WORDS.items() if _same(v, self.value))

    def as_line(self) -> bytes:
        """Returns the value as a line of metrics.jsonl."""
        record: dict[str, object] = {"name": self.name, "value": self.json_value}
        if self.step is not None:
            record["step"] = self.step
        if self.time is not None:
            record["time"] = self.time
        return json.dumps(record).encode() + b"\n"


def from_stdout_line(line: bytes, time: float | None = None) -> MetricValue | None:
    """Reads a line of output, or returns None if it is no metric."""
    match = _STDOUT_LINE.fullmatch(line)
    if match is None:
        return None
    try:
        value = float(match.group(2))
        name = match.group(1).decode("utf-8")
    except (ValueError, UnicodeDecodeError):
        return None
    return MetricValue(name, value, int(match.group(3)) if match.group(3) else None, time)


def from_json_line(line: bytes) -> MetricValue | None:
    """Reads a line of the inbox or of metrics.jsonl, or returns None if it is not one."""
    try:
        record = cast("dict[str, Any]", json.loads(line))
        name, raw, step, time = record["name"], record["value"], record.get("step"), record.get("time")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    value = _WORDS.get(raw) if isinstance(raw, str) else raw
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not isinstance(name, str)
        or not 0 < len(name) <= 128
    ):
        return None
    try:
        return MetricValue(
            name,
            float(value),
            step if type(step) is int and abs(step) < _INTEGER_LIMIT else None,
            float(time) if isinstance(time, int | float) else None,
        )
    except OverflowError:
        return None


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yields the complete lines of a file a payload may have written, each with the offset behind it.

    Overlong lines are passed over. Links, FIFOs and the like are not opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return
    with os.fdopen(descriptor, "rb") as file:
        file.seek(offset)
        overlong = False
        while line := file.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n"):
                if len(line) < MAX_LINE_BYTES:
                    return  # still being written
                overlong = True
                continue
            if not overlong:
                yield line, file.tell()
            overlong = False


def values_of(inbox_file: Path, output: Path) -> Iterator[MetricValue]:
    """Yields all values of a run: those from the inbox, then those from its output."""
    count = 0
    for line, _ in read_lines(inbox_file):
        value = from_json_line(line)
        if value is not None and count < MAX_VALUES:
            count += 1
            yield value
    for line in _metric_lines(output):
        value = from_stdout_line(line)
        if value is not None and count < MAX_VALUES:
            count += 1
            yield value


def summarise(values: Iterable[MetricValue]) -> dict[str, MetricSummary]:
    """Returns the last, smallest and largest value of each metric; what is not finite counts, and may be the last."""
    found: dict[str, _Summary] = {}
    for item in values:
        found.setdefault(item.name, _Summary()).add(item)
    return {name: summary.frozen() for name, summary in sorted(found.items())}


@dataclass(slots=True)
class _Summary:
    """A summary in the making."""

    count: int = 0
    not_finite: int = 0
    last: MetricValue | None = None
    smallest: MetricValue | None = None
    largest: MetricValue | None = None

    def add(self, item: MetricValue) -> None:
        self.count += 1
        self.last = item
        if not math.isfinite(item.value):
            self.not_finite += 1
            return
        if self.smallest is None or item.value < self.smallest.value:
            self.smallest = item
        if self.largest is None or item.value > self.largest.value:
            self.largest = item

    def frozen(self) -> MetricSummary:
        last = self.last if self.last is not None and math.isfinite(self.last.value) else None
        return MetricSummary(
            last=last.value if last else None,
            last_step=self.last.step if self.last else None,
            minimum=self.smallest.value if self.smallest else None,
            minimum_step=self.smallest.step if self.smallest else None,
            maximum=self.largest.value if self.largest else None,
            maximum_step=self.largest.step if self.largest else None,
            count=self.count,
            not_finite=self.not_finite,
        )


def _metric_lines(output: Path) -> Iterator[bytes]:
    """Yields the lines of a log that begin with the prefix; reads it in blocks, whatever its line lengths."""
    try:
        file = output.open("rb")
    except FileNotFoundError:
        return
    with file:
        rest = b""
        at_line_start = True
        while block := file.read(1024 * 1024):
            block = rest + block
            position = 0
            while True:
                found = block.find(STDOUT_PREFIX, position)
                if found < 0:
                    break
                end = block.find(b"\n", found)
                if end < 0:
                    break
                starts_line = at_line_start if found == 0 else block[found - 1 : found] in (b"\n", b"\r")
                if starts_line and end - found < MAX_LINE_BYTES:
                    yield block[found:end]
                position = found + len(STDOUT_PREFIX)
            keep = max(block.rfind(b"\n") + 1, len(block) - MAX_LINE_BYTES)
            rest = block[keep:]
            at_line_start = (keep > 0 and block[keep - 1 : keep] == b"\n") or (keep == 0 and at_line_start)
        if at_line_start and rest.startswith(STDOUT_PREFIX):
            yield rest  # the last line may lack its newline


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
