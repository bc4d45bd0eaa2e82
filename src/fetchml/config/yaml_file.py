"""YAML files as strict data: one document, no tags, no aliases, no duplicate keys, no surprises.

Only `true`, `false`, `null` and decimal numbers have a type; everything else is text, so `no` is Norway and `1:30` is
not ninety. Size and depth are capped before anything is built, because a few hundred bytes of aliases can expand to
millions of nodes (yaml/pyyaml issue 235).
"""

import os
import re
import stat
from pathlib import Path
from typing import Any, cast

import yaml

from fetchml.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's core types only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the library's own class attribute


def _resolve(tag: str, pattern: str, first: list[str]) -> None:
    cast("Any", _StrictLoader).add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z"), first)


_resolve("bool", r"true|false", ["t", "f"])
_resolve("null", r"null|~|", ["n", "~", ""])
_resolve("int", r"-?(0|[1-9][0-9]{0,17})", list("-0123456789"))
_resolve("float", r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}", list("-0123456789"))


def load_yaml(path: Path) -> dict[str, object]:
    """Reads a YAML file that holds one mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: The file cannot be read, is no regular file, is too large or too deep, or is not strict YAML.
    """
    text = _read_text(path)
    _check_events(path, text)
    try:
        node = yaml.compose(text, Loader=_StrictLoader)
        if node is None:
            return {}
        value = _built(path, node)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML itself lets some of these pass
        raise _broken(path, error) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"`{path}` does not hold settings", detail="expected `key: value` lines")
    return value  # pyright: ignore[reportUnknownVariableType]  # keys are checked in _built


def _read_text(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"`{path}` is not a regular file")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read `{path}`", detail=error.strerror) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"`{path}` is larger than 1 MB", detail="no settings file needs that")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{path}` is not UTF-8 text", detail=str(error)) from error


def _check_events(path: Path, text: str) -> None:
    depth = documents = 0
    try:
        for event in yaml.parse(text, Loader=_StrictLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ConfigError(f"`{path}` uses YAML anchors or aliases", hint="write the value out")
            if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
                raise ConfigError(f"`{path}` uses a YAML tag (`!...`)", hint="remove the tag")
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise ConfigError(f"`{path}` is nested deeper than {MAX_DEPTH} levels")
            if documents > 1:
                raise ConfigError(f"`{path}` holds several YAML documents", hint="keep one; remove `---`")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _broken(path, error) from error


def _built(path: Path, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"`{path}` line {key_node.start_mark.line + 1}: a key must be a word")
            if key_node.value in built:
                raise ConfigError(f"`{path}` line {key_node.start_mark.line + 1}: `{key_node.value}` is set twice")
            built[key_node.value] = _built(path, value_node)
        return built
    if isinstance(node, yaml.SequenceNode):
        return [_built(path, item) for item in node.value]
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return node.value == "true"
        case "int":
            return int(node.value)
        case "float":
            return float(node.value)
        case _:
            return str(node.value)


def _broken(path: Path, error: Exception) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f" line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return ConfigError(f"`{path}`{where}: {problem}", detail="the file is not valid YAML", code="bad-yaml")
