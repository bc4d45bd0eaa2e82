"""What must hold of a run's record in each state, beyond the shape of its sections: a pure function."""

from itertools import pairwise

from fetchml.models.manifest import RunManifest
from fetchml.models.status import EndReason, State

_BEFORE_A_WORKER = frozenset({State.QUEUED, State.CANCELLED})
"""States that a run may be in though no worker ever had it."""


def life_cycle_faults(manifest: RunManifest) -> tuple[str, ...]:
    """Returns every rule of the life cycle that the record breaks; empty if it breaks none."""
    return (*_missing(manifest), *_contradictions(manifest))


def clock_oddities(manifest: RunManifest) -> tuple[str, ...]:
    """Returns pairs of times in the wrong order that two clocks, or one that was set, can explain."""
    times, seal = manifest.times, manifest.seal
    moments = (
        ("queued", times.queued_at),
        ("started", times.started_at),
        ("ended", times.ended_at),
        ("sealed", seal.sealed_at if seal is not None else None),
    )
    known = [(name, moment) for name, moment in moments if moment is not None]
    return tuple(
        f"it was {later} before it was {earlier}: two clocks, or one that was set"
        for (earlier, first), (later, second) in pairwise(known)
        if second < first and (earlier, later) != ("started", "ended")
    )


def _missing(manifest: RunManifest) -> list[str]:
    state, times = manifest.status.state, manifest.times
    needed: dict[str, bool] = {}
    if state.is_final:
        needed |= {
            "times.ended_at": times.ended_at is not None,
            "end_reason": manifest.end_reason is not None,
            "diagnosis": manifest.diagnosis is not None,
            "seal": manifest.seal is not None,
        }
    if state not in _BEFORE_A_WORKER:
        needed["placement"] = manifest.placement is not None
    if times.started_at is not None:
        needed["sandbox"] = manifest.sandbox is not None
    if state in (State.RUNNING, State.COMPLETED):
        needed["times.started_at"] = times.started_at is not None
    return [f"`{name}` is missing" for name, is_there in needed.items() if not is_there]


def _contradictions(manifest: RunManifest) -> list[str]:
    state, times = manifest.status.state, manifest.times
    faults: list[str] = []
    if manifest.seal is not None and not state.is_final:
        faults.append(f"it is sealed and `{state}`")
    if times.started_at is not None and times.ended_at is not None and times.ended_at < times.started_at:
        faults.append("it ended before it started")
    if manifest.diagnosis is not None and manifest.diagnosis.category != manifest.end_reason:
        faults.append(f"the diagnosis is `{manifest.diagnosis.category}`, the end reason `{manifest.end_reason}`")
    if manifest.exit_code is not None and times.started_at is None:
        faults.append(f"it never started and has exit code {manifest.exit_code}")
    if manifest.end_reason is EndReason.OK and manifest.exit_code != 0:
        faults.append(f"the end reason is `ok`, the exit code {manifest.exit_code}")
    if manifest.end_reason is EndReason.CODE_ERROR and manifest.exit_code == 0:
        faults.append("the end reason is `code_error`, the exit code 0")
    return faults
