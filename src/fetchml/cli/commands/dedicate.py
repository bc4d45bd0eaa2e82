"""`fetchml dedicate`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from fetchml.cli.commands.drain import Names, show
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.errors import ConfigError

app = command_app()


@app.command()
def dedicate(
    hosts: Names,
    user: Annotated[list[str] | None, typer.Option("--user", metavar="NAME", help="For this user; repeatable.")] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="NAME", help="For runs of this group; repeatable.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="For a time such as 2d.  [default: for good]")
    ] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="For everyone again.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep hosts for some users and groups."""
    if everyone == bool(user or group):
        raise ConfigError(
            "it is not clear whom for", hint="give `--user`, `--group`, or `--everyone` alone", code="usage"
        )
    from fetchml.models.lab_host import HostDedication
    from fetchml.service.marks import dedicate as mark

    dedication = None
    if not everyone:
        dedication = HostDedication(users=tuple(user or ()), groups=tuple(group or ()), until=_until(duration))
    show(hosts, mark(configuration().settings, hosts, dedication), json=json)


def _until(text: str | None) -> datetime | None:
    """Returns when something ends that lasts for a time such as `2d`.

    Raises:
        ConfigError: It is no duration.
    """
    if text is None:
        return None
    from fetchml.models.units import parse_duration

    try:
        return datetime.now(UTC) + timedelta(seconds=parse_duration(text))
    except ConfigError as error:
        raise ConfigError(f"--for: {error.summary}", detail=error.detail, hint=error.hint) from error
