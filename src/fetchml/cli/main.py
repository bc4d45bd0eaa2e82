"""The command `fetchml`.

Each command is a module of its own that is imported when it is called, so that one command does not pay for the
imports of another.
"""

import errno
import os
import sys
from collections.abc import Sequence

from fetchml.errors import Bug, FetchmlError

EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; never lets a traceback through without `--debug`."""
    from fetchml.cli import session

    session.prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _invoke(words)
        _flush()
        session.show_notes()
        return code
    except FetchmlError as error:
        if session.debug:
            raise
        session.show_error(error)
        return error.exit_code
    except KeyboardInterrupt as error:
        session.note(str(error) or session.interruption)
        session.show_notes()
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        session.lose(sys.stdout)  # whoever read our output has enough
        return EXIT_CLOSED_PIPE
    except OSError as error:
        if session.debug:
            raise
        told = from_system(error)
        session.show_error(told)
        return told.exit_code
    except Exception as error:
        if session.debug:
            raise
        if "_FETCHML_COMPLETE" in os.environ:
            return Bug.exit_code  # a shell would show it in the middle of the prompt
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
    except typer.Abort as error:
        interrupt = error.__cause__
        raise KeyboardInterrupt(*(interrupt.args if isinstance(interrupt, KeyboardInterrupt) else ())) from None
    except SystemExit as error:
        # Typer answers a closed pipe itself, with the exit code of a failed run.
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        if context is not None and not words:
            print(error.format_message(), file=sys.stderr)
            return ConfigError.exit_code
        path = context.command_path if context is not None else _typed_command(words)
        session.guess_format(words, context.command if context is not None else None)
        raise ConfigError(
            error.format_message().rstrip("."), hint=f"`{path} --help` shows what is possible", code="usage"
        ) from error
    if result == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _typed_command(words: list[str]) -> str:
    from fetchml.cli.app import COMMANDS

    return f"fetchml {words[0]}" if words and words[0] in COMMANDS else "fetchml"


def _flush() -> None:
    """Writes what is left of the output, while an error can still be told.

    Raises:
        Unavailable: It cannot be written.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritten(error) from error


def _unwritten(error: OSError) -> FetchmlError:
    from fetchml.cli import session
    from fetchml.errors import Unavailable

    session.lose(sys.stdout)
    return Unavailable("the output cannot be written", detail=error.strerror, code="output-lost")


def from_system(error: OSError) -> FetchmlError:
    """Returns the error for users that an operating system error means which reached the top."""
    from pathlib import Path

    from fetchml.durable import translate

    if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG):
        return _unwritten(error)
    return translate(error, "use", Path(str(error.filename or "?")))


def run() -> None:
    """Entry point of the installed command."""
    import gc

    gc.set_threshold(100_000)  # a short call makes no garbage worth its collection
    sys.exit(main())


if __name__ == "__main__":
    run()
