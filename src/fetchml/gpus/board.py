"""`devices.json`: what the worker knows of the devices of its host, for the processes of its runs.

One process asks the drivers for all: a run's own flow process reads here what it records, and is not held up by a
driver that hangs. It is worth nothing after a crash, so nobody waits for the disk.
"""

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fetchml.durable import TEMPORARY_PREFIX
from fetchml.gpus.inventory import Inventory
from fetchml.gpus.readings import Readings
from fetchml.models.host import boot_id

FILE = "devices.json"
_MAX_BYTES = 8 << 20
_WRITER_SILENT_S = 60.0
"""A worker writes every few seconds; one that has not for this long is gone or stuck."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What the worker wrote last."""

    boot_id: str
    posted_at: float
    """Seconds on the monotonic clock, which all processes of one boot share."""
    answered_at: float | None
    """When the drivers answered last, on the same clock; None if they never did."""
    inventory: Inventory
    readings: Readings

    @property
    def age_s(self) -> float:
        """Seconds since the drivers answered."""
        return float("inf") if self.answered_at is None else max(0.0, time.monotonic() - self.answered_at)


_posted: TypeAdapter[Posted] = TypeAdapter(Posted)


def post(folder: Path, inventory: Inventory, readings: Readings, answered_at: float | None) -> None:
    """Writes down what is known; best effort.

    Args:
        folder: The folder of the services.
        inventory: The devices that are offered.
        readings: What the drivers said last.
        answered_at: When that was, on the monotonic clock.
    """
    content = _posted.dump_json(Posted(boot_id(), time.monotonic(), answered_at, inventory, readings))
    temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{FILE}"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, folder / FILE)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def posted(folder: Path) -> Posted | None:
    """Returns what the worker wrote, if it is of this boot and the worker still writes."""
    try:
        with (folder / FILE).open("rb") as file:
            found = _posted.validate_json(file.read(_MAX_BYTES))
    except (OSError, ValidationError):
        return None
    silence = time.monotonic() - found.posted_at
    return found if found.boot_id == boot_id() and 0 <= silence <= _WRITER_SILENT_S else None
