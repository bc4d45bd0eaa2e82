"""Finds the file that names a project's Python packages.

Lock files come first: they say exactly what is installed. Files that fetchml cannot build from yet are named, so that
nobody wonders why they were passed over.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from fetchml.environment.poetry import poetry_requirements
from fetchml.errors import Refused
from fetchml.objects.port import ObjectStore
from fetchml.snapshot.tree import FileEntry, Tree


class DependencyKind(StrEnum):
    """Forms of a dependency manifest that environments are built from."""

    UV_LOCK = "uv.lock"
    PYLOCK = "pylock.toml"
    POETRY_LOCK = "poetry.lock"
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
    ("poetry.lock", DependencyKind.POETRY_LOCK),
    ("requirements.txt", DependencyKind.REQUIREMENTS),
    ("pyproject.toml", DependencyKind.PYPROJECT),
)
_ONE_OF_SEVERAL = re.compile(r"requirements[-_.].+\.txt|pylock\..+\.toml")
"""Names of which a project may have several, one for each purpose."""

_CONDA = (
    "in the activated environment `pip freeze > requirements.txt`, or build an image with it and set "
    "`environment.mode: as-is`"
)
UNSUPPORTED = {
    "environment.yml": _CONDA,
    "environment.yaml": _CONDA,
    "conda-lock.yml": _CONDA,
    "flake.lock": "build an image with it, or call fetchml in `nix develop`, and set `environment.mode: as-is`",
    "Pipfile.lock": "`pipenv requirements --hash > requirements.txt`",
}
"""Dependency manifests that are seen and not built from, as they need tools beside Python's own, and the way out."""

_INCLUDE = re.compile(r"\s*(?:-r|--requirement|-c|--constraint)[ =]+([^\s#]+)")
_MAX_INCLUDES = 64


def detect(tree: Tree, objects: ObjectStore, folder: str = "", chosen: str | None = None) -> Dependencies | None:
    """Returns the dependency manifest in a folder of the tree, else in its root, else None.

    Args:
        tree: The snapshot.
        objects: Where its files are.
        folder: Working folder of the command.
        chosen: Path of the manifest, relative to the root, where the user has named one.

    Raises:
        Refused: The one that was named is not there or of no known form, or it includes files that are not in the
            snapshot.
    """
    if chosen is not None:
        return _named(tree, objects, chosen)
    for place in dict.fromkeys((folder.strip("/"), "")):
        for name, kind in _BY_NAME:
            found = _at(tree, objects, f"{place}/{name}".lstrip("/"), kind)
            if found is not None:
                return found
    return None


def passed_over(tree: Tree) -> list[str]:
    """Returns the dependency manifests in the root that fetchml does not take by itself."""
    there = {entry.path.decode("utf-8", "replace") for entry in tree.entries}
    several = sorted(name for name in there if _ONE_OF_SEVERAL.fullmatch(name))
    return [*(name for name in UNSUPPORTED if name in there), *several]


def _named(tree: Tree, objects: ObjectStore, path: str) -> Dependencies:
    name = path.rpartition("/")[2]
    kinds = dict(_BY_NAME)
    if name not in kinds and _ONE_OF_SEVERAL.fullmatch(name):
        kinds[name] = DependencyKind.PYLOCK if name.startswith("pylock") else DependencyKind.REQUIREMENTS
    found = _at(tree, objects, path, kinds[name]) if name in kinds else None
    if found is None:
        why = "there is no such file in the snapshot" if name in kinds else "it is of no form that is built from"
        raise Refused(
            f"`{path}` cannot be the dependency manifest: {why}",
            detail=f"`environment.manifest` names it; known: {', '.join(dict(_BY_NAME))}, requirements-*.txt",
            hint=UNSUPPORTED.get(name, "name a file of the project, relative to its root"),
            code="no-dependencies",
        )
    return found


def _at(tree: Tree, objects: ObjectStore, path: str, kind: DependencyKind) -> Dependencies | None:
    entry = tree.find(path)
    if not isinstance(entry, FileEntry):
        return None
    if kind is DependencyKind.UV_LOCK:
        place = path.rpartition("/")[0]
        pyproject = tree.find(f"{place}/pyproject.toml".lstrip("/"))
        if not isinstance(pyproject, FileEntry):
            return None
        return Dependencies(kind, path, entry.sha256, (("pyproject.toml", pyproject.sha256),))
    if kind is DependencyKind.PYPROJECT and b"dependencies" not in objects.read(entry.sha256):
        return None  # a file with tool settings only
    if kind is DependencyKind.POETRY_LOCK:
        poetry_requirements(objects.read(entry.sha256), path)  # a lock that cannot be built from is told of at once
    included = _included(tree, objects, entry) if kind is DependencyKind.REQUIREMENTS else ()
    return Dependencies(kind, path, entry.sha256, included)


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
