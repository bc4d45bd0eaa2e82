"""When a run that waits may start, and what smaller request would start now."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fetchml.admission.decide import Admit, Part, decide
from fetchml.admission.lab import Holding, Lab, Pending
from fetchml.admission.policy import Policy
from fetchml.models.resources import ResourceRequest
from fetchml.models.units import MIB

_MOST_STEPS = 300
"""Ends of runs that are played; whoever asks waits for the answer, and beyond it would be a guess."""
_LEAST_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a run starts, by the forecasts of all that run and wait, if nobody else comes."""

    earliest: datetime | None
    """If all runs take what they are expected to; None: a run in its way has no forecast."""
    latest: datetime | None
    """If all take as long as most of those like them stay below; None: a run in its way has no forecast."""


def outlook(run_id: str, pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime) -> Outlook:
    """Returns when a run that waits starts, as an interval.

    The queue is played forward twice, from end to end of a run, with the decisions it would really take.

    Args:
        run_id: A run that waits.
        pending: All that wait.
        lab: The lab.
        policy: The rules.
        now: The present.
    """
    moments = [_start(run_id, pending, lab, policy, now, is_late=is_late) for is_late in (False, True)]
    known = sorted(moment for moment in moments if moment is not None)
    if not known:
        return Outlook(None, None)
    return Outlook(known[0], None if moments[1] is None else known[-1])


def smaller(run: Pending, lab: Lab, policy: Policy, now: datetime) -> ResourceRequest | None:
    """Returns the largest of some smaller requests with which a run would start now, if it were alone; None: none.

    Only one thing is made smaller at a time: the GPUs, their memory, the cores or the memory.
    """
    for request in _smaller(run.request):
        changed = replace(run, request=request)
        if isinstance(decide([changed], lab, policy, now)[0], Admit):
            return request
    return None


def _start(
    run_id: str, pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime, *, is_late: bool
) -> datetime | None:
    """Plays the queue forward until the run starts; None if that depends on a run without a forecast."""
    waiting = {run.run_id: run for run in pending}
    holding = list(lab.holding)
    for _ in range(_MOST_STEPS):
        for decision in decide(list(waiting.values()), replace(lab, holding=tuple(holding)), policy, now):
            if not isinstance(decision, Admit):
                continue
            if decision.run_id == run_id:
                return now
            run = waiting.pop(decision.run_id)
            holding += [_held(run, part, now) for part in decision.parts]
        ends = [end for item in holding if (end := _end(item, is_late=is_late)) is not None]
        if not ends or run_id not in waiting:
            return None
        # What is overdue ends at once, and time goes on in any case.
        now = max(now + timedelta(seconds=1), min(ends))
        holding = [item for item in holding if (end := _end(item, is_late=is_late)) is None or end > now]
    return None


def _held(run: Pending, part: Part, now: datetime) -> Holding:
    needs = run.needs
    return Holding(
        run.run_id,
        part.host,
        needs.cpus,
        needs.memory_bytes,
        part.shares,
        needs.disk_bytes,
        run.user,
        run.group,
        now,
        run.forecast,
    )


def _end(held: Holding, *, is_late: bool) -> datetime | None:
    if held.forecast is None or held.started_at is None:
        return None
    return held.started_at + timedelta(seconds=held.forecast.upper_s if is_late else held.forecast.expected_s)


def _smaller(request: ResourceRequest) -> Iterator[ResourceRequest]:
    """Yields smaller requests, the largest of each kind first."""
    if request.gpus > 1:
        for gpus in range(int(request.gpus) - 1, 0, -1):
            yield request.model_copy(update={"gpus": float(gpus)})
    if 0.5 < request.gpus <= 1:
        yield request.model_copy(update={"gpus": 0.5})
    if request.gpu_memory_bytes is not None and request.gpus:
        for part in (0.75, 0.5, 0.25):
            yield request.model_copy(update={"gpu_memory_bytes": max(MIB, int(request.gpu_memory_bytes * part))})
    for part in (0.75, 0.5, 0.25):
        cpus = request.cpus * part
        if cpus >= 1:
            yield request.model_copy(update={"cpus": float(int(cpus))})
    for part in (0.75, 0.5, 0.25):
        memory = int(request.memory_bytes * part)
        if memory >= _LEAST_BYTES:
            yield request.model_copy(update={"memory_bytes": memory})
