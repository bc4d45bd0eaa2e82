"""`fetchml info`."""

from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.facts_text import facts_of, used_of
from fetchml.cli.options import Json, Quiet, command_app, complete_run, configuration
from fetchml.cli.progress import state_word

if TYPE_CHECKING:
    from fetchml.config.settings import Settings
    from fetchml.models.dataset_record import DatasetRecord
    from fetchml.models.manifest import RunManifest
    from fetchml.service.info import Info

app = command_app()

_SHOWN = 12


@app.command()
def info(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|PATH",
            help="Id, prefix, name, `@`, or the path of a run folder.",
            autocompletion=complete_run,
        ),
    ],
    show_metrics: Annotated[bool, typer.Option("--show-metrics", help="Show every metric value.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show the machine, the systems, the settings and every package, too."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the record of a run."""
    show_run(configuration().settings, run, json=json, show_metrics=show_metrics, verbose=verbose)


def show_run(settings: "Settings", run: str, *, json: bool, show_metrics: bool, verbose: bool = False) -> None:
    """Prints a run's record."""
    from fetchml.service.info import info as read

    session.print_line(text_of(read(settings, run), json=json, show_metrics=show_metrics, verbose=verbose))


def text_of(found: "Info", *, json: bool, show_metrics: bool, verbose: bool = False) -> str:
    """Returns a run's record as it is shown."""
    if json:
        value = found.manifest.model_dump(mode="json")
        if show_metrics:
            value["metric_values"] = [
                {"name": item.name, "value": item.json_value, "step": item.step, "time": item.time}
                for item in found.metrics()
            ]
        return session.json_text(
            {**value, "folder": str(found.folder.path), "stall": found.stall, "copy": _copy_json(found)}
        )
    paragraphs = [
        "\n".join(f"{session.style(f'{label:<14}', 'dim')} {value.rstrip()}" for label, value in section if value)
        for section in _sections(found)
    ]
    if verbose:
        paragraphs += facts_of(found.manifest)
    if show_metrics:
        rows = [
            (session.safe(item.name), f"{item.value:g}", "-" if item.step is None else str(item.step))
            for item in found.metrics()
        ]
        paragraphs.append(session.table(("METRIC", "VALUE", "STEP"), rows) if rows else "no metrics were logged")
    return "\n\n".join(filter(None, paragraphs))


def _sections(found: "Info") -> list[list[tuple[str, str]]]:
    manifest = found.manifest
    return [
        [*_head(manifest), ("cannot go on", session.safe(found.stall or ""))],
        _result(manifest),
        _what(manifest),
        _where(manifest),
        _numbers(manifest),
        [
            ("folder", session.safe(str(found.folder.path))),
            ("manifest", session.safe(str(found.folder.manifest))),
            ("seal", _seal(manifest)),
            ("copy", _copy(found)),
        ],
    ]


def _seal(manifest: "RunManifest") -> str:
    if manifest.seal is None:
        return ""
    key = manifest.seal.key_id
    return f"{manifest.seal.digest[:16]}, {f'signed with key {session.safe(key)}' if key else 'not signed'}"


def _copy(found: "Info") -> str:
    copy = found.copy
    if copy is None:
        return ""
    if copy.state == "copied":
        return session.safe(f"in {copy.place} since {copy.copied_at:%Y-%m-%d %H:%M:%S} UTC")
    what = "without the latest edits in" if copy.state == "outdated" else "waits to be copied to"
    return session.safe(f"{what} {copy.place}" + (f"; {copy.fault.reason}" if copy.fault else ""))


def _copy_json(found: "Info") -> dict[str, object] | None:
    copy = found.copy
    if copy is None:
        return None
    return {
        "state": copy.state,
        "place": copy.place,
        "copied_at": copy.copied_at.isoformat() if copy.copied_at else None,
        "fault": copy.fault.model_dump(mode="json", exclude={"schema_version", "place"}) if copy.fault else None,
    }


def _head(manifest: "RunManifest") -> list[tuple[str, str]]:
    identity = manifest.identity
    return [
        ("run", f"{session.style(identity.run_id, 'bold')}  {session.safe(identity.name)}"),
        ("state", state_word(manifest.status.state)),
        ("command", session.safe(" ".join(manifest.command.argv))),
        ("user", f"{session.safe(identity.user)}, priority {identity.priority}"),
        ("group", session.safe(identity.group or "")),
        ("tags", session.safe(", ".join(identity.tags))),
        ("note", session.safe(manifest.metadata.note or "")),
    ]


def _result(manifest: "RunManifest") -> list[tuple[str, str]]:
    from fetchml.models.units import format_duration

    times, diagnosis = manifest.times, manifest.diagnosis
    rows = [("queued", f"{times.queued_at:%Y-%m-%d %H:%M:%S} UTC")]
    if manifest.placement is not None:
        rows.append(("waited", format_duration(manifest.placement.waited_s)))
    if times.started_at is not None and times.ended_at is not None:
        rows.append(("ran", format_duration((times.ended_at - times.started_at).total_seconds())))
    if diagnosis is not None:
        code = "" if manifest.exit_code is None else f" (exit code {manifest.exit_code})"
        rows.append(("result", f"{diagnosis.category}: {session.safe(diagnosis.summary)}{code}"))
        if diagnosis.detail and diagnosis.category != "ok":
            indent = "\n" + " " * 15
            rows.append(("", session.safe(diagnosis.detail, keep_newlines=True).replace("\n", indent)))
        rows.append(("next", session.safe(diagnosis.resolution or "")))
    rows += [("warning", session.safe(text)) for text in manifest.warnings]
    return rows


def _what(manifest: "RunManifest") -> list[tuple[str, str]]:
    environment, git, data = manifest.environment, manifest.environment.git, manifest.datasets
    commit = f"git {git.commit[:12]} on {git.branch or 'no branch'}" if git and git.commit else ""
    if git and git.dirty:
        commit += ", with changes that were not committed"
    how = environment.dependencies_name or "used as it is"
    image = f"{environment.image} ({(environment.image_digest or '')[:19]})" if environment.image else ""
    return [
        ("plan", f"{manifest.plan.plan_sha256}  trust {manifest.plan.trust_level}"),
        ("code", f"{manifest.identity.commit_id[:16]}  {session.safe(commit)}"),
        (
            "environment",
            session.safe(f"Python {environment.python or '?'}, {len(environment.packages)} packages, {how}"),
        ),
        ("image", session.safe(image)),
        *(("dataset", session.safe(_dataset(item))) for item in data),
    ]


def _dataset(item: "DatasetRecord") -> str:
    after = f"  {item.after.outcome} after the run" if item.after is not None else ""
    return f"{item.name}@{item.version}  {item.checksum[:23]}  {item.uri}{after}"


def _where(manifest: "RunManifest") -> list[tuple[str, str]]:
    from fetchml.models.units import format_size, plural

    rows: list[tuple[str, str]] = []
    if manifest.sandbox is not None:
        sandbox = manifest.sandbox
        fences = [
            word
            for word, holds in (
                ("read-only code", sandbox.read_only_code),
                ("no capabilities", sandbox.capabilities_dropped),
                ("no new privileges", sandbox.no_new_privileges),
                ("memory limit", sandbox.memory_limited),
                ("CPU limit", sandbox.cpu_limited),
            )
            if holds
        ]
        why = f", as {session.safe(manifest.metadata.engine_reason)}" if manifest.metadata.engine_reason else ""
        rows.append(("engine", f"{sandbox.engine} {session.safe(sandbox.engine_version or '')}{why}"))
        rows.append(("isolation", ", ".join(fences) or "none"))
    if manifest.placement is not None:
        devices = ", ".join(manifest.placement.device_ids) or "no GPU"
        rows.append(("host", session.safe(f"{manifest.placement.host}, {devices}")))
    asked, used = manifest.resources.requested, manifest.resources.actual
    rows.append(
        (
            "asked for",
            f"{plural(asked.cpus, 'CPU')}, {format_size(asked.memory_bytes)} memory, {plural(asked.gpus, 'GPU')}",
        )
    )
    if used is not None and (used.cpu_s is not None or used.memory_peak_bytes is not None):
        cpu = f"{used.cpu_s:.1f} s of CPU" if used.cpu_s is not None else "CPU unknown"
        peak = f"{format_size(used.memory_peak_bytes)} memory at most" if used.memory_peak_bytes else "memory unknown"
        rows.append(("used", f"{cpu}, {peak}"))
    rows += used_of(used) if used is not None else []
    if manifest.prefect is not None:
        base = manifest.prefect.api_url.removesuffix("/api")
        rows.append(("prefect", session.safe(f"{base}/runs/flow-run/{manifest.prefect.flow_run_id}")))
    return rows


def _numbers(manifest: "RunManifest") -> list[tuple[str, str]]:
    from fetchml.models.units import format_size

    rows: list[tuple[str, str]] = []
    for name, item in list(manifest.metrics.items())[:_SHOWN]:
        rows.append(("metric", f"{session.safe(name)} = {item}"))
    if len(manifest.metrics) > _SHOWN:
        rows.append(("", f"... and {len(manifest.metrics) - _SHOWN} more; `--json` shows all"))
    if manifest.artifacts is not None:
        rows += [
            ("result file", f"results/{session.safe(item.path)}  {format_size(item.size_bytes)}")
            for item in manifest.artifacts.files[:_SHOWN]
        ]
        if len(manifest.artifacts.files) > _SHOWN:
            rows.append(("", f"... and {len(manifest.artifacts.files) - _SHOWN} more"))
    return rows
