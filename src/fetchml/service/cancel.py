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
from fetchml.models.host import user_name
from fetchml.models.status import State
from fetchml.service.select import select
from fetchml.store.index import RunIndex

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
    rows = RunIndex(settings.store).rows()
    chosen = list(dict.fromkeys(select(rows, target) for target in targets))
    for row in chosen:
        if row.state == "damaged":
            home.store.read_manifest(row.run_id)  # says what is wrong with it
        if row.is_final:
            raise Conflict(f"run `{row.run_id}` has ended: it is `{row.state}`", code="already-ended")
        if row.user != user_name():
            raise Forbidden(
                f"run `{row.run_id}` belongs to `{row.user}`", hint="ask them to cancel it", code="not-your-run"
            )
    outcomes = [_with_reserve(home, partial(_cancel, home, row.run_id, reason)) for row in chosen]
    wake(home.wake_pipe, REPAIR)
    if not wait:
        return outcomes
    return [_await_end(home, outcome) for outcome in outcomes]


def _with_reserve(home: Home, call: Callable[[], CancelOutcome]) -> CancelOutcome:
    """Calls, on a full disk once more with the space that is kept back: stopping a run must be possible there."""
    try:
        return call()
    except FetchmlError as error:
        if error.code != STORAGE_FULL:
            raise
    home.release_reserve()
    return call()


def _cancel(home: Home, run_id: str, reason: str | None) -> CancelOutcome:
    by = user_name()

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
