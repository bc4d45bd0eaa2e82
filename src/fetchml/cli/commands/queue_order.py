"""`fetchml queue-order`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, complete_unfinished, configuration

app = command_app()


@app.command()
def queue_order(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Id, unique prefix, name, `@` (my latest), `@~1`.", autocompletion=complete_unfinished
        ),
    ],
    priority: Annotated[
        int | None, typer.Option("--priority", min=0, max=10, help="New priority; higher goes first.")
    ] = None,
    top: Annotated[bool, typer.Option("--top", help="In front of all others.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Move a waiting run in the queue."""
    from fetchml.service.queue_order import queue_order as move

    moved = move(configuration().settings, run, priority=priority, top=top)
    identity, queueing = moved.manifest.identity, moved.manifest.queueing
    is_first = queueing is not None and queueing.moved_up_at is not None
    if json:
        session.print_json(
            {"schema_version": 1, "run_id": identity.run_id, "priority": identity.priority, "top": is_first}
        )
    else:
        session.print_line(
            f"{identity.run_id}  priority {identity.priority}{', in front of all others' if is_first else ''}"
        )
    if moved.note:
        session.note(moved.note)
