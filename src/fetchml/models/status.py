"""The life of a run: one frozen model a state, one function for every transition.

`queued → preparing → running → finalizing → completed | failed | cancelled | refused`, and `unreachable` while the host
of a started run is silent. A status holds the fields that are valid in its state and no others; how a run ended is a
closed enum apart from its exit code.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fetchml.errors import Conflict
from fetchml.models.base import Model, UtcTime


class State(StrEnum):
    """The states of a run."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows this state."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.REFUSED})


class EndReason(StrEnum):
    """How a run ended. Closed: a new reason is a new schema version."""

    OK = "ok"
    CODE_ERROR = "code_error"
    DATA_ERROR = "data_error"
    OUT_OF_MEMORY = "out_of_memory"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    PREFLIGHT_REFUSED = "preflight_refused"
    IMAGE_ERROR = "image_error"
    INFRASTRUCTURE = "infrastructure"
    HOST_LOST = "host_lost"
    STORAGE_FULL = "storage_full"


def _failure(reason: EndReason) -> EndReason:
    if reason in (EndReason.OK, EndReason.CANCELLED, EndReason.PREFLIGHT_REFUSED):
        raise ValueError(f"`{reason}` is not the end of a failed run")
    return reason


class Queued(Model):
    """Accepted and durable; nothing of the attempt it waits for was started."""

    state: Literal[State.QUEUED] = State.QUEUED
    since: UtcTime = Field(description="When the run was accepted, or put back after an attempt that failed")
    attempt: int = Field(
        default=1, ge=1, exclude_if=lambda n: n == 1, description="Attempt it waits for; left out for the first"
    )
    not_before: UtcTime | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="When that attempt may start; left out if it may now",
    )


class Preparing(Model):
    """Claimed by a worker that verifies, materialises and builds; the payload has not started."""

    state: Literal[State.PREPARING] = State.PREPARING
    since: UtcTime = Field(description="When the worker began")
    attempt: int = Field(ge=1, description="Number of the attempt")
    host: str = Field(description="Host of the worker")


class Running(Model):
    """The payload is running."""

    state: Literal[State.RUNNING] = State.RUNNING
    started_at: UtcTime = Field(description="When the payload started")
    attempt: int = Field(ge=1, description="Number of the attempt")
    host: str = Field(description="Host the payload runs on")
    container: str = Field(description="Name of the container or process")


class Unreachable(Model):
    """The host of a started run is silent; silence is no proof of death, so nothing else is started."""

    state: Literal[State.UNREACHABLE] = State.UNREACHABLE
    since: UtcTime = Field(description="When the silence was noticed")
    started_at: UtcTime = Field(description="When the payload started")
    attempt: int = Field(ge=1, description="Number of the attempt")
    host: str = Field(description="Host that is silent")
    container: str = Field(description="Name of the container or process")


class Finalizing(Model):
    """The payload has ended or will never start; results are being recorded and sealed."""

    state: Literal[State.FINALIZING] = State.FINALIZING
    since: UtcTime = Field(description="When finalizing began")
    started_at: UtcTime | None = Field(description="When the payload started; null if it never did")
    ended_at: UtcTime = Field(description="When the payload ended, or when it was clear that it would not start")
    attempt: int = Field(ge=1, description="Number of the attempt")
    exit_code: int | None = Field(description="Exit code of the payload; null if it never started or is unknown")


class Completed(Model):
    """The payload ended with exit code 0."""

    state: Literal[State.COMPLETED] = State.COMPLETED
    started_at: UtcTime = Field(description="When the payload started")
    ended_at: UtcTime = Field(description="When the payload ended")
    attempt: int = Field(ge=1, description="Number of the attempt")
    exit_code: Literal[0] = Field(default=0, description="Exit code of the payload")
    end_reason: Literal[EndReason.OK] = EndReason.OK


class Failed(Model):
    """The run ended in any other way than success, cancellation or refusal."""

    state: Literal[State.FAILED] = State.FAILED
    started_at: UtcTime | None = Field(description="When the payload started; null if it never did")
    ended_at: UtcTime = Field(description="When the run ended")
    attempt: int = Field(ge=1, description="Number of the attempt")
    exit_code: int | None = Field(description="Exit code of the payload; null if it never started or is unknown")
    end_reason: Annotated[EndReason, AfterValidator(_failure)] = Field(description="Why it failed")


class Cancelled(Model):
    """Someone stopped the run, and nothing of it is left running."""

    state: Literal[State.CANCELLED] = State.CANCELLED
    started_at: UtcTime | None = Field(description="When the payload started; null if it never did")
    ended_at: UtcTime = Field(description="When it was certain that nothing was left running")
    attempt: int | None = Field(ge=1, description="Number of the attempt; null if no worker had it")
    exit_code: int | None = Field(description="Exit code of the payload; null if it never started or is unknown")
    end_reason: Literal[EndReason.CANCELLED] = EndReason.CANCELLED
    by: str = Field(description="Who asked")


class RefusedStatus(Model):
    """The worker's own preflight said no; the payload was never started."""

    state: Literal[State.REFUSED] = State.REFUSED
    ended_at: UtcTime = Field(description="When it was refused")
    attempt: int = Field(ge=1, description="Number of the attempt")
    end_reason: Literal[EndReason.PREFLIGHT_REFUSED] = EndReason.PREFLIGHT_REFUSED
    faults: tuple[str, ...] = Field(description="What preflight found, one line each")


Status = Annotated[
    Queued | Preparing | Running | Unreachable | Finalizing | Completed | Failed | Cancelled | RefusedStatus,
    Field(discriminator="state"),
]

_NEXT: dict[State, frozenset[State]] = {
    # A canceller that wins the claim ends a run that no worker has touched.
    State.QUEUED: frozenset({State.PREPARING, State.CANCELLED}),
    # A payload that never starts skips `running`.
    State.PREPARING: frozenset({State.PREPARING, State.RUNNING, State.FINALIZING, State.REFUSED}),
    State.RUNNING: frozenset({State.FINALIZING, State.UNREACHABLE}),
    State.UNREACHABLE: frozenset({State.RUNNING, State.FINALIZING}),
    # A new attempt waits for its turn again.
    State.FINALIZING: frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.QUEUED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.REFUSED: frozenset(),
}


def transition(current: Status, new: Status) -> Status:
    """Returns the status that follows; every change of a run's state goes through here.

    Raises:
        Conflict: The life cycle has no such step, the attempt goes backwards, or a start or end would be rewritten.
    """
    if new.state not in _NEXT[current.state]:
        raise Conflict(
            f"a run that is `{current.state}` cannot become `{new.state}`",
            detail=f"from `{current.state}` it can become: {', '.join(sorted(_NEXT[current.state])) or 'nothing'}",
            code="bad-transition",
        )
    is_retry = new.state is State.QUEUED
    nobody_had_it = isinstance(current, Queued) and isinstance(new, Cancelled)
    before = attempt_of(current)
    if new.attempt != before + is_retry and not nobody_had_it:
        raise Conflict(f"attempt {new.attempt} cannot follow attempt {before} here", code="stale-attempt")
    if not is_retry:
        _check_record(current, new)
    return new


def attempt_of(status: Status) -> int:
    """Returns the attempt a run is in or waits for, from 1; of a run that was cancelled before a start, the first."""
    return status.attempt or 1


def _check_record(current: Status, new: Status) -> None:
    """Raises Conflict if a start or an end that is on record would change."""
    started_before, started = getattr(current, "started_at", None), getattr(new, "started_at", None)
    may_start = started_before is None and current.state is State.PREPARING
    if started != started_before and not may_start:
        raise Conflict("the start of a run is recorded once", code="bad-transition")
    ended: datetime | None = getattr(new, "ended_at", None)
    if ended is not None and started is not None and ended < started:
        raise Conflict("a run cannot end before it started", code="bad-transition")
    if not isinstance(current, Finalizing) or not isinstance(new, Completed | Failed | Cancelled):
        return
    if (new.ended_at, new.exit_code) != (current.ended_at, current.exit_code):
        raise Conflict("the end of a run is recorded once", code="bad-transition")
