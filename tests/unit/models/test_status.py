import json
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fetchml.errors import Conflict
from fetchml.models.status import (
    FINAL_STATES,
    Cancelled,
    Completed,
    EndReason,
    Failed,
    Finalizing,
    Preparing,
    Queued,
    RefusedStatus,
    Running,
    State,
    Status,
    Unreachable,
    transition,
)

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
END = START + timedelta(minutes=5)
LATER = START + timedelta(hours=1)


def status(state: State, attempt: int = 1, started_at: datetime | None = START, exit_code: int | None = 0) -> Status:
    """Returns a status of a state; those that need a start always have one."""
    on = {"attempt": attempt, "host": "h"}
    payload = {"started_at": started_at or START, "container": "c", **on}
    end = {"started_at": started_at, "ended_at": END, "attempt": attempt}
    match state:
        case State.QUEUED:
            return Queued(since=START, attempt=attempt)
        case State.PREPARING:
            return Preparing(since=START, **on)
        case State.RUNNING:
            return Running(**payload)
        case State.UNREACHABLE:
            return Unreachable(since=END, **payload)
        case State.FINALIZING:
            return Finalizing(since=END, exit_code=exit_code, **end)
        case State.COMPLETED:
            return Completed(**{**end, "started_at": started_at or START})
        case State.FAILED:
            return Failed(exit_code=exit_code, end_reason=EndReason.CODE_ERROR, **end)
        case State.CANCELLED:
            return Cancelled(exit_code=exit_code, by="ada", **end)
        case State.REFUSED:
            return RefusedStatus(ended_at=END, attempt=attempt, faults=("no image",))


NEXT = {
    State.QUEUED: {State.PREPARING, State.CANCELLED},
    State.PREPARING: {State.PREPARING, State.RUNNING, State.FINALIZING, State.REFUSED},
    State.RUNNING: {State.FINALIZING, State.UNREACHABLE},
    State.UNREACHABLE: {State.RUNNING, State.FINALIZING},
    State.FINALIZING: {State.COMPLETED, State.FAILED, State.CANCELLED, State.QUEUED},
    State.COMPLETED: set(),
    State.FAILED: set(),
    State.CANCELLED: set(),
    State.REFUSED: set(),
}
LEGAL = [(before, after) for before, follows in NEXT.items() for after in sorted(follows)]
ILLEGAL = [pair for pair in product(State, State) if pair not in LEGAL]


def test_the_table_covers_every_pair_of_states():
    assert len(LEGAL) + len(ILLEGAL) == len(State) ** 2 == 81


@pytest.mark.parametrize(("before", "after"), LEGAL)
def test_a_step_of_the_life_cycle_is_taken(before, after):
    new_attempt = (before, after) == (State.FINALIZING, State.QUEUED)
    new = status(after, attempt=2 if new_attempt else 1, started_at=None if before is State.QUEUED else START)
    assert transition(status(before), new) is new


@pytest.mark.parametrize(("before", "after"), ILLEGAL)
def test_any_other_step_is_a_conflict_that_names_what_is_possible(before, after):
    with pytest.raises(Conflict) as caught:
        transition(status(before), status(after))
    assert caught.value.code == "bad-transition"
    assert f"`{before}` cannot become `{after}`" in caught.value.summary
    for possible in NEXT[before] or {"nothing"}:
        assert possible in caught.value.detail


def test_nothing_follows_a_final_state():
    assert {state for state in State if not NEXT[state]} == FINAL_STATES
    assert all(state.is_final is (state in FINAL_STATES) for state in State)


@pytest.mark.parametrize(
    ("before", "after", "attempt"),
    [
        (before, after, attempt)
        for before, after in LEGAL
        for attempt in (1, 2, 3, 4)
        if (before, after) != ("queued", "cancelled") and attempt != (3 if after is State.QUEUED else 2)
    ],
)
def test_an_attempt_is_only_followed_by_itself_or_by_the_next_after_its_end(before, after, attempt):
    with pytest.raises(Conflict) as caught:
        transition(status(before, attempt=2), status(after, attempt=attempt))
    assert caught.value.code == "stale-attempt"


def test_a_cancellation_cannot_forget_the_attempt_it_ended():
    cancelled = Cancelled(started_at=START, ended_at=END, attempt=None, exit_code=None, by="ada")
    with pytest.raises(Conflict):
        transition(status(State.FINALIZING), cancelled)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.RUNNING, State.FINALIZING),
        (State.RUNNING, State.UNREACHABLE),
        (State.UNREACHABLE, State.RUNNING),
        (State.UNREACHABLE, State.FINALIZING),
        (State.FINALIZING, State.COMPLETED),
        (State.FINALIZING, State.FAILED),
        (State.FINALIZING, State.CANCELLED),
    ],
)
def test_the_start_of_a_run_is_recorded_once(before, after):
    with pytest.raises(Conflict, match="recorded once"):
        transition(status(before), status(after, started_at=START + timedelta(seconds=1)))


@pytest.mark.parametrize("before", [State.RUNNING, State.UNREACHABLE])
def test_a_start_cannot_be_taken_back(before):
    with pytest.raises(Conflict, match="recorded once"):
        transition(status(before), status(State.FINALIZING, started_at=None))


@pytest.mark.parametrize("after", [State.FINALIZING])
def test_a_run_cannot_end_before_it_started(after):
    with pytest.raises(Conflict, match="before it started"):
        transition(status(State.RUNNING, started_at=LATER), status(after, started_at=LATER))


def test_a_new_attempt_has_a_start_of_its_own():
    queued = transition(status(State.FINALIZING), status(State.QUEUED, attempt=2))
    preparing = transition(queued, status(State.PREPARING, attempt=2))
    running = transition(preparing, status(State.RUNNING, attempt=2, started_at=LATER))
    assert running.started_at == LATER


@pytest.mark.parametrize(
    "after",
    [
        Failed(started_at=START, ended_at=LATER, attempt=1, exit_code=7, end_reason=EndReason.CODE_ERROR),
        Failed(started_at=START, ended_at=END, attempt=1, exit_code=8, end_reason=EndReason.CODE_ERROR),
        Cancelled(started_at=START, ended_at=LATER, attempt=1, exit_code=7, by="ada"),
        Completed(started_at=START, ended_at=END, attempt=1),
    ],
    ids=["time", "exit code", "time of a cancellation", "a failure becomes a success"],
)
def test_the_end_of_a_run_is_recorded_once(after):
    finalizing = Finalizing(since=END, started_at=START, ended_at=END, attempt=1, exit_code=7)
    with pytest.raises(Conflict):
        transition(finalizing, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.QUEUED, State.CANCELLED),
        (State.FINALIZING, State.COMPLETED),
        (State.FINALIZING, State.FAILED),
        (State.FINALIZING, State.CANCELLED),
    ],
)
def test_a_run_that_never_started_does_not_end_with_a_start(before, after):
    with pytest.raises(Conflict):
        transition(status(before, started_at=None), status(after, started_at=START))


@pytest.mark.parametrize("reason", [EndReason.OK, EndReason.CANCELLED, EndReason.PREFLIGHT_REFUSED])
def test_a_failure_has_the_reason_of_a_failure(reason):
    with pytest.raises(ValidationError):
        Failed(started_at=START, ended_at=END, attempt=1, exit_code=0, end_reason=reason)


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "queued", "since": "2026-11-20T12:00:00Z", "started_at": None},
        {"state": "running", "attempt": 1, "host": "h", "container": "c"},
        {"state": "running", "started_at": None, "attempt": 1, "host": "h", "container": "c"},
        {"state": "preparing", "since": "2026-11-20T12:00:00Z", "attempt": 0, "host": "h"},
        {"state": "completed", "started_at": "2026-11-20T12:00:00Z", "ended_at": "2026-11-20T12:00:01Z", "attempt": 1,
         "exit_code": 1, "end_reason": "ok"},
        {"state": "failed", "started_at": None, "ended_at": "2026-11-20T12:00:01Z", "attempt": 1, "exit_code": 1,
         "end_reason": "bad_luck"},
        {"state": "done"},
        {},
    ],
)  # fmt: skip
def test_a_status_holds_what_its_state_needs_and_nothing_else(fields):
    with pytest.raises(ValidationError):
        TypeAdapter(Status).validate_json(json.dumps(fields))


@pytest.mark.parametrize("state", list(State))
def test_a_status_survives_being_written_and_read(state):
    adapter = TypeAdapter(Status)
    assert adapter.validate_json(adapter.dump_json(status(state))) == status(state)


STATUSES = st.builds(status, st.sampled_from(State), st.integers(1, 3), st.sampled_from([None, START, LATER]))


@settings(max_examples=300)
@given(st.lists(STATUSES, max_size=40))
def test_no_sequence_of_steps_leaves_a_final_state_or_moves_a_start(steps):
    current: Status = Queued(since=START)
    for step in steps:
        try:
            new = transition(current, step)
        except Conflict:
            continue
        assert not current.state.is_final
        started, attempt = getattr(current, "started_at", None), getattr(current, "attempt", None)
        if started is not None and new.attempt == attempt:
            assert new.started_at == started
        if not isinstance(current, Queued):
            assert new.attempt in (attempt, attempt + 1)
        current = new
