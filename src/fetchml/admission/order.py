"""In which order waiting runs are considered.

Who was moved up goes first, then the higher priority, then who is expected to cost others least: the mean duration of
runs like it, times the part of the lab it takes. Least cost first is what keeps the sum of all waiting small (W. Smith,
Various optimizers for single-stage production, 1956). Three things keep it fair: the cost falls the longer a run has
waited, it rises with what the user has used lately, and one run at a time, the one that has waited longest, goes before
all others of its priority once it has waited several times as long as the whole queue takes to be worked off.
"""

from collections.abc import Sequence
from datetime import datetime
from math import inf

from fetchml.admission.lab import Lab, Pending
from fetchml.admission.policy import Order, Policy
from fetchml.admission.size import LabSize

_EVEN = 0.1
"""Added to everybody's part of the usage, so that who used nothing is not infinitely far ahead."""

_LEAST_WEIGHT = 1e-6


def in_order(pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime) -> list[Pending]:
    """Returns the runs in the order they are considered; ties go by submission, then by id.

    A run that waits long is lifted from priority to priority, but never above the highest one that waits: among
    equals, waiting already counts.
    """
    if not pending:
        return []
    now_s = now.timestamp()
    levels = _levels(pending, policy, now_s)
    costs = [run.queued_s for run in pending]
    if policy.order is Order.WEIGHED:
        costs = _costs(pending, levels, lab, policy, now_s)
    # Sorts are stable, so the least important comes first; one number each is compared several times as fast as tuples.
    places = list(range(len(pending)))
    if len(set(costs)) < len(costs):
        places.sort(key=lambda place: pending[place].run_id)
        places.sort(key=lambda place: pending[place].queued_s)
    places.sort(key=costs.__getitem__)
    if min(levels) < max(levels):
        places.sort(key=levels.__getitem__, reverse=True)
    moved = [run.moved_up_at.timestamp() if run.moved_up_at is not None else 0.0 for run in pending]
    if any(moved):
        places.sort(key=moved.__getitem__, reverse=True)
    return [pending[place] for place in places]


def _levels(pending: Sequence[Pending], policy: Policy, now_s: float) -> list[int]:
    """Returns the priority of each run, as it has risen."""
    levels = [run.priority for run in pending]
    top = max(levels)
    step_s = policy.priority_step_s
    if min(levels) < top:
        for place, run in enumerate(pending):
            waited_s = now_s - run.queued_s
            if waited_s > step_s:
                levels[place] = min(top, run.priority + int(waited_s / step_s))
    return levels


def _costs(pending: Sequence[Pending], levels: Sequence[int], lab: Lab, policy: Policy, now_s: float) -> list[float]:
    """Returns what each run is expected to cost others, less the longer it has waited."""
    size = LabSize.of(lab.hosts)
    users = _user_factors(lab, size, policy, now_s)
    newcomer: float = _EVEN**policy.fair_share_power
    parts: dict[int, float] = {}
    shortest_s, patience_s, power = policy.shortest_s, policy.patience_s, policy.patience_power
    backlog_s = _remaining_s(lab, size, now_s)
    costs: list[float] = []
    for run in pending:
        needs = run.needs
        part = parts.get(id(needs))
        if part is None:
            part = parts[id(needs)] = size.part(needs)
        expected_s = policy.unknown_s if run.forecast is None else run.forecast.expected_s
        cost = part * expected_s
        backlog_s += cost
        if expected_s < shortest_s:
            cost = part * shortest_s
        if users:
            cost *= users.get(run.user, newcomer)
        waited_s = now_s - run.queued_s
        costs.append(cost / (1 + (waited_s / patience_s) ** power) if waited_s > 0 else cost)
    top = max(levels)
    oldest = min((run.queued_s, run.run_id, place) for place, run in enumerate(pending) if levels[place] == top)
    if now_s - oldest[0] > max(policy.turn_least_s, policy.turn_backlogs * backlog_s):
        costs[oldest[2]] = -inf
    return costs


def _remaining_s(lab: Lab, size: LabSize, now_s: float) -> float:
    """Returns how long the whole lab would work on the rest of what has started."""
    rest_s = 0.0
    for held in lab.holding:
        if held.forecast is not None and held.started_at is not None:
            left_s = held.started_at.timestamp() + held.forecast.expected_s - now_s
            rest_s += max(0.0, left_s) * size.part_held(held)
    return rest_s


def _user_factors(lab: Lab, size: LabSize, policy: Policy, now_s: float) -> dict[str, float]:
    """Returns a factor per user: above 1 for who used more than others by weight, below for who used less."""
    if not policy.fair_share_power:
        return {}
    used = dict(lab.usage)
    for held in lab.holding:
        if held.started_at is not None:
            so_far = max(0.0, now_s - held.started_at.timestamp()) * size.part_held(held)
            used[held.user] = used.get(held.user, 0.0) + so_far
    weighed = {
        user: seconds / max(policy.weights.get(user, 1.0), _LEAST_WEIGHT) for user, seconds in sorted(used.items())
    }
    mean = sum(weighed.values()) / len(weighed) if weighed else 0.0
    if mean <= 0:
        return {}
    return {user: (_EVEN + seconds / mean) ** policy.fair_share_power for user, seconds in weighed.items()}
