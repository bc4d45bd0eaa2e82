"""Replays jobs through `decide()`, from event to event.

Something can only start when a job comes or ends, so these are the moments at which the queue is decided. Jobs that
end give back what they held before new ones are looked at, and teach how long others may take.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import ceil

from fetchml.admission.decide import Admit, Refuse, decide
from fetchml.admission.durations import Bursts, Durations, Traits
from fetchml.admission.lab import Forecast, Holding, HostState, Lab, Pending
from fetchml.admission.policy import Order, Passing, Policy
from fetchml.admission.size import LabSize
from fetchml.admission.usage import DecayedUsage
from fetchml.models.resources import ResourceRequest
from fetchml.models.units import MIB
from fetchml.simulation.contenders import Contender, Knowledge
from fetchml.simulation.jobs import Job

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Placed:
    """A job that was run."""

    job: Job
    start_s: float

    @property
    def wait_s(self) -> float:
        """Seconds it waited."""
        return self.start_s - self.job.submit_s

    @property
    def end_s(self) -> float:
        """When it ended, in seconds since the first submission."""
        return self.start_s + self.job.duration_s


@dataclass(frozen=True, slots=True)
class Replayed:
    """A whole replay."""

    placed: tuple[Placed, ...]
    refused: tuple[Job, ...]
    """Jobs that no host could ever run."""


def replay(
    jobs: Sequence[Job],
    hosts: Sequence[HostState],
    contender: Contender,
    observe: Callable[[int], None] | None = None,
) -> Replayed:
    """Runs jobs on simulated hosts.

    Args:
        jobs: The jobs, by time of submission.
        hosts: The hosts.
        contender: The scheduler.
        observe: Is told how many jobs have ended, from time to time.
    """
    return _Replay(jobs, hosts, contender).run(observe)


class _Replay:
    """The state of a replay."""

    def __init__(self, jobs: Sequence[Job], hosts: Sequence[HostState], contender: Contender) -> None:
        self._jobs = {f"{number:07}": job for number, job in enumerate(jobs)}
        bursts = Bursts()
        self._traits = {
            run_id: Traits(job.user, job.gpus, job.name, bursts.of(job.user, job.gpus, job.submit_s))
            for run_id, job in self._jobs.items()
        }
        self._hosts = tuple(hosts)
        self._contender = contender
        self._size = LabSize.of(hosts)
        self._gpus_count = any(device.memory_bytes for state in hosts for device in state.capacity.devices)
        self._durations = Durations()
        self._usage = DecayedUsage()
        self._queue: dict[str, Pending] = {}
        self._forecasts: dict[Traits, Forecast | None] = {}
        self._running: dict[str, tuple[Holding, ...]] = {}
        self._ends: list[tuple[float, str]] = []
        self._placed: list[Placed] = []
        self._refused: list[Job] = []
        least = min((job.gpus for job in jobs), default=0.0)
        self._most_at_once = ceil(self._size.gpus / least) + 1 if least else len(jobs)
        self._needs_gpu = least > 0

    def run(self, observe: Callable[[int], None] | None) -> Replayed:
        coming = list(self._jobs.items())
        position = 0
        ended = 0
        while position < len(coming) or self._ends:
            now_s = min(
                coming[position][1].submit_s if position < len(coming) else float("inf"),
                self._ends[0][0] if self._ends else float("inf"),
            )
            while self._ends and self._ends[0][0] <= now_s:
                self._end(heapq.heappop(self._ends)[1], now_s)
                ended += 1
                if observe is not None and ended % 100 == 0:
                    observe(ended)
            while position < len(coming) and coming[position][1].submit_s <= now_s:
                self._submit(*coming[position])
                position += 1
            if self._queue and not self._is_full():
                self._decide(now_s)
        return Replayed(tuple(self._placed), tuple(self._refused))

    def _submit(self, run_id: str, job: Job) -> None:
        request = ResourceRequest(
            gpus=job.gpus,
            gpu_memory_bytes=job.gpu_memory_bytes if self._gpus_count and job.gpus else None,
            cpus=job.cpus or 1,
            memory_bytes=job.memory_bytes or 16 * MIB,
        )
        self._queue[run_id] = Pending(
            run_id,
            job.priority,
            _moment(job.submit_s),
            request,
            user=job.user,
            forecast=self._forecast_new(run_id, job),
        )

    def _end(self, run_id: str, now_s: float) -> None:
        job = self._jobs[run_id]
        held = self._running.pop(run_id)
        part = sum(self._size.part_held(item) for item in held)
        self._usage.add(job.user, job.duration_s * part, _moment(now_s))
        self._durations.observe(self._traits[run_id], job.duration_s)

    def _decide(self, now_s: float) -> None:
        policy = self._contender.policy
        if self._contender.knowledge is Knowledge.LEARNED:
            self._learn()
        now = _moment(now_s)
        holding = tuple(item for held in self._running.values() for item in held)
        if self._contender.knowledge is Knowledge.LEARNED:
            holding = tuple(self._aged(item, now_s) for item in holding)
        lab = Lab(self._hosts, holding, self._usage.at(now) if policy.fair_share_power else {})
        for decision in decide(self._considered(policy), lab, policy, now):
            if isinstance(decision, Admit):
                self._start(decision, now_s, now)
            elif isinstance(decision, Refuse):
                del self._queue[decision.run_id]
                self._refused.append(self._jobs[decision.run_id])

    def _considered(self, policy: Policy) -> list[Pending]:
        """Returns the runs that may start now.

        Where nobody passes anybody, only as many as there are GPUs can start, those that came first.
        """
        if policy.passing is Passing.NONE and policy.order is Order.SUBMITTED and self._needs_gpu:
            return list(islice(self._queue.values(), self._most_at_once))
        return list(self._queue.values())

    def _start(self, admit: Admit, now_s: float, now: datetime) -> None:
        run = self._queue.pop(admit.run_id)
        job = self._jobs[admit.run_id]
        self._running[admit.run_id] = tuple(
            Holding(
                admit.run_id,
                part.host,
                run.request.cpus,
                run.request.memory_bytes,
                part.shares,
                user=run.user,
                started_at=now,
                forecast=run.forecast,
            )
            for part in admit.parts
        )
        self._placed.append(Placed(job, now_s))
        heapq.heappush(self._ends, (now_s + job.duration_s, admit.run_id))

    def _is_full(self) -> bool:
        """Whether nothing can start as every device is taken whole."""
        if not self._needs_gpu:
            return False
        taken = sum(share.share for held in self._running.values() for item in held for share in item.shares)
        return taken > self._size.gpus - 1e-6

    def _forecast_new(self, run_id: str, job: Job) -> Forecast | None:
        if self._contender.knowledge is Knowledge.NOTHING:
            return None
        if self._contender.knowledge is Knowledge.PERFECT:
            return Forecast(job.duration_s, job.duration_s, "the truth")
        traits = self._traits[run_id]
        if traits not in self._forecasts:
            self._forecasts[traits] = self._durations.forecast(traits)
        return self._forecasts[traits]

    def _learn(self) -> None:
        """Gives those that wait what has been learned since."""
        fresh: dict[Traits, Forecast | None] = {}
        changed: set[Traits] = set()
        for run_id, run in self._queue.items():
            traits = self._traits[run_id]
            if traits not in fresh:
                fresh[traits] = self._durations.forecast(traits)
                if fresh[traits] != self._forecasts.get(traits):
                    changed.add(traits)
            if traits in changed:
                self._queue[run_id] = run.with_forecast(fresh[traits])
        self._forecasts |= fresh

    def _aged(self, held: Holding, now_s: float) -> Holding:
        """Returns what a run holds with what its age tells of its end."""
        age_s = now_s - (held.started_at - _BEGIN).total_seconds() if held.started_at is not None else 0.0
        found = self._durations.forecast(self._traits[held.run_id], elapsed_s=max(0.0, age_s))
        return replace(held, forecast=found or held.forecast)


def _moment(seconds: float) -> datetime:
    return _BEGIN + timedelta(seconds=seconds)
