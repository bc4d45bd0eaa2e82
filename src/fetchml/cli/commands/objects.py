"""`fetchml objects`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.errors import Corrupt

app = command_app("Look after the stored objects: code, and what else is kept by its digest.")

_SHOWN = 10


@app.callback()
def _group() -> None:
    """Look after the stored objects: code, and what else is kept by its digest."""


@app.command()
def migrate(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where to: s3://bucket/prefix, or a folder.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Where from; by default the store of the settings.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Copy all objects to another place; what is there and sound is left. Exit 7 if some are damaged."""
    from fetchml.models.units import format_size, plural
    from fetchml.service.migrate import migrate as copy

    try:
        done = copy(configuration(with_project=False).settings, to, source, session.note)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on where it broke off") from None
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "ok": not done.damaged,
                "from": done.source,
                "to": done.target,
                "copied": done.copied,
                "copied_bytes": done.copied_bytes,
                "present": done.present,
                "damaged": list(done.damaged),
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
    return Corrupt.exit_code if done.damaged else 0
