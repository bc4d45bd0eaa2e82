"""`fetchml prune`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.errors import ConfigError, Corrupt

if TYPE_CHECKING:
    from fetchml.config.settings import Settings
    from fetchml.service.prune import Pruned, PruneRequest

app = command_app()

_SHOWN = 10


@app.command()
def prune(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Only what was not used for so long; 7d by default."),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Remove ended runs as well, folder and all.")] = False,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", min=0, metavar="N", help="With --runs: keep the latest N ended runs.")
    ] = None,
    bucket: Annotated[
        bool, typer.Option("--bucket", help="Remove objects from the bucket as well, if no other home uses it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --runs: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, remove nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Remove what nothing refers to: objects, laid out code, environments, leftovers.

    What a run refers to stays, and so does every run unless `--runs` is given. Exit 7 if a run cannot be read.
    """
    from fetchml.models.units import parse_duration
    from fetchml.service.prune import PruneRequest
    from fetchml.service.prune import prune as remove

    settings = configuration(with_project=False).settings
    request = PruneRequest(
        older_than_s=None if older_than is None else parse_duration(older_than),
        runs=runs,
        bucket=bucket,
        keep_last=keep_last,
        dry_run=dry_run,
    )
    if runs and not dry_run and not yes:
        _confirm(settings, request)
    done = remove(settings, request, session.note)
    if json:
        session.print_json(_as_json(done))
    else:
        _show(done)
    for text in done.notes:
        session.note(text)
    return Corrupt.exit_code if done.unreadable else 0


def _confirm(settings: "Settings", request: "PruneRequest") -> None:
    """Asks before runs are removed.

    Raises:
        ConfigError: There is nobody to ask, or the answer is no.
    """
    import time

    from fetchml.models.units import plural
    from fetchml.service.prune import runs_to_remove

    found = runs_to_remove(settings, request, time.time())
    if not found:
        return
    what = f"remove {plural(len(found), 'ended run')} for ever, with results and records"
    if session.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"not sure whether to {what}", hint="add `--yes`, or look with `--dry-run`", code="usage")
    if not typer.confirm(f"{what}?", err=True):
        raise ConfigError("nothing was removed", code="usage")


def _show(done: "Pruned") -> None:
    from fetchml.models.units import format_size, plural

    if done.removed:
        rows = [(kind, str(tally.count), format_size(tally.size_bytes)) for kind, tally in done.removed.items()]
        total = sum(tally.size_bytes for tally in done.removed.values())
        rows.append(("all", str(sum(tally.count for tally in done.removed.values())), format_size(total)))
        session.print_line(session.table(("WOULD GO" if done.dry_run else "REMOVED", "COUNT", "SIZE"), rows))
    else:
        session.print_line("nothing to remove")
    for why, tally in done.kept.items():
        session.note(f"kept: {tally.count} {why} ({format_size(tally.size_bytes)})")
    if done.unreadable:
        session.note(f"no object was removed: {plural(len(done.unreadable), 'run')} cannot be read")
        for run_id, why in list(done.unreadable.items())[:_SHOWN]:
            session.note(f"- {run_id}: {why}; `fetchml validate {run_id}` says more")
    if done.dry_run:
        session.note("nothing was removed (--dry-run)")


def _as_json(done: "Pruned") -> dict[str, object]:
    return {
        "schema_version": 1,
        "ok": not done.unreadable,
        "dry_run": done.dry_run,
        "removed": [
            {"kind": kind, "count": tally.count, "size_bytes": tally.size_bytes} for kind, tally in done.removed.items()
        ],
        "removed_bytes": sum(tally.size_bytes for tally in done.removed.values()),
        "kept": [
            {"why": why, "count": tally.count, "size_bytes": tally.size_bytes} for why, tally in done.kept.items()
        ],
        "run_ids": list(done.run_ids),
        "unreadable": [{"run_id": run_id, "why": why} for run_id, why in done.unreadable.items()],
    }
