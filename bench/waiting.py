"""Waits for conditions, and says what it waited for in vain."""

import time
from collections.abc import Callable

TIMEOUT_S = 300


class Failed(Exception):
    """Something measured did not do what it should; its rows then say so."""


def until(condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S, poll_s: float = 0.02) -> None:
    """Waits until a condition holds.

    Raises:
        Failed: It does not hold in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout_s:g} s for {what}")
        time.sleep(poll_s)
