"""`fetchml requeue`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, complete_run, configuration
from fetchml.errors import ConfigError

app = command_app()


@app.command()
def requeue(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Ids, unique prefixes, names, `@` (my latest), `@~1`.", autocompletion=complete_run
        ),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All my runs that are out of retries.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Queue runs that have ended once more: the same plan, a new run."""
    if not runs and not dead:
        raise ConfigError("no run is named", hint="name runs, or give `--dead`", code="usage")
    from fetchml.service.dispatch import dispatch
    from fetchml.service.requeue import requeue as again

    settings = configuration().settings
    accepted = again(settings, runs or [], dead=dead)
    if json:
        listed = [{"run_id": item.identity.run_id, "parent_run": item.identity.parent_run} for item, _ in accepted]
        session.print_json({"schema_version": 1, "runs": listed})
    for manifest, plan in accepted:
        identity = manifest.identity
        if quiet and not json:
            session.print_line(identity.run_id)
        elif not json:
            session.print_line(
                f"queued {session.style(identity.run_id, 'bold')}  {session.safe(identity.name)}"
                f"  like {identity.parent_run}"
            )
        message = dispatch(settings, identity.run_id, plan)
        if message:
            session.note(message)
    if not accepted:
        session.note("no run is out of retries")
