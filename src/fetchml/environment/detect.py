"""Finds the file that names a project's Python packages.

Lock files come first: they say exactly what is installed. Files that fetchml cannot build from yet are named, so that
nobody wonders why they were passed over.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from fetchml.errors import Refused
from fetchml.objects.port import ObjectStore
from fetchml.snapshot.tree import FileEntry, Tree


class DependencyKind(StrEnum):
    """Forms of a dependency manifest that environments are built from."""

    UV_LOCK = "uv.lock"
    PYLOCK = "pylock.toml"
    REQUIREMENTS = "requirements"
    PYPROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependency manifest of a snapshot."""

    kind: DependencyKind
    name: str
    """Path inside the snapshot."""
    sha256: str
    included: tuple[tuple[str, str], ...] = ()
    """Other files it pulls in, as (path, digest), in the order found."""


_BY_NAME: tuple[tuple[str, DependencyKind], ...] = (
    ("uv.lock", DependencyKind.UV_LOCK),
    ("pylock.toml", DependencyKind.PYLOCK),
    ("requirements.txt", DependencyKind.REQUIREMENTS),
    ("pyproject.toml", DependencyKind.PYPROJECT),
)

UNSUPPORTED = ("poetry.lock", "environment.yml", "environment.yaml", "conda-lock.yml", "flake.lock", "Pipfile.lock")
"""Dependency manifests that are seen and not yet built from."""

_INCLUDE = re.compile(r"\s*(?:-r|--requirement|-c|--constraint)[ =]+([^\s#]+)")
_MAX_INCLUDES = 64


def detect(tree: Tree, objects: ObjectStore, folder: str = "") -> Dependencies | None:
    """Returns the dependency manifest in a folder of the tree, else in its root, else None.

    Raises:
        Refused: It includes files that are not in the snapshot.
    """
    for place in dict.fromkeys((folder.strip("/"), "")):
        for name, kind in _BY_NAME:
            path = f"{place}/{name}".lstrip("/")
            entry = tree.find(path)
            if not isinstance(entry, FileEntry):
                continue
            if kind is DependencyKind.UV_LOCK:
                pyproject = tree.find(f"{place}/pyproject.toml".lstrip("/"))
                if not isinstance(pyproject, FileEntry):
                    continue
                return Dependencies(kind, path, entry.sha256, (("pyproject.toml", pyproject.sha256),))
            if kind is DependencyKind.PYPROJECT and b"dependencies" not in objects.read(entry.sha256):
                continue  # a file with tool settings only
            included = _included(tree, objects, entry) if kind is DependencyKind.REQUIREMENTS else ()
            return Dependencies(kind, path, entry.sha256, included)
    return None


def passed_over(tree: Tree) -> list[str]:
    """Returns the dependency manifests in the root that fetchml does not build from."""
    return [name for name in UNSUPPORTED if tree.find(name) is not None]


def _included(tree: Tree, objects: ObjectStore, first: FileEntry) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    pending = [first]
    while pending:
        entry = pending.pop()
        name = entry.path.decode("utf-8", "surrogateescape")
        for line in objects.read(entry.sha256).decode("utf-8", "replace").splitlines():
            match = _INCLUDE.match(line)
            if match is None or "://" in match.group(1):
                continue
            path = _joined(name.rpartition("/")[0], match.group(1))
            other = tree.find(path)
            if not isinstance(other, FileEntry):
                raise Refused(
                    f"`{name}` includes `{match.group(1)}`, which is not in the snapshot",
                    hint="add the file to the project, or take it out of the ignore files",
                    code="dependencies-incomplete",
                )
            if path not in found:
                found[path] = other.sha256
                pending.append(other)
            if len(found) > _MAX_INCLUDES:
                raise Refused(f"`{name}` includes more than {_MAX_INCLUDES} files", code="dependencies-incomplete")
    return tuple(found.items())


def _joined(folder: str, path: str) -> str:
    parts = folder.split("/") if folder else []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return path
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
