"""Writes a commented `fetchml.yaml` for a project."""

import os
from pathlib import Path

from fetchml.config.layers import PROJECT_FILE
from fetchml.config.settings import Scope, by_key
from fetchml.durable import write_atomic
from fetchml.errors import Conflict

_HEAD = """\
# fetchml: settings of this project. Every line that is commented out shows the default.
# `fetchml config show` tells what holds now and why. Data belongs into datasets, not here.
"""


def init(folder: Path, *, force: bool) -> Path:
    """Writes the file and returns its path.

    Raises:
        Conflict: There is one already.
    """
    path = folder / PROJECT_FILE
    if os.path.lexists(path) and not force:
        raise Conflict(f"`{path}` exists already", hint="`fetchml init --force` replaces it", code="file-exists")
    write_atomic(path, project_template().encode())
    return path


def project_template() -> str:
    """Returns the text of a new `fetchml.yaml`: every project setting, commented out, with its meaning."""
    lines = [_HEAD]
    section = ""
    for key, item in by_key().items():
        if item.metadata["scope"] is not Scope.PROJECT or key in ("color", "debug"):
            continue
        head, _, name = key.rpartition(".")
        if head != section:
            section = head
            if head:
                lines.append(f"# {head}:")
        indent = "#   " if head else "# "
        kind, default = item.metadata["kind"], item.default
        shown = kind.show(default) if key != "env" else None
        lines.append(f"{indent}# {item.metadata['description']}; {kind.expected}")
        lines.append(f"{indent}{name or key}: {_yaml(shown, key)}")
    return "\n".join(lines) + "\n"


def _yaml(value: object, key: str) -> str:
    if key == "env":
        return '{ EXAMPLE: "value" }'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
