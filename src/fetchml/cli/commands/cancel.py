"""`fetchml cancel`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, RunsArgument, command_app, configuration
from fetchml.cli.progress import state_word

app = command_app()


@app.command()
def cancel(
    runs: RunsArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Return when they have ended.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Stop runs: SIGTERM first, SIGKILL after the grace time; what they wrote is kept."""
    from fetchml.service.cancel import cancel as stop

    outcomes = stop(configuration().settings, runs, wait=wait, reason=reason)
    if json:
        session.print_json(
            {"schema_version": 1, "runs": [{"run_id": o.run_id, "state": o.state.value} for o in outcomes]}
        )
        return
    for outcome in outcomes:
        if outcome.state.is_final:
            session.print_line(f"{outcome.run_id}  {state_word(outcome.state)}")
        else:
            session.print_line(f"{outcome.run_id}  is being stopped")
        if outcome.note:
            session.note(outcome.note)
