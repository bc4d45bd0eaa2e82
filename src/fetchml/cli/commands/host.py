"""`fetchml host`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

app = command_app("Hosts of this lab: who may join, and who no longer.")

HostName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the host in this lab.", show_default=False)]


@app.callback()
def _group() -> None:
    """Hosts of this lab: who may join, and who no longer."""


@app.command()
def add(name: HostName, json: Json = False, quiet: Quiet = False) -> None:
    """Make a key for a host, and print the one command that joins it. The key is shown once."""
    from fetchml.keys.access import AccessKind
    from fetchml.service.access import add_access

    code = add_access(configuration(with_project=False).settings, AccessKind.HOST, name)
    command = f"fetchml worker start --join {code}"
    if json:
        session.print_json({"schema_version": 1, "name": name, "command": command, "code": code})
        return
    session.note(f"call this on {session.safe(name)}, once; the code is a secret:")
    session.print_line(command)


@app.command("list")
def list_all(json: Json = False, quiet: Quiet = False) -> None:
    """Show which hosts have a key."""
    from fetchml.cli.access import show_keys
    from fetchml.keys.access import AccessKind
    from fetchml.service.access import list_access

    keys = list_access(configuration(with_project=False).settings, AccessKind.HOST)
    show_keys(keys, "no host has a key; `fetchml host add NAME` makes one", json=json)


@app.command()
def rm(name: HostName, json: Json = False, quiet: Quiet = False) -> None:
    """Revoke the key of a host. What runs there goes on, and is no longer heard of."""
    from fetchml.keys.access import AccessKind
    from fetchml.service.access import remove_access

    remove_access(configuration(with_project=False).settings, AccessKind.HOST, name)
    if json:
        session.print_json({"schema_version": 1, "name": name})
    else:
        session.print_line(f"revoked the key of host {session.safe(name)}")
