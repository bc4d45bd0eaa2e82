"""Reads the words of a command line as a command: a script and what starts it, or any program."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fetchml.errors import ConfigError
from fetchml.models.plan import Command
from fetchml.service.invalid import first_fault


@dataclass(frozen=True, slots=True)
class Words:
    """The command as it was typed."""

    script: str | None
    """A script to run, or None if `argv` is the whole command."""
    argv: tuple[str, ...]
    """Arguments of the script, or the whole command."""


def command_of(words: Words, root: Path, cwd: Path) -> Command:
    """Returns what is to be executed.

    Args:
        words: What was typed.
        root: Root of the project.
        cwd: The user's current folder.

    Raises:
        ConfigError: It makes no sense: a missing script, a folder, an unknown form, text that is not UTF-8.
    """
    for word in (*words.argv, words.script or ""):
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ConfigError(
                "an argument is not valid UTF-8",
                detail=f"{word[:60]!r}: a plan is hashed as JSON, which holds text only (RFC 8785)",
                hint="pass such a name in a file",
            ) from error
    if words.script == "" or (words.script is None and not words.argv[0]):
        raise ConfigError("the name of the script or program is empty", hint="give the path of a script")
    workdir = os.path.relpath(cwd, root)
    workdir = "" if workdir == "." else workdir
    if words.script is None:
        return _checked_command(argv=words.argv, workdir=workdir)
    script = Path(words.script)
    path = cwd / script
    _check_script(words.script, path)
    inside = Path(os.path.abspath(path))
    if not inside.is_relative_to(root):
        raise ConfigError(
            f"the script `{words.script}` is outside the project `{root}`",
            detail="only what is in the snapshot can run",
            hint="call fetchml from the script's project, or copy the script into it",
        )
    launcher = _launcher(words.script, path)
    relative = os.path.relpath(inside, cwd)
    # `./` keeps a script called `-c` from being an option, and one without a launcher from being looked up on PATH.
    shown = relative if launcher and not relative.startswith("-") else f"./{relative}"
    argv = (*launcher, shown, *words.argv)
    return _checked_command(argv=argv, workdir=workdir, script=str(inside.relative_to(root)))


def _check_script(typed: str, path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no script `{typed}`",
            hint="give the path of a file; to run any other command, put it after `--`",
            code="no-such-script",
        ) from error
    except OSError as error:
        raise ConfigError(f"the script `{typed}` cannot be read", detail=error.strerror) from error
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(
            f"`{typed}` is a folder, not a script", hint=f"name a script in it, or use `-- python -m {path.name}`"
        )
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"`{typed}` is not a regular file")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"the script `{typed}` cannot be read", detail="Permission denied", hint="check its mode")


def _launcher(typed: str, path: Path) -> tuple[str, ...]:
    match path.suffix:
        case ".py":
            return ("python",)
        case ".sh":
            return ("bash",)
        case _:
            if os.access(path, os.X_OK):
                return ()
            raise ConfigError(
                f"it is not clear how to run `{typed}`",
                detail="expected a `.py` or `.sh` file, or one that is executable",
                hint=f"put the whole command after `--`, for example `-- bash {typed}`",
            )


def _checked_command(**fields: Any) -> Command:
    try:
        return Command(**fields)
    except ValidationError as error:
        raise ConfigError("the command is not accepted", detail=first_fault(error)) from error
