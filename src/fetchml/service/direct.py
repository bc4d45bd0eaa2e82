"""Runs an accepted run at once, in this process, without Prefect: the execution mode `direct`."""

import time
from contextlib import suppress
from dataclasses import replace

from fetchml.admission.decide import Admit, Wait, decide
from fetchml.admission.lab import HostState
from fetchml.admission.policy import Policy
from fetchml.archive.copier import copies_runs, start_copying
from fetchml.config.settings import Settings
from fetchml.errors import Conflict, FetchmlError
from fetchml.execution.attempt import Attempt
from fetchml.execution.cancel import cancel_unstarted
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
from fetchml.models.resources import DeviceShare
from fetchml.models.status import Queued
from fetchml.queueing.look import Queue, pending_of
from fetchml.service.engines import engine_maker

_POLL_S = 0.5


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
    driver = Driver(home, discover(disk=home.path), listener, engines=engine_maker(settings))
    manifest = home.store.read_manifest(run_id)
    try:
        while manifest.seal is None:
            manifest = _attempt(driver, manifest)
    except KeyboardInterrupt:
        # Nobody else would ever end it.
        raise KeyboardInterrupt(f"interrupted; the run is {_cancel(driver, run_id).status.state}") from None
    _copy(home)
    return manifest


def _devices(driver: Driver, manifest: RunManifest) -> tuple[DeviceShare, ...]:
    """Returns devices of this host for a run, as soon as nobody else holds them."""
    run = pending_of(manifest)
    if not run.request.gpus:
        return ()
    queue = Queue(driver.home)
    while True:
        lab = queue.look().lab
        here = next((host for host in lab.hosts if host.name == driver.discovery.capacity.host), None)
        alone = replace(lab, hosts=(here or HostState(driver.discovery.capacity),))
        match decide([run], alone, Policy(), driver.now()):
            case [Admit(parts=(part, *_))]:
                return part.shares
            case [Wait()]:
                time.sleep(_POLL_S)
            case _:
                return ()  # its own preflight refuses it


def _attempt(driver: Driver, manifest: RunManifest) -> RunManifest:
    """Carries out the attempt a run waits for, once it is due."""
    store, run_id, status = driver.home.store, manifest.identity.run_id, manifest.status
    if isinstance(status, Queued) and status.not_before is not None:
        time.sleep(max(0.0, (status.not_before - driver.now()).total_seconds()))
    plan = store.read_plan(run_id)
    shares = _devices(driver, manifest)
    claim = run_claim(plan, run_id, manifest.attempt, worker="direct", now=driver.now(), shares=shares)
    if not store.claim(claim):
        raise Conflict(f"run `{run_id}` was taken by a worker", code="claimed")
    with owning(store.folder(run_id).attempt(manifest.attempt)):
        try:
            return Attempt(driver, claim).execute()
        except FetchmlError as error:
            # No worker tries again: what was not started ends here, and what was is told of.
            attempt = Attempt(driver, claim)
            given_up = attempt.give_up(error)
            if given_up is not None:
                return given_up
            note_stall(attempt.folder, error)
            raise type(error)(
                error.summary,
                detail=error.detail,
                hint=f"run `{run_id}` may be running; `fetchml up` starts a worker that goes on with it",
                code=error.code,
            ) from error


def _cancel(driver: Driver, run_id: str) -> RunManifest:
    """Ends a run whose user has interrupted it."""
    store, by = driver.home.store, user_name()
    store.request_cancel(run_id, CancelRequest(by=by, at=driver.now(), reason="interrupted"))
    ended = cancel_unstarted(store, run_id, by, driver.now, driver.home.keys.signer)
    if ended is not None:
        return ended
    claim = store.read_claim(run_id, store.read_manifest(run_id).attempt)
    assert claim is not None  # whoever could not cancel it has claimed it  # noqa: S101
    with owning(store.folder(run_id).attempt(claim.attempt)):
        return Attempt(driver, claim).execute()


def _copy(home: Home) -> None:
    """Has the record copied to the bucket, if that is wanted; best effort, and nobody waits for it."""
    if copies_runs(home):
        with suppress(FetchmlError, OSError):
            start_copying(home)
