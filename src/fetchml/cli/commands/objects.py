"""`fetchml objects`."""

from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, complete_run, configuration

if TYPE_CHECKING:
    from fetchml.service.push import Moved

app = command_app("Look after stored objects, and after copies of runs in a bucket.")

_SHOWN = 10


@app.callback()
def _group() -> None:
    """Look after stored objects, and after copies of runs in a bucket."""


@app.command()
def migrate(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where to: s3://bucket/prefix, or a folder.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Where from; by default the store of the settings.")
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Copy sealed runs as well, to or from a bucket.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Copy all objects to another place; what is there and sound is left. Exit 7 if some are damaged."""
    from fetchml.models.units import format_size, plural
    from fetchml.service.migrate import migrate as copy

    try:
        done = copy(configuration(with_project=False).settings, to, source, session.note, runs=runs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on where it broke off") from None
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "ok": done.exit_code == 0,
                "from": done.source,
                "to": done.target,
                "copied": done.copied,
                "copied_bytes": done.copied_bytes,
                "present": done.present,
                "damaged": list(done.damaged),
                "runs": None if done.runs is None else _as_json(done.runs, "copied"),
            }
        )
    else:
        session.print_line(
            f"{plural(done.copied, 'object')} copied ({format_size(done.copied_bytes)}), "
            f"{done.present} there already, {len(done.damaged)} damaged"
        )
        for digest in done.damaged[:_SHOWN]:
            session.print_line(f"{session.style('damaged', 'red', 'bold')}  {digest}")
        if len(done.damaged) > _SHOWN:
            session.print_line(f"... and {len(done.damaged) - _SHOWN} more; `--json` shows all")
        if done.runs is not None:
            _show(done.runs, "copied")
    return done.exit_code


_RunsArgument = typer.Argument(metavar="RUN...", autocompletion=complete_run, show_default=False)


@app.command()
def push(
    runs: Annotated[list[str] | None, _RunsArgument] = None,
    all_runs: Annotated[bool, typer.Option("--all", help="All runs that have ended.")] = False,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Where to; by default the bucket of the settings.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Copy sealed runs, with their results, to the bucket; what is there is left.

    With the setting `objects.runs: copy` this is done by itself.
    """
    from fetchml.service.push import one_or_all
    from fetchml.service.push import push as copy

    one_or_all(runs or (), all_runs=all_runs)
    done = copy(configuration(with_project=False).settings, runs or (), to, session.note)
    return _report(done, "copied", json=json)


@app.command()
def fetch(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", show_default=False)] = None,
    all_runs: Annotated[bool, typer.Option("--all", help="All runs of the bucket.")] = False,
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Where from; by default the bucket of the settings.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be fetched, fetch nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Bring runs from the bucket into the store of this host, verified; a run that is there is never overwritten."""
    from fetchml.service.fetch import fetch as bring
    from fetchml.service.push import one_or_all

    one_or_all(runs or (), all_runs=all_runs)
    settings = configuration(with_project=False).settings
    done = bring(settings, runs or (), source, session.note, dry_run=dry_run)
    if dry_run and not json:
        for run_id in done.moved:
            session.print_line(run_id)
    code = _report(done, "fetched", json=json, dry_run=dry_run)
    if dry_run:
        session.note("nothing was fetched (--dry-run)")
    return code


def _report(done: "Moved", word: str, *, json: bool, dry_run: bool = False) -> int:
    if len(done.failed) == 1 and not done.moved and not done.present:
        raise next(iter(done.failed.values()))
    if json:
        head = {"schema_version": 1, "ok": not done.failed, "place": done.place, "dry_run": dry_run}
        session.print_json({**head, **_as_json(done, word)})
    elif not dry_run:
        _show(done, word)
    return done.exit_code


def _show(done: "Moved", word: str) -> None:
    from fetchml.models.units import plural

    counts = f"{plural(len(done.moved), 'run')} {word}, {len(done.present)} there already, {len(done.failed)} not"
    session.print_line(counts)
    for run_id, error in list(done.failed.items())[:_SHOWN]:
        why = f"{error.summary}: {error.detail}" if error.detail else error.summary
        session.print_line(f"{session.style('failed', 'red', 'bold')}  {run_id}: {session.safe(why)}")
    if len(done.failed) > _SHOWN:
        session.print_line(f"... and {len(done.failed) - _SHOWN} more; `--json` shows all")


def _as_json(done: "Moved", word: str) -> dict[str, object]:
    failed = [{"run_id": run_id, **error.as_json()} for run_id, error in done.failed.items()]
    return {word: list(done.moved), "present": list(done.present), "failed": failed}
