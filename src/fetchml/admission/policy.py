"""The rules of the queue: in which order runs are considered, who may pass whom, who may hold how much."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fetchml.admission.lab import Limits

_HOUR_S = 3600.0


class Order(StrEnum):
    """In which order runs of one priority are considered."""

    SUBMITTED = "submitted"
    """Who was queued first goes first."""
    WEIGHED = "weighed"
    """Short, narrow, long waiting and rarely served first."""


class Passing(StrEnum):
    """Which runs may start before one ahead of them that has to wait."""

    NONE = "none"
    BACKFILL = "backfill"
    """Those that do not delay the first that waits, by the forecasts."""
    ANY = "any"
    """Whatever fits; a wide run may starve."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules; the defaults are those of a lab that sets none."""

    name: str = "default"
    order: Order = Order.WEIGHED
    passing: Passing = Passing.BACKFILL
    priority_step_s: float = 24 * _HOUR_S
    """Waiting this long lifts a run by one priority, up to the highest among those that wait."""
    shortest_s: float = 30.0
    """Runs expected to be shorter count as this long."""
    unknown_s: float = _HOUR_S
    """What is assumed of a run nothing is known about, for the order only."""
    patience_s: float = 60 * _HOUR_S
    """Waiting this long halves what a run is expected to cost; longer waiting soon outweighs everything."""
    patience_power: float = 3.0
    turn_backlogs: float = 3.0
    """The run that has waited longest goes first once it has waited this many times as long as the queue takes."""
    turn_least_s: float = 24 * _HOUR_S
    """But not before it has waited this long."""
    fair_share_power: float = 0.1
    """How much the decayed usage of the user counts; 0: not at all."""
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    """Part of the lab each user is meant to get, relative to others; 1 for who is not named."""
    user_limit: Limits = field(default_factory=Limits)
    user_limits: Mapping[str, Limits] = field(default_factory=dict[str, Limits])
    """Limits of single users, in place of `user_limit`."""
    group_limit: Limits = field(default_factory=Limits)
    group_limits: Mapping[str, Limits] = field(default_factory=dict[str, Limits])

    def limits_of_user(self, user: str) -> Limits:
        """Returns what a user may hold."""
        return self.user_limits.get(user, self.user_limit)

    def limits_of_group(self, group: str) -> Limits:
        """Returns what the runs of a group may hold."""
        return self.group_limits.get(group, self.group_limit)


STRICT_FIFO = Policy(name="fifo", order=Order.SUBMITTED, passing=Passing.NONE)
"""Everybody in turn; whoever does not fit holds up all behind."""
EASY = Policy(name="easy", order=Order.SUBMITTED)
"""In turn, with backfill."""
