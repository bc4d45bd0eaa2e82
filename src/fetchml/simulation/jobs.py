"""The jobs of a trace: what was asked for, when, and how long it took."""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, isfinite

from fetchml.errors import ConfigError
from fetchml.models.units import GIB, MIB

REQUIRED = ("submit_s", "duration_s", "gpus")
OPTIONAL = ("job_id", "gpu_mem_gb", "cpus", "mem_gb", "user", "final_state", "priority", "name")
_SHOWN_FAULTS = 5
_LONGEST_S = 100 * 366 * 86_400.0
_MOST_GPUS = 64


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a trace."""

    job_id: str
    submit_s: float
    """Seconds since the first submission."""
    duration_s: float
    """Seconds it runs once it has started; no policy sees this before the job ends."""
    gpus: float
    user: str = ""
    gpu_memory_bytes: int | None = None
    cpus: float | None = None
    memory_bytes: int | None = None
    priority: int = 5
    name: str | None = None


def read_jobs(lines: Iterable[str], where: str) -> list[Job]:
    """Reads a trace as CSV and returns its jobs by time of submission.

    Args:
        lines: The text, with a line of column names first.
        where: What the text is called in errors.

    Raises:
        ConfigError: It is no such table; the first faults are named by line and column.
    """
    rows = csv.reader(lines, strict=True)
    faults: list[str] = []
    jobs: list[Job] = []
    try:
        header = [name.strip() for name in next(rows, list[str]())]
        missing = [name for name in REQUIRED if name not in header]
        if missing:
            raise ConfigError(
                f"`{where}` has no column `{missing[0]}`",
                detail=f"line 1 has the columns: {', '.join(name[:40] for name in header) or 'none'}"[:400],
                hint=f"a trace needs {', '.join(REQUIRED)}; it may have {', '.join(OPTIONAL)}",
            )
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            reader = _Row(dict(zip(header, row, strict=False)), rows.line_num, len(jobs) + 1)
            if len(row) != len(header):
                faults.append(f"line {rows.line_num}: {len(row)} values for {len(header)} columns")
            else:
                jobs.append(reader.job())
                faults += reader.faults
            if len(faults) >= _SHOWN_FAULTS:
                break
    except csv.Error as error:
        faults.append(f"line {rows.line_num}: {error}")
    if faults:
        raise ConfigError(f"`{where}` is no trace", detail="\n".join(faults[:_SHOWN_FAULTS]))
    if not jobs:
        raise ConfigError(f"`{where}` has no jobs")
    return in_time(jobs)


def in_time(jobs: Sequence[Job]) -> list[Job]:
    """Returns jobs by time of submission, the first at 0; of those submitted together, in the order they are given."""
    first_s = min((job.submit_s for job in jobs), default=0.0)
    return sorted((replace(job, submit_s=job.submit_s - first_s) for job in jobs), key=lambda job: job.submit_s)


def jittered(jobs: Sequence[Job], seed: int, *, submit_s: float = 1800.0, spread: float = 0.15) -> list[Job]:
    """Returns a copy in which everything is a little different, to tell luck from merit.

    Args:
        jobs: The jobs.
        seed: Decides what is different; the same seed gives the same copy.
        submit_s: Seconds by which submissions move at most, either way.
        spread: Standard deviation of the logarithm of the factor on durations.
    """
    chance = random.Random(seed)
    return in_time(
        [
            replace(
                job,
                submit_s=max(0.0, job.submit_s + chance.uniform(-submit_s, submit_s)),
                duration_s=job.duration_s * exp(chance.gauss(0, spread)),
            )
            for job in jobs
        ]
    )


class _Row:
    """Reads the values of one line, and collects what is wrong with them."""

    def __init__(self, cells: dict[str, str], line: int, number: int) -> None:
        self._cells = cells
        self._line = line
        self._number = number
        self.faults: list[str] = []

    def job(self) -> Job:
        gpus = self._number_in("gpus", 0, _MOST_GPUS)
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            self._fault("gpus", "is no whole number, and is above 1")
        gpu_gb, memory_gb = self._number_in("gpu_mem_gb", 0, 1e6), self._number_in("mem_gb", 0, 1e6)
        return Job(
            job_id=self._text("job_id") or str(self._number),
            submit_s=self._number_in("submit_s", 0, _LONGEST_S) or 0.0,
            duration_s=self._number_in("duration_s", 0, _LONGEST_S) or 0.0,
            gpus=gpus or 0.0,
            user=self._text("user") or "",
            gpu_memory_bytes=max(MIB, int(gpu_gb * GIB)) if gpu_gb else None,
            cpus=self._number_in("cpus", 0, 4096) or None,
            memory_bytes=max(16 * MIB, int(memory_gb * GIB)) if memory_gb else None,
            priority=int(self._number_in("priority", 0, 10) or 0) if self._text("priority") else 5,
            name=self._text("name"),
        )

    def _text(self, column: str) -> str | None:
        return self._cells.get(column, "").strip() or None

    def _number_in(self, column: str, least: float, most: float) -> float | None:
        text = self._text(column)
        if text is None:
            if column in REQUIRED:
                self._fault(column, "is empty")
            return None
        try:
            value = float(text)
        except ValueError:
            self._fault(column, f"`{text[:40]}` is no number")
            return None
        if not isfinite(value) or not least <= value <= most:
            self._fault(column, f"`{text[:40]}` is not between {least:g} and {most:g}")
            return None
        return value

    def _fault(self, column: str, what: str) -> None:
        self.faults.append(f"line {self._line}, column {column}: {what}")
