"""`fetchml status`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, complete_run, configuration
from fetchml.cli.progress import state_word

if TYPE_CHECKING:
    from fetchml.config.settings import Settings
    from fetchml.service.status import Listed, Overview

app = command_app()

_ORDER = (
    "running",
    "preparing",
    "finalizing",
    "unreachable",
    "queued",
    "completed",
    "failed",
    "cancelled",
    "refused",
    "damaged",
)
_REFRESH_S = 2.0


@app.command()
def status(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Show one run.", autocompletion=complete_run)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Runs to list.")] = 20,
    dead: Annotated[bool, typer.Option("--dead", help="List the runs that are out of retries.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every two seconds.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the queue and the latest runs."""
    settings = configuration().settings
    if run is not None:
        _show_run(settings, run, watch=watch, json=json)
        return
    if not watch:
        session.print_line(_text(settings, limit, dead=dead, json=json))
        return
    with session.screen_updates(_REFRESH_S) as screen:
        while True:
            screen.show(_text(settings, limit, dead=dead, json=json))


def _show_run(settings: "Settings", run: str, *, watch: bool, json: bool) -> None:
    """Shows one run, with `watch` until it has ended."""
    from fetchml.cli.commands.info import text_of
    from fetchml.service.info import info

    found = info(settings, run)
    if not watch:
        session.print_line(text_of(found, json=json, show_metrics=False))
        return
    folder = str(found.folder.path)  # a name or `@` may soon mean another run
    with session.screen_updates(_REFRESH_S) as screen:
        while found.manifest.seal is None:
            screen.show(text_of(found, json=json, show_metrics=False))
            found = info(settings, folder)
        screen.show(text_of(found, json=json, show_metrics=False), is_last=True)


def _text(settings: "Settings", limit: int, *, dead: bool, json: bool) -> str:
    from fetchml.service.status import status as overview

    found = overview(settings, limit, dead=dead)
    if json:
        return session.json_text(_as_json(found))
    counts = [f"{found.counts[state]} {state_word(state)}" for state in _ORDER if found.counts.get(state)]
    lines = [" · ".join(counts) if counts else "no runs yet; `fetchml queue SCRIPT` queues one"]
    if not found.worker_alive and any(found.counts.get(state) for state in ("queued", "running", "preparing")):
        lines[0] += "   " + session.style("no worker is running: `fetchml up`", "yellow")
    if found.runs:
        rows = [_row(item) for item in found.runs]
        lines += ["", session.table(("RUN", "NAME", "STATE", "PRIO", "QUEUED", "RAN", "ENGINE", "WHY"), rows)]
    if found.total > len(found.runs):
        lines.append(f"{len(found.runs)} of {found.total} runs; `--limit` shows more")
    return "\n".join(lines)


def _row(item: "Listed") -> tuple[str, ...]:
    row = item.row
    return (
        row.run_id,
        session.safe(row.name[:24]),
        state_word(row.state),
        str(row.priority),
        _ago(row.queued_at),
        _ran(row.started_at, row.ended_at),
        session.safe(row.engine or "-"),
        _why(item),
    )


def _why(item: "Listed") -> str:
    row = item.row
    if row.state == "queued":
        if item.position is None:
            return "waits for a worker"
        return f"#{item.position}: " + session.safe("; ".join(item.reasons))
    if item.stall is not None:
        return "cannot go on now: " + session.safe(item.stall)
    if row.data_changed:
        return f"{row.end_reason}, but data changed during the run"
    if row.end_reason in (None, "ok"):
        return f"attempt {row.attempt}" if row.attempt > 1 else ""
    why = row.end_reason if row.exit_code is None else f"{row.end_reason} (exit {row.exit_code})"
    return f"{why}, {row.attempt} attempts" if row.attempt > 1 else why


def _ago(moment: str) -> str:
    from fetchml.models.units import format_duration

    try:
        return format_duration((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()) + " ago"
    except (ValueError, TypeError):
        return "?"


def _ran(started: str | None, ended: str | None) -> str:
    from fetchml.models.units import format_duration

    if started is None:
        return "-"
    try:
        end = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
        return format_duration((end - datetime.fromisoformat(started)).total_seconds())
    except (ValueError, TypeError):
        return "?"


def _as_json(found: "Overview") -> dict[str, object]:
    from json import loads

    return {
        "schema_version": 1,
        "counts": found.counts,
        "total": found.total,
        "worker_alive": found.worker_alive,
        "runs": [
            {
                "run_id": item.row.run_id,
                "name": item.row.name,
                "state": item.row.state,
                "user": item.row.user,
                "priority": item.row.priority,
                "queued_at": item.row.queued_at,
                "started_at": item.row.started_at,
                "ended_at": item.row.ended_at,
                "end_reason": item.row.end_reason,
                "exit_code": item.row.exit_code,
                "engine": item.row.engine,
                "host": item.row.host,
                "group": item.row.group,
                "tags": loads(item.row.tags),
                "command": loads(item.row.command),
                "gpus": item.row.gpus,
                "position": item.position,
                "reasons": list(item.reasons),
                "stall": item.stall,
                "data_changed": item.row.data_changed,
                "attempt": item.row.attempt,
                "max_retries": item.row.max_retries,
                "out_of_retries": bool(item.row.is_dead),
            }
            for item in found.runs
        ],
    }
