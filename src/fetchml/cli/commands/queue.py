"""`fetchml queue`."""

from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import AllowSecret, Json, PrefectApiUrl, Quiet, command_app
from fetchml.cli.request import (
    EPILOG,
    Arch,
    CommandWords,
    Cpus,
    Data,
    Disk,
    Engine,
    Env,
    GpuMemory,
    GpuModel,
    Gpus,
    GpuVendor,
    Group,
    Host,
    Image,
    MaxRetries,
    MaxRuntime,
    Memory,
    Name,
    Note,
    PassThrough,
    Priority,
    ReproPolicy,
    Sign,
    Tag,
    requested,
)

if TYPE_CHECKING:
    from fetchml.config.layers import Configuration
    from fetchml.models.manifest import RunManifest
    from fetchml.service.queue import Accepted

app = command_app()


@app.command(
    cls=PassThrough,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    epilog=EPILOG,
)
def queue(
    ctx: typer.Context,
    words: CommandWords,
    name: Name = None,
    priority: Priority = None,
    gpus: Gpus = None,
    gpu_memory: GpuMemory = None,
    gpu_vendor: GpuVendor = None,
    gpu_model: GpuModel = None,
    cpus: Cpus = None,
    memory: Memory = None,
    disk: Disk = None,
    arch: Arch = None,
    host: Host = None,
    max_runtime: MaxRuntime = None,
    max_retries: MaxRetries = None,
    engine: Engine = None,
    image: Image = None,
    repro_policy: ReproPolicy = None,
    env: Env = None,
    data: Data = None,
    allow_secret: AllowSecret = None,
    note: Note = None,
    tag: Tag = None,
    group: Group = None,
    sign: Sign = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; exit 1 if it failed.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show its output as it arrives, then like --wait.")] = False,
    prefect_api_url: PrefectApiUrl = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Resolve and check everything, queue nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Queue a script or a command as a run.

    The code is captured now: what you edit later does not reach the run.
    """
    asked = requested(ctx, locals())
    from fetchml.service.queue import queue as accept

    accepted = accept(asked.request, asked.configuration, dry_run=dry_run)
    if dry_run:
        _show_plan(accepted, json=json)
        return 0
    return _carry_on(accepted, asked.configuration, wait=wait, follow=follow, json=json, quiet=quiet)


def _carry_on(
    accepted: "Accepted", loaded: "Configuration", *, wait: bool, follow: bool, json: bool, quiet: bool
) -> int:
    """Reports an accepted run, hands it over, and stays with it if asked to."""
    settings, run_id = loaded.settings, accepted.run_id
    assert run_id is not None  # noqa: S101  # only a dry run has none
    stays = wait or follow
    is_direct = settings.execution_mode == "direct"
    if stays:
        session.note(f"queued {run_id}; Ctrl-C {'cancels it' if is_direct else 'leaves it running'}")
    else:
        _report(accepted, json=json, quiet=quiet)
    for text in accepted.notes:
        session.note(text)
    if is_direct:
        from fetchml.cli.progress import drift
        from fetchml.service.direct import run_now

        def show(lines: list[str]) -> None:
            for line in lines if follow else ():
                session.print_line(session.safe(line))

        manifest = run_now(settings, run_id, show)
        if drifted := drift(manifest):
            session.note(drifted)
        return _finished(accepted, manifest, json=json and stays, quiet=quiet and stays)
    from fetchml.service.dispatch import dispatch

    message = dispatch(settings, run_id, accepted.plan)
    if message:
        session.note(message)
    if not stays:
        return 0
    return _stay(accepted, loaded, follow=follow, json=json, quiet=quiet)


def _stay(accepted: "Accepted", loaded: "Configuration", *, follow: bool, json: bool, quiet: bool) -> int:
    from fetchml.cli.progress import wait_with_progress
    from fetchml.service.up import await_worker

    settings, run_id = loaded.settings, accepted.run_id
    assert run_id is not None  # noqa: S101  # only a dry run has none
    if settings.prefect_api_url is None:
        await_worker(settings)
    if follow:
        from fetchml.cli.commands.logs import show
        from fetchml.service.logs import logs

        show(logs(settings, run_id, follow=True, tail=None))
    (manifest,) = wait_with_progress(settings, [run_id])
    return _finished(accepted, manifest, json=json, quiet=quiet)


def _finished(accepted: "Accepted", manifest: "RunManifest", *, json: bool, quiet: bool) -> int:
    """Reports a run that has ended, and returns the exit code that tells how."""
    from fetchml.cli.progress import exit_code

    if json:
        session.print_json({**_as_json(accepted), "manifest": manifest.model_dump(mode="json")})
    elif quiet:
        session.print_line(accepted.run_id or "")
    return exit_code([manifest])


def _report(accepted: "Accepted", *, json: bool, quiet: bool) -> None:
    if json:
        session.print_json(_as_json(accepted))
    elif quiet:
        session.print_line(accepted.run_id or "")
    else:
        session.print_line(
            f"queued {session.style(accepted.run_id or '', 'bold')}  {session.safe(accepted.name)}"
            f"  priority {accepted.priority}  plan {accepted.plan_sha256[:12]}  on {accepted.plan.engine}"
        )
        from fetchml.engine.choose import ASKED_FOR

        if accepted.engine_reason != ASKED_FOR:
            session.note(f"{accepted.plan.engine} was chosen: {accepted.engine_reason}")


def _show_plan(accepted: "Accepted", *, json: bool) -> None:
    if json:
        session.print_json({**_as_json(accepted), "plan": accepted.plan.model_dump(mode="json")})
        return
    from fetchml.cli.plan_text import show_plan

    show_plan(accepted.plan, accepted.engine_reason, accepted.priority)
    for text in accepted.notes:
        session.note(text)
    session.note("nothing was queued (--dry-run)")


def _as_json(accepted: "Accepted") -> dict[str, object]:
    return {
        "schema_version": 1,
        "run_id": accepted.run_id,
        "name": accepted.name,
        "priority": accepted.priority,
        "plan_sha256": accepted.plan_sha256,
        "snapshot_id": accepted.plan.snapshot_id,
        "engine": accepted.plan.engine.value,
        "engine_reason": accepted.engine_reason,
        "folder": str(accepted.folder) if accepted.folder else None,
        "notes": list(accepted.notes),
        "dry_run": accepted.run_id is None,
    }
