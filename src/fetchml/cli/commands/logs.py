"""`fetchml logs`."""

import codecs
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, RunArgument, command_app, configuration

app = command_app()


@app.command()
def logs(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", "-n", min=0, help="Begin this many lines from the end.")] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", min=1, help="Of this attempt.  [default: the latest]")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the output of a run.

    On a terminal control codes are escaped; into a file or a pipe it goes byte for byte.
    """
    from fetchml.service.logs import logs as read

    chunks = read(configuration().settings, run, follow=follow, tail=tail, attempt=attempt)
    if json:
        session.print_json({"schema_version": 1, "output": b"".join(chunks).decode("utf-8", "replace")})
    else:
        show(chunks)


def show(chunks: Iterable[bytes]) -> None:
    """Prints output as it arrives."""
    if not sys.stdout.isatty():
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        # A progress bar overwrites its line; escaped it would fill the screen.
        text = decoder.decode(chunk).replace("\r\n", "\n").replace("\r", "\n")
        sys.stdout.write(session.safe(text, keep_newlines=True))
        sys.stdout.flush()
