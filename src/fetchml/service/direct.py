"""Runs an accepted run at once, in this process, without Prefect: the execution mode `direct`."""

from contextlib import suppress
from datetime import UTC, datetime

from fetchml.archive.copier import copies_runs, start_copying
from fetchml.config.settings import Settings
from fetchml.errors import Conflict, FetchmlError
from fetchml.execution.attempt import Attempt
from fetchml.execution.cancel import FIRST_ATTEMPT
from fetchml.execution.claims import run_claim
from fetchml.execution.driver import Driver
from fetchml.execution.output import Listener
from fetchml.execution.ownership import owning
from fetchml.execution.stall import note_stall
from fetchml.gpus.discover import discover
from fetchml.home import Home
from fetchml.models.claim import CancelRequest
from fetchml.models.host import user_name
from fetchml.models.manifest import RunManifest
from fetchml.service.engines import engine_maker


def run_now(settings: Settings, run_id: str, listener: Listener) -> RunManifest:
    """Carries out a queued run and returns its sealed manifest; the record is the same as that of any other run.

    Args:
        settings: The settings of this call.
        run_id: A run that is queued.
        listener: Gets the lines of its output as they arrive.

    Raises:
        Conflict: A worker has taken the run.
        FetchmlError: The engine or the disk does not answer any more, and the payload may have been started.
    """
    home = Home(settings)
    plan = home.store.read_plan(run_id)
    discovery = discover()
    device_ids = tuple(device.id for device in discovery.capacity.devices[: int(plan.resources.gpus)])
    claim = run_claim(plan, run_id, FIRST_ATTEMPT, worker="direct", now=datetime.now(UTC), device_ids=device_ids)
    if not home.store.claim(claim):
        raise Conflict(f"run `{run_id}` was taken by a worker", code="claimed")
    driver = Driver(home, discovery, listener, engines=engine_maker(settings))
    with owning(home.store.folder(run_id).attempt(FIRST_ATTEMPT)):
        try:
            manifest = Attempt(driver, claim).execute()
        except KeyboardInterrupt:
            # Nobody else would ever end it.
            by = user_name()
            home.store.request_cancel(run_id, CancelRequest(by=by, at=driver.now(), reason="interrupted"))
            state = Attempt(driver, claim).execute().status.state
            raise KeyboardInterrupt(f"interrupted; the run is {state}") from None
        except FetchmlError as error:
            # No worker tries again: what was not started ends here, and what was is told of.
            attempt = Attempt(driver, claim)
            given_up = attempt.give_up(error)
            if given_up is None:
                note_stall(attempt.folder, error)
                raise type(error)(
                    error.summary,
                    detail=error.detail,
                    hint=f"run `{run_id}` may be running; `fetchml up` starts a worker that goes on with it",
                    code=error.code,
                ) from error
            manifest = given_up
    _copy(home)
    return manifest


def _copy(home: Home) -> None:
    """Has the record copied to the bucket, if that is wanted; best effort, and nobody waits for it."""
    if copies_runs(home):
        with suppress(FetchmlError, OSError):
            start_copying(home)
