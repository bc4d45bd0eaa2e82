"""`fetchml user`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

app = command_app("People who use this lab from their own computers.")

UserName = Annotated[str, typer.Argument(metavar="NAME", help="Name that their runs bear.", show_default=False)]


@app.callback()
def _group() -> None:
    """People who use this lab from their own computers."""


@app.command()
def add(name: UserName, json: Json = False, quiet: Quiet = False) -> None:
    """Make a key for a person, and print the code that `fetchml login` asks for. It is shown once."""
    from fetchml.keys.access import AccessKind
    from fetchml.service.access import add_access

    code = add_access(configuration(with_project=False).settings, AccessKind.USER, name)
    if json:
        session.print_json({"schema_version": 1, "name": name, "code": code})
        return
    session.note(f"`fetchml login` on {session.safe(name)}'s computer asks for this code; it is a secret:")
    session.print_line(code)


@app.command("list")
def list_all(json: Json = False, quiet: Quiet = False) -> None:
    """Show who has a key."""
    from fetchml.cli.access import show_keys
    from fetchml.keys.access import AccessKind
    from fetchml.service.access import list_access

    keys = list_access(configuration(with_project=False).settings, AccessKind.USER)
    show_keys(keys, "nobody has a key; `fetchml user add NAME` makes one", json=json)


@app.command()
def rm(name: UserName, json: Json = False, quiet: Quiet = False) -> None:
    """Revoke the key of a person. Their runs stay."""
    from fetchml.keys.access import AccessKind
    from fetchml.service.access import remove_access

    remove_access(configuration(with_project=False).settings, AccessKind.USER, name)
    if json:
        session.print_json({"schema_version": 1, "name": name})
    else:
        session.print_line(f"revoked the key of {session.safe(name)}")
