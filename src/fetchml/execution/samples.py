"""What a run used, told from the lines of `resources.jsonl`: a pure function of them.

A line is `{"time": ..., "clock_s": ..., "cpu_s": ..., "memory_bytes": ..., "gpus": [{"id": ..., ...}]}`. What was not
known is left out. `clock_s` is the host's monotonic clock: the time of day may jump.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from fetchml.gpus.readings import tidy
from fetchml.models.units import format_size

_MAX_LINE_BYTES = 64 * 1024
_JOULES_PER_WH = 3600.0
_INTEGER_LIMIT = 2**53
"""Beyond it canonical JSON (RFC 8785) has no integers."""


@dataclass(slots=True)
class Summary:
    """What all samples of a run say together."""

    samples: int = 0
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None
    gpu_utilisation_percent: float | None = None
    gpu_memory_peak_bytes: dict[str, int] = field(default_factory=dict[str, int])
    gpu_memory_is_own: bool = True
    gpu_memory_reserved_bytes: dict[str, int] = field(default_factory=dict[str, int])
    """What was kept for it on devices it had a part of."""
    gpu_temperature_max_c: float | None = None
    gpu_throttled: tuple[str, ...] = ()
    energy_wh: float | None = None
    errors: dict[str, str] = field(default_factory=dict[str, str])
    """What devices reported while the run held them, by id; the first of each."""
    ecc_errors: dict[str, int] = field(default_factory=dict[str, int])
    """Memory errors that came up during the run and could not be corrected, by id."""

    def as_use(self) -> dict[str, Any]:
        """Returns the fields of `ResourceUse` that samples tell."""
        if not self.samples:
            return {}
        memory_of = ("run" if self.gpu_memory_is_own else "device") if self.gpu_memory_peak_bytes else None
        return {
            "samples": self.samples,
            "disk_read_bytes": self.disk_read_bytes,
            "disk_written_bytes": self.disk_written_bytes,
            "gpu_utilisation_percent": self.gpu_utilisation_percent,
            "gpu_memory_peak_bytes": self.gpu_memory_peak_bytes,
            "gpu_memory_of": memory_of,
            "gpu_temperature_max_c": self.gpu_temperature_max_c,
            "gpu_throttled": self.gpu_throttled,
            "energy_wh": self.energy_wh,
        }

    def warnings(self, gpu_memory_bytes: int | None) -> tuple[str, ...]:
        """Returns what a reader of the record should know.

        Args:
            gpu_memory_bytes: GPU memory that the run declared for each device, in bytes.
        """
        found: list[str] = []
        for name, peak in self.gpu_memory_peak_bytes.items():
            reserved = self.gpu_memory_reserved_bytes.get(name)
            limit = reserved if gpu_memory_bytes is None else gpu_memory_bytes
            if limit is not None and peak > limit:
                whose = "the run used" if self.gpu_memory_is_own else "all its users together had"
                said = "its share is" if gpu_memory_bytes is None else "`--gpu-memory` said"
                found.append(
                    f"more GPU memory than declared: {whose} up to {format_size(peak)} on {name}, "
                    f"{said} {format_size(limit)}"
                )
        found += [f"{name} reported an error during the run: {error}" for name, error in self.errors.items()]
        found += [
            f"{name} had {count} memory errors during the run that could not be corrected"
            for name, count in self.ecc_errors.items()
        ]
        return tuple(found)


def read_samples(path: Path) -> list[dict[str, Any]]:
    """Returns the samples in a file; what is no sample is passed over, as the last one after a crash."""
    try:
        with path.open("rb") as file:
            found = [_sample(line) for line in iter(lambda: file.readline(_MAX_LINE_BYTES), b"")]
    except OSError:
        return []
    return [sample for sample in found if sample is not None]


def summary_of(samples: Iterable[dict[str, Any]]) -> Summary:
    """Returns what the samples say together."""
    found = Summary()
    devices: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for sample in samples:
        found.samples += 1
        found.disk_read_bytes = _larger(found.disk_read_bytes, _whole(sample.get("read_bytes")))
        found.disk_written_bytes = _larger(found.disk_written_bytes, _whole(sample.get("written_bytes")))
        for device in _dicts(sample.get("gpus")):
            if isinstance(device.get("id"), str):
                devices.setdefault(tidy(device["id"], 128), []).append((sample["clock_s"], device))
    _add_devices(found, devices)
    return found


def _add_devices(found: Summary, devices: dict[str, list[tuple[float, dict[str, Any]]]]) -> None:
    busy: list[float] = []
    energy: list[float] = []
    throttled: set[str] = set()
    for name, rows in devices.items():
        for _, row in rows:
            peak = _larger(found.gpu_memory_peak_bytes.get(name), _whole(row.get("memory_bytes")))
            if peak is not None:
                found.gpu_memory_peak_bytes[name] = peak
                found.gpu_memory_is_own &= row.get("memory_of") == "run"
            if (reserved := _whole(row.get("reserved_bytes"))) is not None:
                found.gpu_memory_reserved_bytes[name] = reserved
            hottest = _number(row.get("temperature_c"))
            if hottest is not None:
                found.gpu_temperature_max_c = max(found.gpu_temperature_max_c or hottest, hottest)
            throttled |= {tidy(word, 64) for word in _list(row.get("throttled"))[:16]}
            if row.get("error") and name not in found.errors:
                found.errors[name] = tidy(row["error"])
        if (mean := mean_over_time(_points(rows, "utilisation_percent"))) is not None:
            busy.append(min(100.0, max(0.0, mean)))
        power = _points(rows, "power_w")
        if power:
            share = _number(rows[-1][1].get("share")) or 1.0
            energy.append(integral(power) / _JOULES_PER_WH * min(1.0, max(0.0, share)))
        counts = [count for _, row in rows if (count := _whole(row.get("ecc_errors"))) is not None]
        if counts and counts[-1] > counts[0]:
            found.ecc_errors[name] = counts[-1] - counts[0]
    found.gpu_utilisation_percent = round(sum(busy) / len(busy), 1) if busy else None
    found.energy_wh = round(max(0.0, sum(energy)), 3) if energy else None
    found.gpu_throttled = tuple(sorted(throttled))


def integral(points: Sequence[tuple[float, float]]) -> float:
    """Returns the area below points of time and value, by the trapezoid rule; 0 for a single one."""
    return sum((later - earlier) * (first + second) / 2 for (earlier, first), (later, second) in pairwise(points))


def mean_over_time(points: Sequence[tuple[float, float]]) -> float | None:
    """Returns the mean, each value weighted by the time it stands for; None without any."""
    if not points:
        return None
    span = points[-1][0] - points[0][0]
    return integral(points) / span if span > 0 else sum(value for _, value in points) / len(points)


def _points(rows: list[tuple[float, dict[str, Any]]], name: str) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for clock_s, row in rows:
        value = _number(row.get(name))
        # Time only goes forward: anything else was written by somebody else.
        if value is not None and (not found or clock_s > found[-1][0]):
            found.append((clock_s, value))
    return found


def _sample(line: bytes) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    sample = cast("dict[str, Any]", found)
    return sample if _number(sample.get("clock_s")) is not None else None


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", item) for item in _list(value) if isinstance(item, dict)]


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < _INTEGER_LIMIT and math.isfinite(value) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INTEGER_LIMIT else None


def _larger(one: int | None, other: int | None) -> int | None:
    return max((size for size in (one, other) if size is not None), default=None)
