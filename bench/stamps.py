"""Reads what the payload wrote down."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.waiting import until

_ASK_EVERY = 50


@dataclass(frozen=True, slots=True)
class Stamp:
    """The first and the last moment of a payload, in nanoseconds since 1970."""

    began_ns: int
    ended_ns: int


def await_stamp(path: Path, what: str, still_alive: Callable[[], None] | None = None) -> Stamp:
    """Waits for a payload to write its stamp.

    Args:
        path: Where it is written.
        what: Whose it is, for the error.
        still_alive: Raises if it will never come.
    """
    looks = count(1)

    def written() -> bool:
        # Asking costs CPU that the payload may be waiting for; looking for a file costs none.
        if still_alive is not None and next(looks) % _ASK_EVERY == 0:
            still_alive()
        return path.exists()

    until(written, f"the payload of {what}")
    return Stamp(**json.loads(path.read_bytes()))
