"""`fetchml drain`, and what `resume` and `dedicate` share with it."""

from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fetchml.models.lab_host import HostMarks

app = command_app()

Names = Annotated[list[str], typer.Argument(metavar="HOST...", help="Names of hosts, as `fetchml hosts` shows them.")]


@app.command()
def drain(
    hosts: Names,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for those who wait.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Have nothing new started on hosts; what runs there goes on."""
    from fetchml.service.marks import drain as mark

    show(hosts, mark(configuration().settings, hosts, reason), json=json)


def show(names: "Sequence[str]", marks: "Sequence[HostMarks]", *, json: bool) -> None:
    """Prints what is now said about hosts."""
    if json:
        listed = [
            {"name": name, "marks": mark.model_dump(mode="json")} for name, mark in zip(names, marks, strict=True)
        ]
        session.print_json({"schema_version": 1, "hosts": listed})
        return
    for name, mark in zip(names, marks, strict=True):
        words = ["drained" if mark.is_drained else "takes runs"]
        if mark.dedication is not None:
            until = f" until {mark.dedication.until:%Y-%m-%d %H:%M} UTC" if mark.dedication.until else ""
            words.append(f"kept for {', '.join((*mark.dedication.users, *mark.dedication.groups))}{until}")
        session.print_line(f"{name}  {session.safe('; '.join(words))}")
