"""`fetchml init`."""

from pathlib import Path
from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app

app = command_app()


@app.command()
def init(
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented fetchml.yaml for this project."""
    from fetchml.service.init import init as write

    path = write(Path.cwd(), force=force)
    if json:
        session.print_json({"schema_version": 1, "path": str(path)})
    else:
        session.print_line(f"wrote {path}")
        session.note("every setting is in it, commented out; `fetchml queue SCRIPT` works as it is")
