"""`fetchml worker`."""

import sys
from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

app = command_app("The worker of a host that has joined a lab.")


@app.callback()
def _group() -> None:
    """The worker of a host that has joined a lab."""


@app.command()
def start(
    join: Annotated[
        str | None,
        typer.Option(
            "--join", metavar="CODE", help="Join a lab first, with what `fetchml host add` has printed; - reads it."
        ),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and log here, for a service manager.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Start the worker of this host: it takes runs of the lab."""
    from fetchml.service.worker_start import start_worker

    code = sys.stdin.read(64 * 1024) if join == "-" and sys.stdin is not None else join
    started = start_worker(configuration(with_project=False).settings, code, session.note, foreground=foreground)
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "url": started.url,
                "host": started.host,
                "pid": started.pid,
                "started": started.is_new,
            }
        )
        return
    session.print_line(f"worker   pid {started.pid}, as {session.safe(started.host)}")
    session.print_line(f"lab      {session.safe(started.url)}")


@app.command()
def stop(json: Json = False, quiet: Quiet = False) -> None:
    """Stop the worker. What runs goes on, and is picked up by the next one."""
    from fetchml.service.worker_start import stop_worker

    stopped = stop_worker(configuration(with_project=False).settings)
    if json:
        session.print_json({"schema_version": 1, "stopped": stopped})
    else:
        session.print_line("stopped" if stopped else "it was not running")
