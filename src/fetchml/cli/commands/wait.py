"""`fetchml wait`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, RunsArgument, command_app, configuration

app = command_app()


@app.command()
def wait(
    runs: RunsArgument,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Give up after this time; the runs go on.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Wait until runs have ended; exit 0 if all completed, 1 if one did not."""
    from fetchml.cli.progress import exit_code, wait_with_progress
    from fetchml.models.units import parse_duration

    manifests = wait_with_progress(configuration().settings, runs, parse_duration(timeout) if timeout else None)
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "runs": [
                    {
                        "run_id": m.identity.run_id,
                        "state": m.status.state.value,
                        "end_reason": m.end_reason.value if m.end_reason else None,
                        "exit_code": m.exit_code,
                    }
                    for m in manifests
                ],
            }
        )
    return exit_code(manifests)
