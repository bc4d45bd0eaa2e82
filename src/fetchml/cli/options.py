"""Options that several commands share."""

from typing import Annotated, Any

import typer

from fetchml.cli import session
from fetchml.config.layers import Configuration, check_home, load
from fetchml.errors import ConfigError, FetchmlError


def _set_json(value: bool) -> bool:
    session.as_json = session.as_json or value
    return value


def _set_quiet(value: bool) -> bool:
    session.quiet = session.quiet or value
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON.", callback=_set_json, is_eager=True)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no notes.", callback=_set_quiet, is_eager=True)]


PrefectApiUrl = Annotated[
    str | None,
    typer.Option("--prefect-api-url", metavar="URL", help="Prefect API to use instead of a private server."),
]


AllowSecret = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-secret", metavar="PATH", help="File or folder of the project that may look like a secret; repeatable."
    ),
]


def secrets_allowed(paths: list[str] | None) -> dict[str, object]:
    """Returns the flag as a setting.

    Raises:
        ConfigError: One is no path below the project.
    """
    if not paths:
        return {}
    from fetchml.config.settings import by_key

    key = "snapshot.allow_secrets"
    try:
        return {key: by_key()[key].metadata["kind"].from_yaml(paths)}
    except ConfigError as error:
        raise ConfigError(f"--allow-secret: {error.summary}", detail=error.detail, hint=error.hint) from error


def prefect_flags(api_url: str | None) -> dict[str, object]:
    """Returns the flag as a setting."""
    return {} if api_url is None else {"prefect.api_url": api_url}


def configuration(
    flags: dict[str, object] | None = None, *, home_is_checked: bool = True, **options: Any
) -> Configuration:
    """Loads the settings of this call and says on stderr what is odd about them."""
    loaded = load(flags, **options)
    if home_is_checked:
        check_home(loaded.settings.home)
    for warning in loaded.warnings:
        session.note(f"warning: {warning}")
    session.colour = loaded.settings.color
    session.debug = session.debug or loaded.settings.debug
    return loaded


def command_app(help_text: str | None = None, **settings: Any) -> typer.Typer:
    """Returns an app for one command or a small group of them."""
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, **settings},
    )


def complete_run(incomplete: str) -> list[tuple[str, str]]:
    """Completes ids and names of runs."""
    return _complete(incomplete, with_ended=True)


def complete_unfinished(incomplete: str) -> list[tuple[str, str]]:
    """Completes ids and names of runs that have not ended."""
    return _complete(incomplete, with_ended=False)


def _complete(incomplete: str, *, with_ended: bool) -> list[tuple[str, str]]:
    from fetchml.store.index import RunIndex

    try:
        rows = [row for row in RunIndex(load().settings.store).rows() if with_ended or not row.is_final][:200]
    except (FetchmlError, OSError):
        return []  # a shell would show an error in the middle of the prompt
    found = [(row.run_id, f"{row.state} {row.name}") for row in rows if row.run_id.startswith(incomplete)]
    names = {row.name: row.state for row in rows if row.name.startswith(incomplete)}
    return found + list(names.items())


RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Id, unique prefix, name, `@` (my latest), `@~1`.", autocompletion=complete_run),
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Ids, unique prefixes, names, `@` (my latest), `@~1`.",
        autocompletion=complete_unfinished,
    ),
]
