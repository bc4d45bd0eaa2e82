"""Reads `poetry.lock` (python-poetry.org, lock version 2) as requirements that uv installs.

What a lock file names is exact, so nothing is resolved anew: each package is installed as it stands, without asking
for what it depends on.
"""

import tomllib
from collections.abc import Iterator
from typing import Any, cast

from fetchml.errors import Refused

_LOCK_VERSION = "2."
_MAIN = "main"
_CODE = "dependencies-unreadable"


def poetry_requirements(lock: bytes, name: str) -> str:
    """Returns the packages of a lock file's main group, with their hashes, in the form of a requirements file.

    A lock of Poetry before 2.0 does not say which group a package is in; all that are not optional are taken then.

    Args:
        lock: Content of the lock file.
        name: Its path in the project, for the error.

    Raises:
        Refused: It is no lock file of a known form, or names a folder of the host it was made on.
    """
    try:
        document = tomllib.loads(lock.decode())
        if not str(document["metadata"]["lock-version"]).startswith(_LOCK_VERSION):
            raise Refused(
                f"`{name}` has lock version {document['metadata']['lock-version']}",
                detail=f"expected {_LOCK_VERSION}x",
                hint="lock again with a Poetry of 1.5 or later: `poetry lock`",
                code=_CODE,
            )
        packages = cast("list[dict[str, Any]]", document.get("package", []))
        return "".join(f"{line}\n" for line in _lines(packages, name))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Refused(
            f"`{name}` cannot be read", detail=str(error), hint="lock again: `poetry lock`", code=_CODE
        ) from error


def _lines(packages: list[dict[str, Any]], name: str) -> Iterator[str]:
    for package in packages:
        if package.get("optional", False) or _MAIN not in package.get("groups", [_MAIN]):
            continue
        source = package.get("source", {})
        match source.get("type", "legacy"):
            case "legacy":
                requirement = f"{package['name']}=={package['version']}"
            case "git":
                requirement = f"{package['name']} @ git+{source['url']}@{source['resolved_reference']}"
            case "url":
                requirement = f"{package['name']} @ {source['url']}"
            case kind:
                raise Refused(
                    f"`{name}` names `{package['name']}` by a {kind} of the host it was made on",
                    detail=str(source.get("url", "")),
                    hint="publish the package, or take it into the project",
                    code=_CODE,
                )
        marker = _marker(package)
        hashes = "".join(f" --hash={item['hash']}" for item in package.get("files", []) if source.get("type") != "git")
        yield requirement + (f" ; {marker}" if marker else "") + hashes


def _marker(package: dict[str, Any]) -> str:
    """Returns on which hosts a package is wanted; a package of several groups has a marker for each."""
    marker: object = package.get("markers", "")
    return str(cast("dict[str, Any]", marker).get(_MAIN, "") if isinstance(marker, dict) else marker)
