"""`fetchml watch`."""

from pathlib import Path

from fetchml.cli import session
from fetchml.cli.options import AllowSecret, Quiet, command_app, configuration, secrets_allowed
from fetchml.errors import FetchmlError

app = command_app()


@app.command()
def watch(allow_secret: AllowSecret = None, quiet: Quiet = False) -> None:
    """Store the code of this project again whenever it changes. Prints each new commit id; Ctrl-C ends it.

    A tree that is refused is told on stderr, and watched until it can be stored.
    """
    from fetchml.cli.commands.sync import describe
    from fetchml.service.sync import watch as changes

    try:
        for found in changes(configuration(secrets_allowed(allow_secret)), Path.cwd()):
            if isinstance(found, FetchmlError):
                session.show_error(found)
                continue
            print(found.commit_id, flush=True)
            session.note(describe(found))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; what was stored stays") from None
