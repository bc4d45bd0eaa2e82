"""Replays a trace, or the runs of this store, through the decisions of the queue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from fetchml.admission.lab import HostState
from fetchml.config.settings import Settings
from fetchml.daemons.worker import read_worker_state
from fetchml.errors import ConfigError, NotFound
from fetchml.simulation.contenders import BASELINE, CONTENDERS, USUAL, Contender
from fetchml.simulation.figures import Figures, figures_of
from fetchml.simulation.hosts import hosts_of
from fetchml.simulation.jobs import Job, in_time, jittered, read_jobs
from fetchml.simulation.replay import replay
from fetchml.store.index import RunIndex

_USUAL_HOSTS = "2x8"


@dataclass(frozen=True, slots=True)
class Result:
    """One scheduler on one copy of the trace."""

    contender: Contender
    figures: Figures
    refused_count: int
    """Jobs that no host could ever run."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The trace as it is, or a little different."""

    seed: int | None
    """What made it different; None: nothing did."""
    results: tuple[Result, ...]
    """Strict FIFO first."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """All that was replayed."""

    source: str
    job_count: int
    user_count: int
    span_s: float
    """Seconds from the first submission to the last."""
    host_count: int
    gpu_count: int
    load: float
    """GPU-seconds asked for / (GPUs x span)."""
    copies: tuple[Copy, ...]


def simulate(
    settings: Settings,
    trace: Path | None,
    *,
    hosts: str | None = None,
    policies: Sequence[str] = (),
    jitter: int = 0,
    seed: int = 1,
    scale: float = 1.0,
    observe: Callable[[str, int, int], None] | None = None,
) -> Simulated:
    """Replays jobs on simulated hosts, once for each scheduler, and compares all with strict FIFO.

    Args:
        settings: The settings of this call.
        trace: A CSV file; None: the runs of this store that have ended.
        hosts: Groups of hosts such as `2x8`; None: two hosts of 8 GPUs, or for the runs of this store its own host.
        policies: Names of the schedulers; none: the usual ones. Strict FIFO always takes part.
        jitter: How many copies that are a little different are replayed besides.
        seed: Decides what is different in the first copy; the next have the numbers after it.
        scale: Factor on all durations.
        observe: Is told the scheduler, how many jobs have ended, and how many there are.

    Raises:
        ConfigError: The trace, the hosts or a name are not what they should be.
        NotFound: There is no such file, or there are no runs that have ended.
    """
    unknown = [name for name in policies if name not in CONTENDERS]
    if unknown:
        raise ConfigError(
            f"--policy: there is no scheduler `{unknown[0][:40]}`", hint=f"there are: {', '.join(CONTENDERS)}"
        )
    names = [BASELINE, *(name for name in dict.fromkeys(policies or USUAL) if name != BASELINE)]
    if trace is not None:
        source, jobs, states = trace.name, _from_file(trace), hosts_of(hosts or _USUAL_HOSTS)
    else:
        source, jobs = "the runs of this store", _from_store(settings)
        states = hosts_of(hosts) if hosts else _own_hosts(settings)
    gpus = sum(len(state.capacity.devices) for state in states)
    jobs = [replace(job, duration_s=job.duration_s * scale) for job in jobs]
    span_s = jobs[-1].submit_s
    asked_s = sum(job.duration_s * job.gpus for job in jobs)
    copies = [_copy(None, jobs, states, names, observe)]
    copies += [_copy(number, jittered(jobs, number), states, names, observe) for number in range(seed, seed + jitter)]
    return Simulated(
        source=source,
        job_count=len(jobs),
        user_count=len({job.user for job in jobs}),
        span_s=span_s,
        host_count=len(states),
        gpu_count=gpus,
        load=asked_s / (gpus * span_s) if gpus and span_s else 0.0,
        copies=tuple(copies),
    )


def _copy(
    seed: int | None,
    jobs: Sequence[Job],
    states: Sequence[HostState],
    names: Sequence[str],
    observe: Callable[[str, int, int], None] | None,
) -> Copy:
    gpus = sum(len(state.capacity.devices) for state in states)
    results: list[Result] = []
    for name in names:
        label = name if seed is None else f"{name}, copy {seed}"

        def tell(ended: int, label: str = label) -> None:
            if observe is not None:
                observe(label, ended, len(jobs))

        found = replay(jobs, states, CONTENDERS[name], tell)
        if not found.placed:
            raise ConfigError("no job fits on these hosts", hint="ask for others with `--hosts`")
        results.append(Result(CONTENDERS[name], figures_of(found.placed, gpus), len(found.refused)))
    return Copy(seed, tuple(results))


def _from_file(path: Path) -> list[Job]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return read_jobs(file, path.name)
    except FileNotFoundError:
        raise NotFound(f"there is no file `{path}`") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`{path.name}` is no text in UTF-8") from None


def _from_store(settings: Settings) -> list[Job]:
    jobs: list[Job] = []
    for row in RunIndex(settings.store).rows():
        if not row.is_final or row.started_at is None or row.ended_at is None:
            continue
        queued, started, ended = (
            datetime.fromisoformat(text).timestamp() for text in (row.queued_at, row.started_at, row.ended_at)
        )
        jobs.append(
            Job(
                job_id=row.run_id,
                submit_s=queued,
                duration_s=max(0.0, ended - started),
                gpus=row.gpus,
                user=row.user,
                priority=row.priority,
                name=row.name,
            )
        )
    if not jobs:
        raise NotFound("there are no runs that have ended", hint="replay a trace instead: `fetchml simulate FILE`")
    return in_time(jobs)


def _own_hosts(settings: Settings) -> tuple[HostState, ...]:
    state = read_worker_state(settings.services)
    if state is None:
        raise ConfigError("it is not known what this host has, as no worker has run yet", hint="add `--hosts 1x2`")
    return (HostState(state.capacity),)
