"""Cancels runs: a waiting one at once, a started one through whoever drives it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon
from fetchml.daemons.wake import REPAIR, wake
from fetchml.durable import STORAGE_FULL
from fetchml.errors import Conflict, FetchmlError, Forbidden
from fetchml.execution.cancel import cancel_unstarted
from fetchml.home import Home
from fetchml.models.claim import CancelRequest
from fetchml.models.status import State
from fetchml.service.far import find, stop
from fetchml.service.select import select
from fetchml.store.index import RunIndex, RunRow

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """What became of one request."""

    run_id: str
    state: State
    """State when the call returned: `cancelled`, or that of a run which is being stopped."""
    note: str | None = None


def cancel(settings: Settings, targets: Sequence[str], *, wait: bool, reason: str | None = None) -> list[CancelOutcome]:
    """Asks for runs to stop. Every run is looked up before any is touched.

    Args:
        settings: The settings of this call.
        targets: Runs as `select` understands them.
        wait: Return only when they have ended.
        reason: Why, for the record.

    Raises:
        NotFound: One of them does not exist; none is touched.
        Conflict: One of them has ended; none is touched.
        Forbidden: One of them belongs to someone else; none is touched.
    """
    home = Home(settings)
    chosen = _chosen(home, targets)
    for row in chosen:
        if row.state == "damaged":
            home.store.read_manifest(row.run_id)  # says what is wrong with it
        if row.is_final:
            raise Conflict(f"run `{row.run_id}` has ended: it is `{row.state}`", code="already-ended")
        if row.user != home.user:
            raise Forbidden(
                f"run `{row.run_id}` belongs to `{row.user}`", hint="ask them to cancel it", code="not-your-run"
            )
    outcomes = [_stop(home, row.run_id, reason) for row in chosen]
    if not wait:
        return outcomes
    return [_await_end(home, outcome) for outcome in outcomes]


def stop_run(home: Home, run_id: str, by: str, reason: str | None) -> CancelOutcome:
    """Asks for one run to stop, on the host that has the run store.

    Args:
        home: The home folder.
        run_id: The run.
        by: Who asks.
        reason: Why, for the record.

    Raises:
        Conflict: It has ended.
        Forbidden: It belongs to someone else.
    """
    owner = home.store.read_manifest(run_id).identity.user
    if owner != by:
        raise Forbidden(f"run `{run_id}` belongs to `{owner}`", hint="ask them to cancel it", code="not-your-run")
    outcome = _with_reserve(home, partial(_cancel, home, run_id, by, reason))
    wake(home.wake_pipe, REPAIR)
    return outcome


def _chosen(home: Home, targets: Sequence[str]) -> list[RunRow]:
    if home.link is not None:
        return list(dict.fromkeys(find(home, target) for target in targets))
    rows = RunIndex(home.settings.store).rows()
    return list(dict.fromkeys(select(rows, target) for target in targets))


def _stop(home: Home, run_id: str, reason: str | None) -> CancelOutcome:
    if home.link is None:
        return stop_run(home, run_id, home.user, reason)
    found = stop(home, run_id, reason)
    return CancelOutcome(run_id, State(found["state"]), found["note"])


def _with_reserve(home: Home, call: Callable[[], CancelOutcome]) -> CancelOutcome:
    """Calls, on a full disk once more with the space that is kept back: stopping a run must be possible there."""
    try:
        return call()
    except FetchmlError as error:
        if error.code != STORAGE_FULL:
            raise
    home.release_reserve()
    return call()


def _cancel(home: Home, run_id: str, by: str, reason: str | None) -> CancelOutcome:
    def now() -> datetime:
        return datetime.now(UTC)

    home.store.request_cancel(run_id, CancelRequest(by=by, at=now(), reason=reason))
    manifest = cancel_unstarted(home.store, run_id, by, now, home.keys.signer)
    if manifest is not None:
        return CancelOutcome(run_id, manifest.status.state)
    note = None
    if not Daemon(home.services, "worker").is_alive():
        note = "no worker runs on this host: it is stopped when `fetchml up` has started one"
    return CancelOutcome(run_id, home.store.read_manifest(run_id).status.state, note)


def _await_end(home: Home, outcome: CancelOutcome) -> CancelOutcome:
    while True:
        state = home.store.read_manifest(outcome.run_id).status.state
        if state.is_final:
            return CancelOutcome(outcome.run_id, state)
        time.sleep(_POLL_S)
