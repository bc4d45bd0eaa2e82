"""Lets contestants take turns, so that whatever else the machine does hits all of them alike."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from bench.results import Measured, Series
from bench.say import loudly, say
from bench.waiting import Failed
from fetchml.errors import FetchmlError

T = TypeVar("T")

Turn = Callable[[int], dict[str, float]]
"""Does the thing once and returns seconds by quantity; gets the number of the turn, from 0, and -1 for the warm-up."""

Contestant = Turn | str
"""A turn, or why there is none."""


def enter(make: Callable[[], T]) -> T | str:
    """Sets a contestant up; one that cannot be set up is left out, with the reason."""
    try:
        return make()
    except (Failed, FetchmlError) as failure:
        loudly(f"NOT MEASURED: {failure}")
        return str(failure)


def take_turns(
    measure: str, contestants: Mapping[str, Contestant], count: int, *, warm_up: bool
) -> dict[str, Measured]:
    """Runs all contestants `count` times, one after the other in each round.

    Args:
        measure: What is measured, for the notes on stderr.
        contestants: By name; who fails is left out from then on, and the result says why.
        count: Rounds that count.
        warm_up: Whether a round that does not count comes first.
    """
    reasons: dict[str, str] = {}
    turns: dict[str, Turn] = {}
    for name, contestant in contestants.items():
        if isinstance(contestant, str):
            reasons[name] = contestant
        else:
            turns[name] = contestant
    values: dict[str, dict[str, list[float]]] = {name: {} for name in contestants}
    for number in range(-1 if warm_up else 0, count):
        for name in list(turns):
            try:
                seconds = turns[name](number)
            except (Failed, FetchmlError) as failure:
                reasons[name] = str(failure)
                loudly(f"{measure}: {name} failed: {failure}")
                del turns[name]
                continue
            if number < 0:
                continue
            shown = ", ".join(f"{quantity} {value:.3f} s" for quantity, value in seconds.items())
            say(f"{measure} {number + 1}/{count} {name}: {shown}")
            for quantity, value in seconds.items():
                values[name].setdefault(quantity, []).append(value)
    return {
        name: Measured({key: Series(tuple(found)) for key, found in values[name].items()}, reasons.get(name))
        for name in contestants
    }
