"""`fetchml login`."""

import sys
from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.errors import ConfigError

app = command_app()

_MAX_CODE = 64 * 1024


@app.command()
def login(
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="Address of the gateway, if it is not the one in the code."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Use a lab from this computer: its queue, its runs, its output.

    The code is asked for, or read from standard input: `fetchml user add NAME` on the control host prints it.
    """
    from fetchml.service.login import login as log_in

    found = log_in(configuration(with_project=False).settings, read_code(), url)
    if json:
        session.print_json({"schema_version": 1, "url": found.url, "user": found.name, "version": found.version})
    else:
        session.print_line(f"logged in to {session.safe(found.url)} as {session.safe(found.name)}")


def read_code() -> str:
    """Returns the code, typed unseen on a terminal, else from standard input.

    Raises:
        ConfigError: There is none.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        import getpass

        text = getpass.getpass("code: ", stream=sys.stderr)
    else:
        text = sys.stdin.read(_MAX_CODE) if sys.stdin is not None else ""
    if not text.strip():
        raise ConfigError(
            "no code was given",
            hint="`fetchml user add NAME` on the control host prints one; it is read from standard input",
            code="no-code",
        )
    return text.strip()
