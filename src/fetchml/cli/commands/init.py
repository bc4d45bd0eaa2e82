"""`fetchml init`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app
from fetchml.config.layers import current_folder

app = command_app()


@app.command()
def init(
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented fetchml.yaml for this project."""
    from fetchml.service.init import init as write

    path = write(current_folder(), force=force)
    if json:
        session.print_json({"schema_version": 1, "path": str(path)})
    else:
        session.print_line(f"wrote {session.safe(str(path))}")
        session.note("every setting is in it, commented out; `fetchml queue SCRIPT` works as it is")
