"""How much users, groups, the pool and its queues hold already, and what their limits leave."""

from collections import defaultdict
from collections.abc import Iterator

from fetchml.admission.lab import Lab, Limits, Pending
from fetchml.admission.needs import EPSILON
from fetchml.admission.policy import Policy
from fetchml.admission.reasons import Blocker, Reason


class Held:
    """What everybody holds, as runs are admitted.

    Args:
        lab: The lab.
        policy: The rules.
    """

    def __init__(self, lab: Lab, policy: Policy) -> None:
        self._lab = lab
        self._policy = policy
        self._started = len({item.run_id for item in lab.holding})
        self._by_priority = defaultdict[int, int](int, lab.started_by_priority)
        self._gpus = defaultdict[tuple[str, str], float](float)
        self._runs = defaultdict[tuple[str, str], int](int)
        everybody = (policy.user_limit, policy.group_limit, *policy.user_limits.values(), *policy.group_limits.values())
        self.are_any = (
            lab.run_limit is not None or bool(lab.queue_limits) or any(item != Limits() for item in everybody)
        )
        """Whether anybody is limited at all."""
        seen: set[str] = set()
        for item in lab.holding:
            gpus = sum(share.share for share in item.shares)
            self._add(item.user, item.group, gpus, 0 if item.run_id in seen else 1)
            seen.add(item.run_id)

    def over(self, run: Pending) -> tuple[Reason, ...]:
        """Returns the limits a run would break if it started; empty if none."""
        return tuple(self._broken(run)) if self.are_any else ()

    def admit(self, run: Pending, gpus: float) -> None:
        """Counts a run that starts, with the devices it takes in all."""
        self._started += 1
        self._by_priority[run.priority] += 1
        self._add(run.user, run.group, gpus, 1)

    def _add(self, user: str, group: str | None, gpus: float, runs: int) -> None:
        for key in (("user", user), *((("group", group),) if group is not None else ())):
            self._gpus[key] += gpus
            self._runs[key] += runs

    def _broken(self, run: Pending) -> Iterator[Reason]:
        most = self._lab.run_limit
        if most is not None and self._started >= most:
            yield Reason(Blocker.POOL_LIMIT, 1, max(0, most - self._started), who=("run",))
        most = self._lab.queue_limits.get(run.priority) if self._lab.queue_limits else None
        if most is not None and self._by_priority[run.priority] >= most:
            left = max(0, most - self._by_priority[run.priority])
            yield Reason(Blocker.QUEUE_LIMIT, 1, left, who=("run", str(run.priority)))
        yield from self._of(Blocker.USER_LIMIT, "user", run.user, self._policy.limits_of_user(run.user), run)
        if run.group is not None:
            limits = self._policy.limits_of_group(run.group)
            yield from self._of(Blocker.GROUP_LIMIT, "group", run.group, limits, run)

    def _of(self, blocker: Blocker, kind: str, name: str, limits: Limits, run: Pending) -> Iterator[Reason]:
        if limits.runs is not None and self._runs[kind, name] >= limits.runs:
            yield Reason(blocker, 1, max(0, limits.runs - self._runs[kind, name]), who=("run", name))
        wanted = run.needs.gpus * run.needs.nodes
        if limits.gpus is not None and wanted:
            left = max(0.0, round(limits.gpus - self._gpus[kind, name], 6))
            if wanted > left + EPSILON:
                yield Reason(blocker, wanted, left, who=("gpu", name))
