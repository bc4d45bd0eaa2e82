"""`fetchml sync`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from fetchml.cli import session
from fetchml.cli.options import AllowSecret, Json, Quiet, command_app, configuration, secrets_allowed

if TYPE_CHECKING:
    from fetchml.service.sync import Synced
    from fetchml.snapshot.capture import Progress

app = command_app()

_TOLD_EVERY_S = 2.0


@app.command()
def sync(allow_secret: AllowSecret = None, json: Json = False, quiet: Quiet = False) -> None:
    """Store the code of this project as it is now, and print its commit id. Queues nothing."""
    from fetchml.service.sync import sync as capture

    try:
        done = capture(configuration(secrets_allowed(allow_secret)), Path.cwd(), _Teller().tell)
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


class _Teller:
    """Says now and then how far a capture has come; nothing if it is quick."""

    def __init__(self) -> None:
        self._began = self._told_at = time.monotonic()

    def tell(self, progress: "Progress") -> None:
        """Tells a state, if the last one is long ago."""
        from fetchml.models.units import format_size

        now = time.monotonic()
        if now - self._told_at < _TOLD_EVERY_S:
            return
        self._told_at = now
        rate = progress.size_bytes / (now - self._began)
        session.note(
            f"{progress.files} of {progress.total_files} files, {format_size(progress.size_bytes)} of "
            f"{format_size(progress.total_bytes)}, {format_size(int(rate))}/s"
        )
