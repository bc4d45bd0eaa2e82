"""The process of one flow run: forked by the worker's nursery, it becomes the driver of an attempt.

Prefect is the window, not the ledger: if its API fails the run goes on without it, to the same sealed manifest.
"""

import logging
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, cast

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.events.worker import EventsWorker
from prefect.exceptions import TerminationSignal
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogWorker
from prefect.settings import get_current_settings

from fetchml.blocks.connect import engine_maker
from fetchml.config.layers import load
from fetchml.daemons.log_lines import OneLine
from fetchml.errors import Conflict, FetchmlError
from fetchml.execution.attempt import Attempt
from fetchml.execution.cancel import BY_PREFECT
from fetchml.execution.driver import Driver
from fetchml.execution.ownership import owning
from fetchml.execution.stall import note_stall
from fetchml.flows.run_experiment import final_state, run_experiment
from fetchml.gpus.discover import discover
from fetchml.home import Home
from fetchml.models.claim import CancelRequest, ClaimKind
from fetchml.prefect_api.client import PrefectClient

_DRAIN_S = 5
_logger = logging.getLogger("fetchml.flow")
_logger.addFilter(OneLine())

# What Prefect and others import on first use: 100 ms in each child, unless the process they are forked from has it.
for _name in (
    "prefect.utilities.visualization",
    "prefect.task_engine",
    "prefect._internal.states",
    "prefect.concurrency._asyncio",
    "prefect.concurrency._events",
    "prefect.concurrency._sync",
    "prefect.concurrency.services",
    "anyio._backends._asyncio",
    "anyio.streams.memory",
    "anyio.streams.stapled",
    "anyio.streams.tls",
    "fetchml.gpus.board",
    "netrc",
    "encodings.ascii",
    "encodings.utf_16_be",
):
    with suppress(ImportError):  # inner modules of another version
        import_module(_name)


def main(job: dict[str, object]) -> int:
    """Drives one attempt to its end.

    Args:
        job: `run_id`, `attempt`, and `flow_run_id` or None for a run that Prefect does not know (any more).

    Returns:
        0 once the attempt is over or another process drives it, 1 if it has to be tried again.
    """
    run_id, attempt = cast("str", job["run_id"]), cast("int", job["attempt"])
    flow_run_id = cast("str | None", job.get("flow_run_id"))
    home = Home(load(with_project=False).settings)
    with owning(home.store.folder(run_id).attempt(attempt)) as is_owner:
        if not is_owner:
            return 0
        if flow_run_id is not None:
            try:
                _run_flow(home, run_id, flow_run_id)
            except (TerminationSignal, KeyboardInterrupt):
                return 1  # this process was told to end; the next one adopts what runs
            except Exception as error:  # noqa: BLE001  # whatever Prefect raises, the run goes on without it
                _logger.warning("the flow run of %s broke off: %s", run_id, _line(error))
            finally:
                _drain()
        if home.store.read_manifest(run_id).is_over(attempt):
            return 0
        code = _without_prefect(home, run_id, attempt)
        if code == 0 and flow_run_id is not None:
            _close_flow_run(home, run_id, attempt, flow_run_id)
        return code


def _run_flow(home: Home, run_id: str, flow_run_id: str) -> None:
    with PrefectClient(str(get_current_settings().api.url)) as client:
        flow_run = FlowRun.model_validate(client.get(f"/flow_runs/{flow_run_id}"))
    state = flow_run.state
    if state is not None and (state.is_cancelled() or state.is_cancelling()):
        with suppress(Conflict):
            home.store.request_cancel(run_id, CancelRequest(by=BY_PREFECT, at=datetime.now(UTC)))
    if state is not None and state.is_final():
        return
    # For a flow run of a deployment Prefect would first open a websocket, to be told of suspensions.
    flow_run = flow_run.model_copy(update={"deployment_id": None})
    run_flow(run_experiment, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")


def _drain() -> None:
    """Lets Prefect send what it has queued; a forked process ends without its exit handlers."""
    for service in (APILogWorker, EventsWorker):
        with suppress(Exception):
            service.drain_all(timeout=_DRAIN_S)


def _without_prefect(home: Home, run_id: str, attempt: int) -> int:
    """Carries on where the flow broke off; the reconciler closes the flow run later."""
    claim = home.store.read_claim(run_id, attempt)
    if claim is None or claim.kind is not ClaimKind.RUN:
        return 0
    try:
        Attempt(
            Driver(home, discover(services=home.services, disk=home.path), engines=engine_maker(home.settings)), claim
        ).execute()
    except Exception as error:
        note_stall(home.store.folder(run_id).attempt(attempt), error)
        if isinstance(error, FetchmlError):
            _logger.error("run %s cannot go on now: %s", run_id, error)  # noqa: TRY400  # says what to do; no bug
        else:
            _logger.exception("run %s cannot go on now", run_id)
        return 1
    return 0


def _close_flow_run(home: Home, run_id: str, attempt: int, flow_run_id: str) -> None:
    """Tells Prefect how the attempt ended, best effort: the reconciler does it otherwise."""
    try:
        with get_client(sync_client=True) as client:
            state = final_state(home.store.read_manifest(run_id), attempt)
            client.set_flow_run_state(cast("Any", flow_run_id), state, force=True)
    except Exception as error:  # noqa: BLE001  # best effort
        _logger.warning("Prefect does not learn the end of %s now: %s", run_id, _line(error))


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
