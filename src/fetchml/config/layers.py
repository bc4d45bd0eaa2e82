"""The layers of configuration, and where each value came from.

Flags win over the environment, the environment over the project's `fetchml.yaml`, that over the user's
`config.yaml`, and that over the defaults.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fetchml.config.object_urls import CREDENTIALS_HINT, is_credential
from fetchml.config.settings import Scope, Settings, by_key
from fetchml.errors import ConfigError
from fetchml.models.dataset import VARIABLE_PREFIX

PROJECT_FILE = "fetchml.yaml"
USER_FILE = "config.yaml"
ENVIRONMENT_PREFIX = "FETCHML_"

RUN_VARIABLES = frozenset(
    {
        "FETCHML_RUN_ID",
        "FETCHML_ATTEMPT",
        "FETCHML_PLAN_SHA256",
        "FETCHML_RESULTS",
        "FETCHML_METRICS",
        "FETCHML_CODE",
        "FETCHML_GPU_COUNT",
        "FETCHML_CONTAINER",
        "FETCHML_PRIVATE_SERVER",
        "FETCHML_WORKER_LOCKED",
        "FETCHML_HOST_NAME",
    }
)
"""Variables that fetchml sets for runs and for its own processes; they are no settings."""

CREDENTIAL_VARIABLES = frozenset({"FETCHML_S3_ACCESS_KEY", "FETCHML_S3_SECRET_KEY", "FETCHML_S3_SESSION_TOKEN"})
"""Secrets: read by the adapter that needs them, never part of the settings."""


_PLACEHOLDER = re.compile(r"\$[{(]|^\$[A-Za-z_]")
"""What other programs expand: `${NAME}`, `$(command)`, `$HOME/data`."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    layer: str
    """flag, environment, project, user or default."""
    place: str
    """The flag, the variable, or the file."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of one call and the origin of each."""

    settings: Settings
    origins: dict[str, Origin]
    project_file: Path | None
    warnings: tuple[str, ...]


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
    with_project: bool = True,
) -> Configuration:
    """Merges all layers into the settings of this call.

    Args:
        flags: Values by key that the command line set, already of their kind.
        environ: Environment to read `FETCHML_*` from.
        cwd: Folder to look for `fetchml.yaml` in and above; the current one by default.
        with_project: Whether a project's file counts; not for the worker, which serves all projects.

    Raises:
        ConfigError: A file is broken, a key is unknown or set in the wrong place, or a value is not accepted. All
            faults of all layers are listed at once.
    """
    faults: list[ConfigError] = []
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}

    def take(layer: str, found: Mapping[str, tuple[str, object]]) -> None:
        for key, (place, value) in found.items():
            if key == "env" and key in values:
                values[key] = {**values[key], **cast("dict[str, str]", value)}
            elif key in ("dataset_specs", "snapshot.allow_secrets") and key in values:
                values[key] = by_key()[key].metadata["kind"].merged(values[key], value)
            else:
                values[key] = value
            origins[key] = Origin(layer, place)

    from_environment, warnings = _from_environment(environ, faults)
    home = _home(flags or {}, from_environment)
    user_file = home / USER_FILE
    if _exists(user_file, f"the home folder `{home}` cannot be used", "set FETCHML_HOME to a folder of yours"):
        take("user", _from_file(user_file, Scope.HOST, faults))
    project_file = find_project_file(cwd) if with_project else None
    if project_file is not None:
        take("project", _from_file(project_file, Scope.PROJECT, faults))
    take("environment", from_environment)
    take("flag", {key: (f"--{key}", value) for key, value in (flags or {}).items()})
    if len(faults) == 1:
        raise faults[0]
    if faults:
        listing = "\n".join(f"- {fault.summary}{_because(fault)}" for fault in faults)
        raise ConfigError(f"{len(faults)} settings are wrong", detail=listing, hint=_HINT, code="bad-config")
    values["home"] = home
    known = by_key()
    for key in known:
        origins.setdefault(key, Origin("default", "built in"))
    settings = Settings(**{known[key].name: value for key, value in values.items()})
    return Configuration(settings, {key: origins[key] for key in known}, project_file, tuple(warnings))


def _exists(file: Path, summary: str, hint: str) -> bool:
    try:
        file.stat()  # from Python 3.14 on `Path.exists` would say no where it cannot know
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(summary, detail=error.strerror, hint=hint) from error
    return True


def current_folder() -> Path:
    """Returns the current folder.

    Raises:
        ConfigError: It was deleted.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError("the current folder does not exist any more", hint="change into another folder") from error


def check_home(home: Path) -> None:
    """Checks that a home folder is one, or is not there yet.

    Raises:
        ConfigError: Something else has its place.
    """
    for folder in (home, *home.parents):
        if folder.is_dir():
            return
        if os.path.lexists(folder):
            raise bad_home(home, f"`{folder}` is not a folder")


def bad_home(home: Path, why: str | None) -> ConfigError:
    """Returns the error for a place where no home folder can be."""
    return ConfigError(
        f"`{home}` cannot be the home folder",
        detail=why,
        hint="choose another folder with FETCHML_HOME",
        code="bad-home",
    )


def find_project_file(cwd: Path | None = None) -> Path | None:
    """Returns the nearest `fetchml.yaml` in the folder or above it, or None.

    Raises:
        ConfigError: Whether there is one cannot be told.
    """
    folder = (cwd or current_folder()).absolute()
    for candidate in (folder, *folder.parents):
        file = candidate / PROJECT_FILE
        if _exists(file, f"cannot look for `{file}`", "its folder, or what it links to, may not be readable"):
            return file
    return None


def _home(flags: Mapping[str, object], from_environment: Mapping[str, tuple[str, object]]) -> Path:
    chosen = flags.get("home") or from_environment.get("home", ("", None))[1] or by_key()["home"].default
    try:
        home = Path(cast("Path", chosen)).expanduser()
        if str(chosen).startswith("~") and not os.path.isabs(os.environ.get("HOME", "/")):
            raise RuntimeError("HOME is not an absolute path")
        return home.absolute()
    except RuntimeError as error:
        raise ConfigError(
            "the home folder of this user is unknown", hint="set FETCHML_HOME to a folder of yours"
        ) from error


def _from_environment(
    environ: Mapping[str, str], faults: list[ConfigError]
) -> tuple[dict[str, tuple[str, object]], list[str]]:
    names = {variable_of(key): key for key in by_key() if key != "env"}
    found: dict[str, tuple[str, object]] = {}
    warnings: list[str] = []
    # Prefect's own variable names an existing server; fetchml's own wins over it.
    if environ.get("PREFECT_API_URL"):
        names = {"PREFECT_API_URL": "prefect.api_url", **names}
    for name in sorted(environ, key=lambda name: (name != "PREFECT_API_URL", name)):
        if name not in names and (
            not name.startswith(ENVIRONMENT_PREFIX)
            or name.startswith(VARIABLE_PREFIX)
            or name in RUN_VARIABLES | CREDENTIAL_VARIABLES
        ):
            continue
        key = names.get(name)
        if key is None:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
            if close:
                warnings.append(f"`{name}` is no setting; did you mean `{close[0]}`?")
            continue
        try:
            _refuse_placeholders(environ[name])
            found[key] = (name, by_key()[key].metadata["kind"].from_text(environ[name]))
        except ConfigError as error:
            faults.append(_fault(f"{name}: {error.summary}{_because(error)}"))
    return found, warnings


def _from_file(path: Path, scope: Scope, faults: list[ConfigError]) -> dict[str, tuple[str, object]]:
    from fetchml.config.yaml_file import load_yaml

    known = by_key()
    found: dict[str, tuple[str, object]] = {}
    seen: set[str] = set()
    try:
        tree = load_yaml(path)
    except ConfigError as error:
        faults.append(error)
        return found
    for key, value in _flattened(tree, known):
        if key in seen:
            faults.append(_fault(f"{path}: `{key}` is set twice, in two spellings"))
            continue
        seen.add(key)
        item = known.get(key)
        if item is None and is_credential(key):
            faults.append(_fault(f"{path}: `{key}`: no secret is read from a file; {CREDENTIALS_HINT}"))
        elif item is None:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            nearest = f"; did you mean `{close[0]}`?" if close else ""
            faults.append(_fault(f"{path}: unknown key `{key}`{nearest}"))
        elif key == "home":
            faults.append(_fault(f"{path}: `home` cannot be set in a file that is found through it; use FETCHML_HOME"))
        elif scope is Scope.PROJECT and item.metadata["scope"] is Scope.HOST:
            faults.append(
                _fault(f"{path}: `{key}` is a setting of the machine; set it in the user file or by {variable_of(key)}")
            )
        else:
            try:
                _refuse_placeholders(value)
                found[key] = (str(path), item.metadata["kind"].from_yaml(value))
            except ConfigError as error:
                faults.append(_fault(f"{path}: `{key}`: {error.summary}{_because(error)}"))
    return found


def _refuse_placeholders(value: object) -> None:
    """Refuses what a user may think is filled in: as it stands it would name a folder `${HOME}`.

    Raises:
        ConfigError: A text in the value holds a variable or a command.
    """
    if isinstance(value, Mapping):
        value = list(cast("Mapping[object, object]", value).values())
    if isinstance(value, list):
        for item in cast("list[object]", value):
            _refuse_placeholders(item)
    elif isinstance(value, str) and _PLACEHOLDER.search(value):
        raise ConfigError(
            f"`{value[:60]}` holds a variable or a command",
            detail="nothing is filled in, so that a project means the same everywhere",
            hint="write the value out, or give it as a flag, which your shell fills in",
        )


def _flattened(
    tree: Mapping[str, object], known: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        key = prefix + name
        if key not in known and isinstance(value, dict) and any(other.startswith(key + ".") for other in known):
            yield from _flattened(cast("dict[str, object]", value), known, key + ".")
        else:
            yield key, value


def variable_of(key: str) -> str:
    """Returns the environment variable of a setting, such as FETCHML_RESOURCES_GPUS."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "_")


_HINT = "`fetchml config show` lists every setting with its meaning"


def _fault(text: str) -> ConfigError:
    return ConfigError(text, hint=_HINT, code="bad-config")


def _because(error: ConfigError) -> str:
    if error.detail:
        return f" ({error.detail})"
    return f" ({error.hint})" if error.hint and error.hint != _HINT else ""
