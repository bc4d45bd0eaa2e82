"""In which order waiting runs are considered."""

from collections.abc import Sequence
from datetime import datetime

from fetchml.admission.lab import Lab, Pending
from fetchml.admission.policy import Order, Policy

_NARROWEST = 0.125
"""GPUs that a run without any counts as: it holds something, too."""


def in_order(pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime) -> list[Pending]:
    """Returns the runs in the order they are considered.

    Who was moved up goes first, the latest before the others; then the higher priority; then what the policy measures;
    then the time of submission. A run that waits long is lifted from priority to priority, but never above the highest
    one that waits: among equals, waiting already counts in the measure.
    """
    if not pending:
        return []
    now_s = now.timestamp()
    costs = [0.0] * len(pending) if policy.order is Order.SUBMITTED else _costs(pending, lab, policy, now_s)
    top = max(run.priority for run in pending)
    step_s = policy.priority_step_s
    keys: list[tuple[float, float, float, float, str, int]] = []
    for place, run in enumerate(pending):
        level = run.priority
        if level < top and now_s - run.queued_s > step_s:
            level = min(top, level + int((now_s - run.queued_s) / step_s))
        moved = -run.moved_up_at.timestamp() if run.moved_up_at is not None else 0.0
        keys.append((moved, -level, costs[place], run.queued_s, run.run_id, place))
    keys.sort()
    return [pending[key[5]] for key in keys]


def _costs(pending: Sequence[Pending], lab: Lab, policy: Policy, now_s: float) -> list[float]:
    """Returns what each run is expected to cost others, less the longer it has waited."""
    users = _shares(lab, policy)
    widths: dict[float, float] = {}
    shortest_s, patience_s, power = policy.shortest_s, policy.patience_s, policy.patience_power
    costs: list[float] = []
    for run in pending:
        needs = run.needs
        gpus = needs.gpus * needs.nodes
        cost = widths.get(gpus)
        if cost is None:
            cost = widths[gpus] = max(gpus, _NARROWEST) ** policy.width_power
        expected_s = policy.unknown_s if run.forecast is None else run.forecast.expected_s
        cost *= max(shortest_s, expected_s)
        if users:
            cost *= users.get(run.user, 1.0)
        waited_s = now_s - run.queued_s
        costs.append(cost / (1 + (waited_s / patience_s) ** power) if waited_s > 0 else cost)
    return costs


def _shares(lab: Lab, policy: Policy) -> dict[str, float]:
    """Returns a factor per user: above 1 for who used more than others by weight, below for who used less."""
    if not policy.fair_share_power or not lab.usage:
        return {}
    weighed = {user: used / max(policy.weights.get(user, 1.0), 1e-9) for user, used in lab.usage.items()}
    mean = sum(weighed.values()) / len(weighed)
    if mean <= 0:
        return {}
    return {user: (0.1 + used / mean) ** policy.fair_share_power for user, used in weighed.items()}
