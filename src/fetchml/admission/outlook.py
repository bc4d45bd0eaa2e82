"""When a waiting run may start, and which smaller one could start now: pure functions over the same decision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fetchml.admission.decide import Admit, Wait, decide
from fetchml.admission.lab import Forecast, Holding, Lab, Pending
from fetchml.admission.order import in_order
from fetchml.admission.policy import Policy
from fetchml.models.resources import ResourceRequest
from fetchml.models.units import exact_size

_MOST_AHEAD = 300
"""Runs ahead of one whose start is worked out; with more of them the answer would be a guess."""
_MOST_STEPS = 400
_LEAST_STEP_S = 1.0


class _Pace(StrEnum):
    EXPECTED = "expected_s"
    UPPER = "upper_s"


@dataclass(frozen=True, slots=True)
class Start:
    """When a run may start."""

    earliest: datetime
    """If everything in its way takes as long as runs like it take on average."""
    latest: datetime | None
    """If it takes as long as most of them stay below; None: it cannot be told."""
    basis: tuple[str, ...]
    """What that was learned from, for people."""


def start_of(run_id: str, pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime) -> Start | None:
    """Returns when a waiting run may start if nobody queues anything more, or None if it cannot be told.

    The decision is made again and again, each time at the moment when the next started run is expected to end.

    Args:
        run_id: The run.
        pending: All that wait.
        lab: The hosts, and what is held of them.
        policy: The rules.
        now: The present.
    """
    ordered = in_order(pending, lab, policy, now)
    place = next((number for number, run in enumerate(ordered) if run.run_id == run_id), None)
    if place is None or place > _MOST_AHEAD:
        return None
    ahead = ordered[: place + 1]
    earliest = _admitted_at(run_id, ahead, lab, policy, now, _Pace.EXPECTED)
    if earliest is None:
        return None
    latest = _admitted_at(run_id, ahead, lab, policy, now, _Pace.UPPER)
    forecasts = [item.forecast for item in (*lab.holding, *ahead[:-1]) if item.forecast is not None]
    return Start(earliest, latest, tuple(sorted({item.basis for item in forecasts})))


def _admitted_at(
    run_id: str, pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime, pace: _Pace
) -> datetime | None:
    waiting = {run.run_id: run for run in pending}
    moment = now
    for _ in range(_MOST_STEPS):
        for decision in decide(tuple(waiting.values()), lab, policy, moment):
            if not isinstance(decision, Admit):
                if not isinstance(decision, Wait):
                    waiting.pop(decision.run_id)
                continue
            if decision.run_id == run_id:
                return moment
            lab = replace(lab, holding=(*lab.holding, *_held(waiting.pop(decision.run_id), decision, moment)))
        if run_id not in waiting:
            return None
        ends = [(end, held) for held in lab.holding if (end := _end(held, pace)) is not None]
        if not ends:
            return None
        moment = max(min(end for end, _ in ends), moment + timedelta(seconds=_LEAST_STEP_S))
        gone = {held.run_id for end, held in ends if end <= moment}
        lab = replace(lab, holding=tuple(held for held in lab.holding if held.run_id not in gone))
    return None


def _held(run: Pending, admit: Admit, moment: datetime) -> Iterator[Holding]:
    for part in admit.parts:
        yield Holding(
            run_id=run.run_id,
            host=part.host,
            cpus=run.request.cpus,
            memory_bytes=run.request.memory_bytes,
            shares=part.shares,
            disk_bytes=run.request.disk_bytes or 0,
            user=run.user,
            group=run.group,
            started_at=moment,
            forecast=run.forecast,
        )


def _end(held: Holding, pace: _Pace) -> datetime | None:
    forecast: Forecast | None = held.forecast
    if forecast is None or held.started_at is None:
        return None
    return held.started_at + timedelta(seconds=getattr(forecast, pace.value))


def smaller_that_start(
    run_id: str, pending: Sequence[Pending], lab: Lab, policy: Policy, now: datetime, most: int = 3
) -> tuple[str, ...]:
    """Returns what could be asked for instead, as flags, so that the run would start now.

    Args:
        run_id: A run that waits.
        pending: All that wait.
        lab: The hosts, and what is held of them.
        policy: The rules.
        now: The present.
        most: Answers at most.
    """
    run = next((item for item in pending if item.run_id == run_id), None)
    if run is None:
        return ()
    others = [item for item in in_order(pending, lab, policy, now) if item.run_id != run_id][:_MOST_AHEAD]
    found: list[str] = []
    for flags, smaller in _smaller(run):
        decisions = decide((*others, smaller), lab, policy, now)
        if any(isinstance(item, Admit) and item.run_id == run_id for item in decisions):
            found.append(flags)
            if len(found) == most:
                break
    return tuple(found)


def _smaller(run: Pending) -> Iterator[tuple[str, Pending]]:
    """Yields smaller or less particular requests, the ones that give up least first."""
    request = run.request

    def asking(**changes: object) -> Pending:
        return replace(run, request=ResourceRequest(**{**request.model_dump(), **changes}))  # pyright: ignore[reportArgumentType]

    if run.host is not None:
        yield "without `--host`", replace(run, host=None)
    if request.gpus and request.gpu_model is not None:
        yield "without `--gpu-model`", asking(gpu_model=None)
    if request.gpus and request.gpu_memory_max_bytes is not None:
        yield "without an upper end of `--gpu-memory`", asking(gpu_memory_max_bytes=None)
    if request.gpus and request.gpu_memory_bytes is not None:
        half = request.gpu_memory_bytes // 2
        yield f"`--gpu-memory {exact_size(half)}`", asking(gpu_memory_bytes=half)
    for gpus in range(int(request.gpus) - 1, 0, -1):
        yield f"`--gpus {gpus}`", asking(gpus=float(gpus))
    if request.gpus > 0.5:
        yield "`--gpus 0.5`", asking(gpus=0.5)
    if request.cpus > 1:
        yield f"`--cpus {request.cpus / 2:g}`", asking(cpus=request.cpus / 2)
    if request.memory_bytes > 2 * 2**30:
        half = request.memory_bytes // 2
        yield f"`--memory {exact_size(half)}`", asking(memory_bytes=half)
    if request.disk_bytes is not None:
        yield "without `--disk`", asking(disk_bytes=None)
    if request.gpu_vendor is not None and request.gpus:
        yield "`--gpu-vendor any`, if it runs on other makers' GPUs", asking(gpu_vendor=None)
