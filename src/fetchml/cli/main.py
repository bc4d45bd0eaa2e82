"""The command `fetchml`.

Each command is a module of its own that is imported when it is called, so that one command does not pay for the
imports of another.
"""

import os
import sys
from collections.abc import Sequence

from fetchml.errors import Bug, FetchmlError

EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; never lets a traceback through without `--debug`."""
    from fetchml.cli import session

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _invoke(words)
    except FetchmlError as error:
        if session.debug:
            raise
        session.show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        session.note("interrupted; what was queued goes on in the background")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CLOSED_PIPE
    except OSError as error:
        if session.debug:
            raise
        session.show_error(_from_system(error))
        return session.exit_code_of(error)
    except Exception as error:
        if session.debug:
            raise
        session.show_error(
            Bug(
                f"fetchml failed: {type(error).__name__}: {error}",
                hint="run it again as `fetchml --debug ...` and report the traceback",
            )
        )
        return Bug.exit_code


def _invoke(words: list[str]) -> int:
    import typer

    from fetchml.cli import session
    from fetchml.cli.app import app
    from fetchml.errors import ConfigError

    try:
        result = app.main(words, prog_name="fetchml", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "fetchml"
        session.guess_format(words)
        raise ConfigError(
            error.format_message().rstrip("."), hint=f"`{path} --help` shows what is possible", code="usage"
        ) from error
    if result == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _from_system(error: OSError) -> FetchmlError:
    from pathlib import Path

    from fetchml.durable import translate

    return translate(error, "use", Path(str(error.filename or "?")))


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
