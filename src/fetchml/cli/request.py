"""What the commands `queue` and `explain` are given: a script or a command, and what it asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from fetchml.cli.options import configuration, secrets_allowed
from fetchml.errors import ConfigError

if TYPE_CHECKING:
    from fetchml.config.layers import Configuration
    from fetchml.service.queue import QueueRequest

_SEPARATOR = "fetchml.separator"
EPILOG = "Everything after SCRIPT goes to the script. To run any other command, put it after `--`."

CommandWords = Annotated[
    list[str], typer.Argument(metavar="SCRIPT [ARGS]... | -- COMMAND [ARGS]...", show_default=False)
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run.  [default: the script's]")]
Priority = Annotated[str | None, typer.Option("--priority", metavar="0-10", help="Higher goes first.")]
Gpus = Annotated[str | None, typer.Option("--gpus", metavar="N", help="GPUs; 0.5 is half of one.")]
GpuMemory = Annotated[
    str | None,
    typer.Option("--gpu-memory", metavar="SIZE", help="GPU memory needed on each device: 24G, or 24G..48G."),
]
GpuVendor = Annotated[
    str | None, typer.Option("--gpu-vendor", metavar="NAME", help="nvidia, amd, intel, apple or any.")
]
GpuModel = Annotated[
    str | None, typer.Option("--gpu-model", metavar="WORDS", help="What the model must contain, such as A100.")
]
Cpus = Annotated[str | None, typer.Option("--cpus", metavar="N", help="CPU cores.")]
Memory = Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Memory limit, such as 8G.")]
Disk = Annotated[str | None, typer.Option("--disk", metavar="SIZE", help="Free disk space needed on the host.")]
Arch = Annotated[str | None, typer.Option("--arch", metavar="NAME", help="Host with amd64 or arm64.")]
Host = Annotated[str | None, typer.Option("--host", metavar="NAME", help="The one host it may go to.")]
MaxRuntime = Annotated[
    str | None, typer.Option("--max-runtime", metavar="TIME", help="Stop it after this time, such as 90m.")
]
MaxRetries = Annotated[
    str | None, typer.Option("--max-retries", metavar="N", help="Further attempts if the host or engine failed it.")
]
Engine = Annotated[str | None, typer.Option("--engine", metavar="NAME", help="auto, docker, podman or process.")]
Image = Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Base image.")]
ReproPolicy = Annotated[
    str | None,
    typer.Option("--repro-policy", metavar="POLICY", help="strict, or best-effort for what cannot be repeated."),
]
Env = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Variable of the run; repeatable.")
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="NAME", help="Dataset it reads, as NAME[@VERSION or @CHECKSUM][:/mount]; repeatable."
    ),
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why you queue it.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag; repeatable.")]
Group = Annotated[str | None, typer.Option("--group", metavar="NAME", help="Group the run belongs to.")]
Sign = Annotated[bool | None, typer.Option("--sign/--no-sign", help="Sign the record at its end.")]

_KEYS = {
    "priority": "priority",
    "gpus": "resources.gpus",
    "gpu_memory": "resources.gpu_memory",
    "gpu_vendor": "resources.gpu_vendor",
    "gpu_model": "resources.gpu_model",
    "cpus": "resources.cpus",
    "memory": "resources.memory",
    "disk": "resources.disk",
    "arch": "resources.arch",
    "host": "resources.host",
    "max_runtime": "resources.max_runtime",
    "max_retries": "retries.max",
    "engine": "engine",
    "image": "image",
    "repro_policy": "repro_policy",
    "sign": "seal.sign",
    "prefect_api_url": "prefect.api_url",
}
"""Setting of each option that is a setting for one call."""


@dataclass(frozen=True, slots=True)
class Requested:
    """A command line that was read."""

    request: "QueueRequest"
    configuration: "Configuration"


def requested(ctx: typer.Context, options: Mapping[str, Any]) -> Requested:
    """Reads what was typed.

    Args:
        ctx: The call.
        options: Its options by name: the local variables of the command's function.

    Raises:
        ConfigError: Options contradict each other or have wrong values; all of them are named.
    """
    from fetchml.service.command import Words
    from fetchml.service.queue import QueueRequest

    _refuse_repeated(ctx)
    texts = {key: _text(options.get(name)) for name, key in _KEYS.items()}
    flags = _flags(texts, options["env"] or [], options["data"] or [])
    loaded = configuration({**flags, **secrets_allowed(options["allow_secret"])})
    words: list[str] = options["words"]
    is_command = bool(ctx.meta.get(_SEPARATOR))
    request = QueueRequest(
        Words(None, tuple(words)) if is_command else Words(words[0], tuple(words[1:])),
        name=options["name"],
        note=options["note"],
        tags=tuple(options["tag"] or ()),
        group=options["group"],
        cwd=Path.cwd(),
    )
    return Requested(request, loaded)


class PassThrough(TyperCommand):
    """A command that leaves everything from its first argument on alone, and remembers whether `--` came before it."""

    allow_interspersed_args = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_SEPARATOR] = _separator_first(self, ctx, args)
        return super().parse_args(ctx, args)


def _option(key: str) -> str:
    return next(name for name, its in _KEYS.items() if its == key).replace("_", "-")


def _text(value: str | bool | None) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value


def _flags(texts: dict[str, str | None], variables: Sequence[str], datasets: Sequence[str]) -> dict[str, object]:
    """Reads the flags by the rules of their settings; all that are wrong are named at once."""
    from fetchml.config.settings import by_key

    flags: dict[str, object] = {}
    faults: list[ConfigError] = []
    for key, text in texts.items():
        if text is None:
            continue
        try:
            flags[key] = by_key()[key].metadata["kind"].from_text(text)
        except ConfigError as error:
            option = "--" + _option(key)
            faults.append(ConfigError(f"{option}: {error.summary}", detail=error.detail, hint=error.hint))
    env = _variables(variables, faults)
    if datasets:
        try:
            flags["dataset_specs"] = by_key()["dataset_specs"].metadata["kind"].from_yaml(list(datasets))
        except ConfigError as error:
            faults.append(ConfigError(f"--data: {error.summary}", detail=error.detail, hint=error.hint))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ConfigError(f"{len(faults)} options are wrong", detail="\n".join(f"- {fault}" for fault in faults))
    if env:
        flags["env"] = env
    return flags


def _variables(pairs: Sequence[str], faults: list[ConfigError]) -> dict[str, str]:
    """Reads `NAME=value` pairs; what is wrong with them is added to the faults."""
    from fetchml.config.kinds import check_variable_name

    env: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        try:
            if not equals:
                raise ConfigError(f"`{pair[:60]}` has no value", hint="write `--env NAME=value`")
            if check_variable_name(name) in env and env[name] != value:
                raise ConfigError(f"`{name}` is given twice, with different values")
            env[name] = value
        except ConfigError as error:
            faults.append(ConfigError(f"--env: {error.summary}", detail=error.detail, hint=error.hint))
    return env


def _refuse_repeated(ctx: typer.Context) -> None:
    """An option given twice with different values is a mistake that must not pick one of them."""
    repeated: dict[str, Any] = ctx.meta.get("fetchml.repeated", {})
    if repeated:
        raise ConfigError(
            "an option is given twice, with different values",
            detail=", ".join(f"`{option}`" for option in repeated),
            hint="keep one of them",
        )


def _separator_first(command: TyperCommand, ctx: Any, args: Sequence[str]) -> bool:
    """Tells whether `--` stands before the first argument, and notes options that contradict each other."""
    takes_value: dict[str, bool] = {}
    multiple: set[str] = set()
    for parameter in command.get_params(ctx):
        if isinstance(parameter, TyperOption):
            for option in (*parameter.opts, *parameter.secondary_opts):
                takes_value[option] = not parameter.is_flag
                if parameter.multiple:
                    multiple.add(option)
    seen: dict[str, str] = {}
    words = iter(args)
    for word in words:
        if word == "--":
            return True
        if not word.startswith("-") or word == "-":
            return False
        option, equals, value = word.partition("=")
        if takes_value.get(option) and not equals:
            value = next(words, "")
        if takes_value.get(option) and option not in multiple:
            if seen.get(option, value) != value:
                ctx.meta.setdefault("fetchml.repeated", {})[option] = value
            seen[option] = value
    return False
