"""The canonical tree: what a snapshot is, and how its commit id comes about.

A tree lists files and links by path, sorted by the bytes of the path; folders exist only through what is in them. Of a
file's mode only the owner's execute bit counts. The commit id is the SHA-256 of the tree's RFC 8785 JSON, whose `type`
field keeps a file from posing as a tree.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fetchml.canonical import plain_canonical_bytes
from fetchml.errors import Corrupt
from fetchml.models.ids import is_digest

TREE_TYPE = "fetchml.tree.v1"

# What copies and removes trees may call itself for each folder, and a path has room below any root: 4096 bytes in all.
MAX_FOLDERS = 200
MAX_PATH_BYTES = 2000
_MAX_SIZE_BYTES = 2**53 - 1  # the largest integer of canonical JSON
_MAX_TARGET_BYTES = 4095
_MAX_FOLLOWED = 40  # as in Linux, path_resolution(7)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a tree."""

    path: bytes
    size_bytes: int
    sha256: str
    executable: bool


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A symbolic link of a tree; its target is relative and stays inside."""

    path: bytes
    target: bytes


Entry = FileEntry | LinkEntry


@dataclass(frozen=True, slots=True)
class Tree:
    """All entries of a snapshot, sorted by path."""

    entries: tuple[Entry, ...]

    @property
    def canonical(self) -> bytes:
        """The bytes whose SHA-256 is the commit id."""
        return plain_canonical_bytes({"type": TREE_TYPE, "entries": [_as_json(entry) for entry in self.entries]})

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of all files."""
        return sum(entry.size_bytes for entry in self.entries if isinstance(entry, FileEntry))

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The files, without the links."""
        return tuple(entry for entry in self.entries if isinstance(entry, FileEntry))

    def find(self, path: str) -> Entry | None:
        """Returns the entry at a path, or None."""
        wanted = path.encode("utf-8", "surrogateescape")
        return next((entry for entry in self.entries if entry.path == wanted), None)


def import_roots(tree: Tree) -> tuple[str, ...]:
    """Returns the folders a project's own packages are imported from when it is installed in place.

    Environments hold what a project depends on, not the project: its code comes from the snapshot.
    """
    if tree.find("pyproject.toml") is None and tree.find("setup.py") is None:
        return ()
    return ("src",) if any(entry.path.startswith(b"src/") for entry in tree.entries) else ("",)


def make_tree(entries: list[Entry]) -> Tree:
    """Returns the tree of some entries, in canonical order."""
    return Tree(tuple(sorted(entries, key=lambda entry: entry.path)))


def stored_tree(content: bytes) -> Tree:
    """Reads the bytes of a tree object that this program has stored, and whose digest was verified."""
    return Tree(tuple(_from_json(item) for item in json.loads(content)["entries"]))


def read_tree(content: bytes) -> Tree:
    """Reads the bytes of a tree object.

    Raises:
        Corrupt: The bytes are no canonical tree.
    """
    try:
        value = json.loads(content)
        if value["type"] != TREE_TYPE:
            raise ValueError("it is another kind of object")
        tree = Tree(tuple(_from_json(item) for item in value["entries"]))
        if tree.canonical != content or list(tree.entries) != sorted(tree.entries, key=lambda entry: entry.path):
            raise ValueError("it is not in canonical form")
        _check_entries(tree.entries)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt("an object is not a valid code tree", detail=str(error), code="tree-damaged") from error
    return tree


def shown(path: bytes) -> str:
    """Returns a path for people, with control codes and foreign bytes escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def path_fault(path: bytes) -> str | None:
    """Returns why a path cannot be part of a tree, in words; None if it can."""
    if path.count(b"/") > MAX_FOLDERS:
        return f"lies in more than {MAX_FOLDERS} folders"
    return f"has a path longer than {MAX_PATH_BYTES} bytes" if len(path) > MAX_PATH_BYTES else None


def link_fault(path: bytes, links: Mapping[bytes, bytes]) -> str | None:
    """Returns where a link leads that leaves its tree, in words; None if it stays inside, there or not.

    Args:
        path: Path of the link in the tree.
        links: Targets of all links of the tree, by path: the way may lead through others.
    """
    if not links[path]:
        return "nowhere"
    place = path.split(b"/")[:-1]
    pending = links[path].split(b"/")[::-1]
    if not pending[-1]:
        return "to the absolute path"
    followed = 0
    while pending:
        part = pending.pop()
        if part == b"..":
            if not place:
                return "out of the project, to"
            place.pop()
        elif part not in (b"", b"."):
            place.append(part)
            # The last one is left to itself: it is a link of the tree, too.
            target = links.get(b"/".join(place)) if pending and len(place) <= MAX_FOLDERS else None
            if target is None:
                continue
            followed += 1
            if target.startswith(b"/"):
                return "out of the project, to"
            if followed > _MAX_FOLLOWED:  # a circle leads nowhere; with a `..` in it that takes more to be sure of
                return "through too many links, to" if any(_leads_up(other) for other in links.values()) else None
            place.pop()
            pending += target.split(b"/")[::-1]
    return None


def _leads_up(target: bytes) -> bool:
    return b".." in target.split(b"/")


def _check_entries(entries: tuple[Entry, ...]) -> None:
    """Raises ValueError if the entries cannot all lie in one folder, or one leads out of it."""
    paths = {entry.path for entry in entries}
    if len(paths) != len(entries):
        raise ValueError("a path is there twice")
    links = {entry.path: entry.target for entry in entries if isinstance(entry, LinkEntry)}
    for entry in entries:
        if any(folder in paths for folder in folders_above(entry.path)):
            raise ValueError("a path lies below a file or a link")
        if entry.path in links and link_fault(entry.path, links) is not None:
            raise ValueError("a link leaves the tree")


def folders_above(path: bytes) -> Iterator[bytes]:
    """Yields the folders a path lies in, outermost first."""
    end = path.find(b"/")
    while end >= 0:
        yield path[:end]
        end = path.find(b"/", end + 1)


def _as_json(entry: Entry) -> dict[str, object]:
    item = _bytes_field("path", entry.path)
    if isinstance(entry, LinkEntry):
        return {**item, "kind": "link", **_bytes_field("target", entry.target)}
    kind = "executable" if entry.executable else "file"
    return {**item, "kind": kind, "sha256": entry.sha256, "size": entry.size_bytes}


def _from_json(item: dict[str, Any]) -> Entry:
    path = _field_bytes("path", item)
    _check_path(path)
    if item["kind"] == "link":
        target = _field_bytes("target", item)
        if b"\0" in target or len(target) > _MAX_TARGET_BYTES:
            raise ValueError("a link is malformed")
        return LinkEntry(path, target)
    if item["kind"] not in ("file", "executable") or not is_digest(item["sha256"]):
        raise ValueError("an entry is malformed")
    if type(item["size"]) is not int or not 0 <= item["size"] <= _MAX_SIZE_BYTES:
        raise ValueError("an entry is malformed")
    return FileEntry(path, item["size"], item["sha256"], item["kind"] == "executable")


def _bytes_field(name: str, value: bytes) -> dict[str, object]:
    """Names are bytes on Linux; those that are not UTF-8 go into a field of their own, in base64."""
    try:
        return {name: value.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode("ascii")}


def _field_bytes(name: str, item: dict[str, Any]) -> bytes:
    if name in item:
        if not isinstance(item[name], str):
            raise ValueError("a name is no text")
        return cast("str", item[name]).encode("utf-8")
    return base64.b64decode(item[f"{name}_base64"], validate=True)


def _check_path(path: bytes) -> None:
    parts = path.split(b"/")
    if b"\0" in path or any(part in (b"", b".", b"..") for part in parts):
        raise ValueError("a path leaves the tree")
    if path_fault(path) is not None:
        raise ValueError(f"a path {path_fault(path)}")
