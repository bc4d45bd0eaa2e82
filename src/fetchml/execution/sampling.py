"""Looks at what a run uses while it runs: best effort, never in the way of the run."""

import errno
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from fetchml.engine.port import Usage
from fetchml.gpus.readings import DeviceReading, Readings
from fetchml.gpus.strangers import Ours, is_ours, unexplained_bytes
from fetchml.models.resources import DeviceShare

_LINES_BEFORE_THINNING = 10_000
"""At five seconds this is 14 hours. Each time as many were written, the interval doubles: a month has 60,000 lines."""

_PATIENCE_S = 2.0
"""A line waits this long for the readings of the devices, then goes without."""


class Source(Protocol):
    """Where readings come from; `ReadingsSource` is one."""

    is_asking: bool

    def ask(self) -> None:
        """Begins to get readings."""
        ...

    def readings(self) -> Readings | None:
        """Returns them; None if there are none, or none yet."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Sampler:
    """Writes a line for each moment a run is looked at.

    Args:
        path: The file; a driver before this one may have begun it.
        run_id: The run, to tell its processes on a device.
        shares: The devices it holds, and how much of each.
        interval_s: Seconds between two lines; None: never.
        source: Where readings of devices come from; None if it holds none.
        clock: The monotonic clock.
    """

    def __init__(
        self,
        path: Path,
        run_id: str,
        shares: tuple[DeviceShare, ...] = (),
        interval_s: float | None = None,
        source: Source | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._run_id = run_id
        self._shares = shares
        self._interval_s = interval_s
        self._source = source
        self._clock = clock
        self._next = clock()
        self._asked_at: float | None = None
        self._lines: int | None = None
        self._seen: set[str] = set()
        self.fault: str | None = None
        """Why there are no more lines."""
        self.device_error: str | None = None
        """What a device of the run reported last, if it is still wrong."""

    def tick(self, usage: Usage) -> None:
        """Writes a line if it is time for one.

        Args:
            usage: What the engine says now.
        """
        if self._interval_s is None or self.fault is not None:
            return
        try:
            self._tick(usage, self._interval_s)
        except Exception as error:  # noqa: BLE001  # whatever it is, the run goes on
            self.fault = f"{type(error).__name__}: {error}"[:300]

    def close(self) -> None:
        """Ends the sampling."""
        if self._source is not None:
            self._source.close()

    def _tick(self, usage: Usage, interval_s: float) -> None:
        now = self._clock()
        if self._asked_at is None:
            if now < self._next:
                return
            self._asked_at = now
            if self._source is not None:
                self._source.ask()
        readings = self._source.readings() if self._source is not None else None
        is_coming = self._source is not None and readings is None and self._source.is_asking
        if is_coming and now - self._asked_at < _PATIENCE_S:
            return
        begun, self._asked_at = self._asked_at, None
        if self._lines is None:
            self._lines = _mended_lines(self._path)
        line = {**_of_usage(usage), **self._of_devices(readings, usage)}
        if line:
            self._write(
                {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "clock_s": round(now, 3), **line}
            )
            self._lines += 1
        self._next = max(now, begun + interval_s * 2 ** (self._lines // _LINES_BEFORE_THINNING))

    def _of_devices(self, readings: Readings | None, usage: Usage) -> dict[str, Any]:
        if readings is None:
            return {}
        by_id = {device.id: device for device in readings.devices}
        pids = () if usage.pid is None else (usage.pid,)
        ours = Ours(run_ids=frozenset({self._run_id}), pids=frozenset(pids))
        rows = [self._row(share, by_id.get(share.device_id), ours) for share in self._shares]
        self._seen |= by_id.keys()
        errors = [f"{row['id']}: {row['error']}" for row in rows if "error" in row]
        self.device_error = "; ".join(errors) or None
        return {"gpus": [row for row in rows if len(row) > 1]} if any(len(row) > 1 for row in rows) else {}

    def _row(self, held: DeviceShare, device: DeviceReading | None, ours: Ours) -> dict[str, Any]:
        name = held.device_id
        if device is None:
            # One that nobody ever saw was declared by the environment.
            return {"id": name, "error": "it is not there any more"} if name in self._seen else {"id": name}
        own = _own_bytes(device, ours)
        memory = device.used_bytes if own is None else own
        facts = {
            "utilisation_percent": device.utilisation_percent,
            "memory_bytes": memory,
            "memory_of": None if memory is None else "device" if own is None else "run",
            "power_w": device.power_w,
            "temperature_c": device.temperature_c,
            "throttled": list(device.throttled) or None,
            "ecc_errors": device.ecc_errors,
            "error": device.error,
        }
        row: dict[str, Any] = {"id": name, **{key: value for key, value in facts.items() if value is not None}}
        if held.share < 1 and len(row) > 1:
            row["share"] = held.share
            if held.memory_bytes is not None:
                row["reserved_bytes"] = held.memory_bytes
        return row

    def _write(self, line: dict[str, Any]) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        content = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            if os.write(descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, "the disk is full")
        finally:
            os.close(descriptor)


def _own_bytes(device: DeviceReading, ours: Ours) -> int | None:
    """Returns the memory of the run's processes on a device; None if it cannot be told from that of others."""
    if device.processes is None:
        return None
    own = [process.memory_bytes for process in device.processes if is_ours(process, ours)]
    if not own:
        # Either it has not begun to use the device, or its processes are not known by sight.
        is_free = all(process.is_graphics for process in device.processes) and not unexplained_bytes(device)
        return 0 if is_free else None
    return None if None in own else sum(size for size in own if size is not None)


def _of_usage(usage: Usage) -> dict[str, Any]:
    facts = {
        "cpu_s": None if usage.cpu_s is None else round(usage.cpu_s, 3),
        "memory_bytes": usage.memory_bytes,
        "read_bytes": usage.read_bytes,
        "written_bytes": usage.written_bytes,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _mended_lines(path: Path) -> int:
    """Returns the number of lines an earlier driver wrote; one that it could not finish is ended."""
    try:
        with path.open("rb+") as file:
            count, last = 0, b"\n"
            while chunk := file.read(1 << 20):
                count, last = count + chunk.count(b"\n"), chunk[-1:]
            if last != b"\n":
                file.write(b"\n")
            return count
    except FileNotFoundError:
        return 0
