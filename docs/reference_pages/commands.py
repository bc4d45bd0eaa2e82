"""The page of all commands, from the tree of commands itself."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fetchml.cli.app import app
from reference_pages.writing import code, flat, page, table


@dataclass(frozen=True)
class Command:
    """A command, or a group of them, with the context that knows its options."""

    path: str
    """All its words, such as `fetchml server status`."""
    command: Any
    context: Any

    @property
    def anchor(self) -> str:
        """Name of its section on a page."""
        return self.path.replace(" ", "-")

    @property
    def help(self) -> str:
        """Its help text."""
        return inspect.cleandoc(self.command.help or "")


def commands() -> Iterator[Command]:
    """Yields every command and group, a group before what is in it."""
    root = app.make_context("fetchml", [], resilient_parsing=True)
    pending = [Command("fetchml", app, root)]
    while pending:
        found = pending.pop(0)
        yield found
        names: list[str] = found.command.list_commands(found.context) if hasattr(found.command, "list_commands") else []
        for name in names:
            command = found.command.get_command(found.context, name)
            context = command.make_context(name, [], parent=found.context, resilient_parsing=True)
            pending.append(Command(f"{found.path} {name}", command, context))


def _option_names(parameter: Any) -> str:
    names = sorted(parameter.opts, key=len)
    if parameter.secondary_opts:
        return code(" / ".join([*names, *parameter.secondary_opts]))
    value = "" if parameter.is_flag else " " + (parameter.metavar or _metavar(parameter.type.name))
    return code(", ".join(names) + value)


def _metavar(type_name: str) -> str:
    return {"text": "TEXT", "str": "TEXT"}.get(type_name, "N")


def _option_meaning(parameter: Any) -> str:
    text = flat(parameter.help or "")
    default = parameter.default
    if parameter.secondary_opts:
        chosen = (parameter.opts if default else parameter.secondary_opts)[0]
        return f"{text} Default: `{chosen}`."
    if not parameter.is_flag and isinstance(default, int | float | str):
        return f"{text} Default: `{default}`."
    return text


def _command_section(found: Command) -> str:
    command, context = found.command, found.context
    parameters = [item for item in command.get_params(context) if not getattr(item, "hidden", False)]
    arguments = [item for item in parameters if item.param_type_name == "argument"]
    options = [item for item in parameters if item.param_type_name == "option"]
    usage = " ".join([found.path, *command.collect_usage_pieces(context)])
    parts = [f"## `{found.path}`", found.help, f"```text\n{usage}\n```"]
    if arguments:
        rows = [(code(item.metavar or item.name), flat(item.help or "Required.")) for item in arguments]
        parts.append(table(("Argument", "Meaning"), rows))
    parts.append(table(("Option", "Meaning"), [(_option_names(item), _option_meaning(item)) for item in options]))
    if command.epilog:
        parts.append(flat(command.epilog))
    if any("--json" in item.opts for item in options):
        parts.append(f"What `--json` prints: [{found.path}](json-output.md#{found.anchor}).")
    return "\n\n".join(parts)


def commands_page() -> str:
    """Returns the page of all commands."""
    found = list(commands())
    rows = [(f"[`{item.path}`](#{item.anchor})", item.help.splitlines()[0]) for item in found[1:]]
    return page(
        "Commands",
        "Results go to stdout; notes, progress and errors go to stderr. Exit codes: [exit-codes.md](exit-codes.md). "
        "Runs are named by id, by a unique beginning of the id or of its last part, by name, or by `@` (my latest "
        "run), `@~1` (the one before), and so on.",
        table(("Command", "What it does"), rows),
        *(_command_section(item) for item in found),
    )
