"""`fetchml queue`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from fetchml.cli import session
from fetchml.cli.options import Json, PrefectApiUrl, Quiet, command_app, configuration
from fetchml.errors import ConfigError

if TYPE_CHECKING:
    from fetchml.config.layers import Configuration
    from fetchml.models.manifest import RunManifest
    from fetchml.service.queue import Accepted

app = command_app()

_SEPARATOR = "fetchml.separator"


class PassThrough(TyperCommand):
    """A command that leaves everything from its first argument on alone, and remembers whether `--` came before it."""

    allow_interspersed_args = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_SEPARATOR] = _separator_first(self, ctx, args)
        return super().parse_args(ctx, args)


@app.command(
    cls=PassThrough,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    epilog="Everything after SCRIPT goes to the script. To run any other command, put it after `--`.",
)
def queue(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="SCRIPT [ARGS]... | -- COMMAND [ARGS]...", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="Name of the run.  [default: the script's]")] = None,
    priority: Annotated[str | None, typer.Option("--priority", metavar="0-10", help="Higher goes first.")] = None,
    gpus: Annotated[str | None, typer.Option("--gpus", metavar="N", help="GPUs.")] = None,
    gpu_memory: Annotated[
        str | None, typer.Option("--gpu-memory", metavar="SIZE", help="GPU memory needed on each device.")
    ] = None,
    cpus: Annotated[str | None, typer.Option("--cpus", metavar="N", help="CPU cores.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Memory limit, such as 8G.")] = None,
    max_runtime: Annotated[
        str | None, typer.Option("--max-runtime", metavar="TIME", help="Stop it after this time, such as 90m.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="auto, docker, podman or process.")
    ] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Base image.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Variable of the run; repeatable.")
    ] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why you queue it.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag; repeatable.")] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="NAME", help="Group the run belongs to.")] = None,
    sign: Annotated[bool | None, typer.Option("--sign/--no-sign", help="Sign the record at its end.")] = None,
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
    from fetchml.service.queue import QueueRequest
    from fetchml.service.queue import queue as accept
    from fetchml.service.resolve import Words

    _refuse_repeated(ctx)
    loaded = configuration(
        _flags(
            {
                "priority": priority,
                "resources.gpus": gpus,
                "resources.gpu_memory": gpu_memory,
                "resources.cpus": cpus,
                "resources.memory": memory,
                "resources.max_runtime": max_runtime,
                "engine": engine,
                "image": image,
                "prefect.api_url": prefect_api_url,
                "seal.sign": None if sign is None else str(sign).lower(),
            },
            env or [],
        )
    )
    is_command = bool(ctx.meta.get(_SEPARATOR))
    typed = Words(None, tuple(words)) if is_command else Words(words[0], tuple(words[1:]))
    request = QueueRequest(typed, name=name, note=note, tags=tuple(tag or ()), group=group, cwd=Path.cwd())
    accepted = accept(request, loaded, dry_run=dry_run)
    if dry_run:
        _show_plan(accepted, json=json)
        return 0
    return _carry_on(accepted, loaded, wait=wait, follow=follow, json=json, quiet=quiet)


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
        from fetchml.service.direct import run_now

        def show(lines: list[str]) -> None:
            for line in lines if follow else ():
                session.print_line(session.safe(line))

        manifest = run_now(settings, run_id, show)
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
    plan = accepted.plan
    if json:
        session.print_json({**_as_json(accepted), "plan": plan.model_dump(mode="json")})
        return
    from fetchml.models.units import format_duration, format_size, plural

    request = plan.resources
    dependencies = plan.environment.dependencies
    rows = [
        ("command", " ".join(plan.command.argv)),
        ("workdir", plan.command.workdir or "."),
        ("commit id", plan.snapshot_id),
        (
            "dependencies",
            f"{dependencies.name} ({dependencies.sha256[:12]})" if dependencies else "none: used as it is",
        ),
        ("python", plan.environment.python or "of the image"),
        ("engine", f"{plan.engine} ({accepted.engine_reason})"),
        ("image", f"{plan.image.reference} ({plan.image.digest[:19]})" if plan.image else "none"),
        ("network", plan.network.value),
        (
            "resources",
            f"{plural(request.cpus, 'CPU')}, {format_size(request.memory_bytes)} memory, {plural(request.gpus, 'GPU')}",
        ),
        ("max runtime", format_duration(request.max_runtime_s) if request.max_runtime_s else "none"),
        ("env", ", ".join(f"{k}={v}" for k, v in plan.env.items()) or "none"),
        ("priority", str(accepted.priority)),
        ("plan_sha256", accepted.plan_sha256),
    ]
    for label, value in rows:
        session.print_line(f"{label:<13} {session.safe(value)}")
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


def _flags(texts: dict[str, str | None], variables: Sequence[str]) -> dict[str, object]:
    """Reads the flags by the rules of their settings; all that are wrong are named at once."""
    from fetchml.config.kinds import check_variable_name
    from fetchml.config.settings import by_key

    flags: dict[str, object] = {}
    faults: list[ConfigError] = []
    for key, text in texts.items():
        if text is None:
            continue
        try:
            flags[key] = by_key()[key].metadata["kind"].from_text(text)
        except ConfigError as error:
            option = "--" + key.rpartition(".")[2].replace("_", "-")
            faults.append(ConfigError(f"{option}: {error.summary}", detail=error.detail, hint=error.hint))
    env: dict[str, str] = {}
    for pair in variables:
        name, equals, value = pair.partition("=")
        try:
            if not equals:
                raise ConfigError(f"`{pair[:60]}` has no value", hint="write `--env NAME=value`")
            if check_variable_name(name) in env and env[name] != value:
                raise ConfigError(f"`{name}` is given twice, with different values")
            env[name] = value
        except ConfigError as error:
            faults.append(ConfigError(f"--env: {error.summary}", detail=error.detail, hint=error.hint))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ConfigError(f"{len(faults)} options are wrong", detail="\n".join(f"- {fault}" for fault in faults))
    if env:
        flags["env"] = env
    return flags


def _refuse_repeated(ctx: typer.Context) -> None:
    """An option given twice with different values is a mistake that must not pick one of them."""
    repeated: dict[str, Any] = ctx.meta.get("fetchml.repeated", {})
    if repeated:
        raise ConfigError(
            "an option is given twice, with different values",
            detail=", ".join(f"`{option}`" for option in repeated),
            hint="keep one of them",
        )


def _separator_first(command: TyperCommand, ctx: Any, args: Sequence[str]) -> bool:
    """Tells whether `--` stands before the first argument, and notes options that contradict each other."""
    takes_value: dict[str, bool] = {}
    multiple: set[str] = set()
    for parameter in command.get_params(ctx):
        if isinstance(parameter, TyperOption):
            for option in (*parameter.opts, *parameter.secondary_opts):
                takes_value[option] = not parameter.is_flag
                if parameter.multiple:
                    multiple.add(option)
    seen: dict[str, str] = {}
    words = iter(args)
    for word in words:
        if word == "--":
            return True
        if not word.startswith("-") or word == "-":
            return False
        option, equals, value = word.partition("=")
        if takes_value.get(option) and not equals:
            value = next(words, "")
        if takes_value.get(option) and option not in multiple:
            if seen.get(option, value) != value:
                ctx.meta.setdefault("fetchml.repeated", {})[option] = value
            seen[option] = value
    return False
