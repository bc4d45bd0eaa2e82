"""`fetchml sync`."""

from pathlib import Path
from typing import TYPE_CHECKING

from fetchml.cli import session
from fetchml.cli.options import AllowSecret, Json, Quiet, command_app, configuration, secrets_allowed
from fetchml.cli.progress import Teller

if TYPE_CHECKING:
    from fetchml.service.sync import Synced

app = command_app()


@app.command()
def sync(allow_secret: AllowSecret = None, json: Json = False, quiet: Quiet = False) -> None:
    """Store the code of this project as it is now, and print its commit id. Queues nothing."""
    from fetchml.service.sync import sync as capture

    try:
        done = capture(configuration(secrets_allowed(allow_secret)), Path.cwd(), Teller().tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on where it broke off") from None
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "commit_id": done.commit_id,
                "root": str(done.root),
                "files": done.files,
                "size_bytes": done.size_bytes,
                "read_files": done.read_files,
                "read_bytes": done.read_bytes,
                "seconds": done.seconds,
                "notes": list(done.notes),
            }
        )
        return
    session.print_line(done.commit_id)
    session.note(describe(done))
    for text in done.notes:
        session.note(text)


def describe(done: "Synced") -> str:
    """Returns what was stored, in words."""
    from fetchml.models.units import format_size, plural

    text = f"{plural(done.files, 'file')}, {format_size(done.size_bytes)}"
    if not done.read_files:
        return f"{text}; nothing has changed"
    return f"{text}; {done.read_files} read ({format_size(done.read_bytes)})"
