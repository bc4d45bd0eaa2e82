"""The tree of commands; each is imported when it is called."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fetchml.cli import session
from fetchml.errors import ConfigError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write a commented fetchml.yaml for this project"),
    "queue": ("queue", "Queue a script or a command as a run"),
    "explain": ("explain", "Show what a command would be queued as, and what is wrong with it"),
    "status": ("status", "Show the queue and the latest runs"),
    "why": ("why", "Say why a run waits, and when it may start"),
    "info": ("info", "Show the record of a run"),
    "logs": ("logs", "Show the output of a run"),
    "cancel": ("cancel", "Stop runs"),
    "requeue": ("requeue", "Queue runs that have ended once more"),
    "queue-order": ("queue_order", "Move a waiting run in the queue"),
    "wait": ("wait", "Wait until runs have ended"),
    "validate": ("validate", "Check the record of a run"),
    "sync": ("sync", "Store the code of this project without queueing it"),
    "watch": ("watch", "Store it again whenever it changes"),
    "prune": ("prune", "Remove what nothing refers to"),
    "stats": ("stats", "Show waits, fairness and use of the GPUs"),
    "hosts": ("hosts", "Show the hosts of the lab and who holds what"),
    "drain": ("drain", "Have nothing new started on hosts"),
    "resume": ("resume", "Have runs started on them again"),
    "dedicate": ("dedicate", "Keep hosts for some users and groups"),
    "up": ("up", "Start the Prefect server and the worker of this host"),
    "down": ("down", "Stop them; runs go on and are picked up again"),
    "server": ("server", "Look at the server and the worker"),
    "gateway": ("gateway", "Let other hosts and computers in"),
    "host": ("host", "Hosts of this lab: who may join"),
    "user": ("user", "People who use this lab from their computers"),
    "worker": ("worker", "The worker of a host that has joined a lab"),
    "login": ("login", "Use a lab from this computer"),
    "logout": ("logout", "Forget that lab"),
    "keys": ("keys", "Keys that records are signed with"),
    "dataset": ("dataset", "Data that runs read, by name and checksum"),
    "simulate": ("simulate", "Replay a trace through the queue's decisions, and compare"),
    "objects": ("objects", "Look after the stored objects, in a folder or a bucket"),
    "config": ("config", "Show the settings and where they come from"),
    "doctor": ("doctor", "Check this host and mend what can be mended"),
}
"""Module below `fetchml.cli.commands` and line of help, by command."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called, and whose help imports none of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"fetchml.cli.commands.{COMMANDS[cmd_name][0]}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            session.interruption = str(error) or session.interruption  # Typer makes an exit code of it
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            session.guess_format(args)
            hint = f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(COMMANDS)}"
            raise ConfigError(f"there is no command `{session.safe(args[0][:60])}`", hint=hint, code="usage")
        return super().resolve_command(ctx, args)


def _version(asked: bool) -> None:
    if asked:
        import fetchml

        session.print_line(f"fetchml {fetchml.__version__}")
        raise typer.Exit


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """An ML experiment queue for people with their own GPUs."""
    session.debug = session.debug or debug


def _build() -> Any:
    root = typer.Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    root.callback()(_root)
    return typer.main.get_command(root)


app = _build()
