"""The flow `run-experiment`: one attempt of a run as Prefect sees it.

Four tasks, `preflight → prewarm → container-run → manifest-finalize`, each a thin face of a step in
`fetchml.execution`. Nothing is retried by Prefect: a retry is a new attempt, and that is fetchml's decision.
"""

from dataclasses import dataclass
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Failed

from fetchml.blocks.connect import engine_maker
from fetchml.config.layers import load
from fetchml.daemons.wake import wake
from fetchml.errors import Bug, Conflict, Unavailable
from fetchml.execution.attempt import Attempt, Prepared
from fetchml.execution.driver import Driver
from fetchml.execution.ended import Ended
from fetchml.execution.ownership import owning
from fetchml.flows.report import markdown_report
from fetchml.flows.ui_log import UiLog
from fetchml.gpus.discover import discover
from fetchml.home import Home
from fetchml.models.claim import Claim, ClaimKind
from fetchml.models.manifest import PrefectTrace, RunManifest
from fetchml.models.status import EndReason
from fetchml.models.status import State as RunState


@dataclass
class Progress:
    """What the tasks of one flow run hand to each other."""

    home: Home
    attempt: Attempt
    prepared: Prepared | None = None
    ended: Ended | None = None
    manifest: RunManifest | None = None


# Every task changes the world, so none of them may be skipped because an earlier one looked alike.
_once: dict[str, Any] = {"retries": 0, "cache_policy": NO_CACHE, "persist_result": False}


@task(name="preflight", description="Checks plan, snapshot, image and resources before anything starts", **_once)
def preflight(progress: Progress) -> State[Any] | None:
    """Checks the run; a fault refuses it."""
    progress.ended = progress.attempt.preflight()
    if progress.ended is not None and progress.ended.facts.refused:
        return Failed(message="; ".join(progress.ended.facts.refused)[:500])
    return None


@task(name="prewarm", description="Lays out the code and makes the environment ready", **_once)
def prewarm(progress: Progress) -> State[Any] | None:
    """Makes the code and the environment ready."""
    prepared = progress.attempt.prepare()
    if isinstance(prepared, Ended):
        progress.ended = prepared
        return Failed(message=(prepared.facts.environment_error or "cancelled")[:500])
    progress.prepared = prepared
    if prepared is not None:
        environment = prepared.environment
        how = "reused" if environment.reused else f"ready after {environment.seconds:.1f} s"
        get_run_logger().info("Python %s, %d packages, %s", environment.python, len(environment.packages), how)
    return None


@task(name="container-run", description="Starts the payload, or adopts it, and stays until it has ended", **_once)
def container_run(progress: Progress) -> State[Any] | None:
    """Runs the payload."""
    progress.ended = progress.attempt.run(progress.prepared)
    code = progress.ended.facts.exit_code
    return None if code == 0 else Failed(message="it did not start" if code is None else f"exit code {code}")


@task(name="manifest-finalize", description="Seals the record and shows it here", **_once)
def manifest_finalize(progress: Progress, ended: Ended) -> None:
    """Seals the manifest and leaves a page about the run in the Prefect UI."""
    progress.manifest = progress.attempt.finalize(ended)
    for text in progress.manifest.warnings:
        get_run_logger().warning("%s", text)
    wake(progress.home.wake_pipe)  # what it held is free
    create_markdown_artifact(
        key=f"run-{progress.attempt.run_id.replace('_', '-')}",
        markdown=markdown_report(progress.manifest, progress.attempt.plan, progress.attempt.run_folder.path),
        description=f"fetchml run {progress.attempt.run_id}",
    )


@flow(
    name="run-experiment",
    description="One attempt of a fetchml run. `fetchml queue` creates its runs; the fetchml worker places them.",
    retries=0,
    log_prints=False,
    validate_parameters=False,
    persist_result=False,
)
def run_experiment(
    run_id: str,
    attempt: int = 1,
    plan: dict[str, Any] | None = None,  # noqa: ARG001  # for the UI
) -> State[Any]:
    """Carries out one attempt of a run.

    Args:
        run_id: The run, as `fetchml queue` named it.
        attempt: Number of the attempt.
        plan: The plan, shown in the UI; what counts is the one in the run store.
    """
    home = Home(load(with_project=False).settings)
    claim = _claim(home, run_id, attempt)
    with owning(home.store.folder(run_id).attempt(attempt)) as is_owner:
        if not is_owner:
            raise Conflict(f"another process drives attempt {attempt} of run `{run_id}`", code="owned")
        flow_run = _flow_run()
        trace = PrefectTrace(flow_run_id=str(flow_run.id), api_url=str(get_current_settings().api.url or "ephemeral"))
        with UiLog(flow_run) as ui_log:
            driver = Driver(
                home,
                discover(services=home.services, disk=home.path),
                listener=ui_log.show,
                engines=engine_maker(home.settings),
            )
            progress = Progress(home, Attempt(driver, claim, trace))
            _require(preflight(progress, return_state=True), progress)
            if progress.ended is None:
                _require(prewarm(progress, return_state=True), progress)
            if progress.ended is None:
                _require(container_run(progress, return_state=True), progress)
        if progress.ended is None:
            raise Unavailable(f"attempt {attempt} of run `{run_id}` broke off", code="attempt-broke-off")
        _require(manifest_finalize(progress, progress.ended, return_state=True), progress)
    return final_state(progress.attempt.manifest, attempt)


def final_state(manifest: RunManifest, attempt: int) -> State[Any]:
    """Returns the Prefect state that says how an attempt of a run ended."""
    for earlier in manifest.attempts:
        if earlier.attempt == attempt:
            return Failed(name="Retried", message=f"{earlier.end_reason}: {earlier.summary}; another attempt follows")
    summary = manifest.diagnosis.summary if manifest.diagnosis else str(manifest.status.state)
    match manifest.status.state:
        case RunState.COMPLETED:
            return Completed(message=summary)
        case RunState.CANCELLED:
            return Cancelled(message=summary)
        case RunState.REFUSED:
            return Failed(name="Refused", message=summary)
        case _:
            reason = manifest.end_reason or EndReason.INFRASTRUCTURE
            return Failed(message=f"{reason}: {summary}")


def _require(state: State[Any], progress: Progress) -> None:
    """Raises what broke a task, if it was not the run that failed."""
    if state.is_failed() and progress.ended is None:
        raise Unavailable(state.message or "a task failed", code="attempt-broke-off")
    if state.is_crashed():
        raise Unavailable(state.message or "a task crashed", code="attempt-broke-off")


def _claim(home: Home, run_id: str, attempt: int) -> Claim:
    claim = home.store.read_claim(run_id, attempt)
    if claim is None or claim.kind is not ClaimKind.RUN:
        raise Conflict(
            f"no worker has claimed attempt {attempt} of run `{run_id}`",
            hint="runs are started by the fetchml worker; queue with `fetchml queue`",
            code="not-claimed",
        )
    return claim


def _flow_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise Bug("the flow is called outside a flow run")
    return context.flow_run
