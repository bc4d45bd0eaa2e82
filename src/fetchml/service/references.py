"""What runs refer to: the objects they cannot do without, and what those that have not ended use on this host.

Whatever looks like a digest in a plan, a manifest, or another file of the store counts as a reference: keeping an
object too many costs a little space, removing one too many costs a run.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fetchml.errors import FetchmlError
from fetchml.home import Home
from fetchml.models.ids import is_digest
from fetchml.objects.directory import DirectoryObjects
from fetchml.snapshot.tree import read_tree
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_TYPED = b'"type":"fetchml.'
_TAIL_BYTES = 256
_NOT_OURS = frozenset({"runs", "objects", "locks"})


class References:
    """Objects that runs refer to, directly or through a tree.

    Args:
        home: The home folder.
        objects: The objects.
        left_out: Runs that do not count, as they are to be removed.
    """

    def __init__(self, home: Home, objects: DirectoryObjects, left_out: frozenset[str] = frozenset()) -> None:
        self.digests: set[str] = set()
        self.unreadable: dict[str, str] = {}
        """Runs of which it cannot be told what they need, and why."""
        self._home = home
        self._objects = objects
        self._left_out = left_out
        self._read: set[str] = set()
        self._followed: set[str] = set()

    def update(self) -> None:
        """Reads the runs that came since the last time, and what else the store says."""
        for run_id in self._home.store.run_ids():
            if run_id not in self._read and run_id not in self._left_out:
                self._read.add(run_id)
                try:
                    self._read_run(self._home.store.folder(run_id))
                except (FetchmlError, OSError, ValueError, KeyError, TypeError) as error:
                    text = error.summary if isinstance(error, FetchmlError) else str(error)
                    self.unreadable[run_id] = text
        self._read_rest(self._home.settings.store)

    def follow(self, digest: str) -> None:
        """Adds an object and everything it names, if it is one of fetchml's own kinds."""
        self.digests.add(digest)
        if digest not in self._followed and self.is_typed(digest):
            self._follow_content(digest)

    def is_typed(self, digest: str) -> bool:
        """Tells whether an object is a tree, or another list of objects that fetchml made."""
        try:
            with self._objects.path(digest).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                return _TYPED in file.read()
        except OSError:
            return False

    def _read_run(self, folder: RunFolder) -> None:
        manifest, plan = folder.manifest.read_bytes(), folder.plan.read_bytes()
        commit_id = cast("dict[str, Any]", json.loads(manifest))["identity"]["commit_id"]
        planned = cast("dict[str, Any]", json.loads(plan))["snapshot_id"]
        for digest in (commit_id, planned):
            if not is_digest(digest):
                raise ValueError("it does not name its snapshot")
            if digest not in self._followed:
                tree = read_tree(self._objects.read(digest))
                self.digests.update(entry.sha256 for entry in tree.files)
                self.digests.add(digest)
                self._followed.add(digest)
        self._follow_all(manifest + plan)

    def _read_rest(self, store: Path) -> None:
        """Reads what else lies in the store, such as a catalogue; SQLite keeps text as it is, so that is read too."""
        for top in sorted(store.iterdir()) if store.is_dir() else ():
            if top.name in _NOT_OURS:
                continue
            for path in (top, *top.rglob("*")) if top.is_dir() else (top,):
                if path.is_file() and not path.is_symlink():
                    try:
                        self._follow_all(path.read_bytes())
                    except (FetchmlError, OSError) as error:
                        self.unreadable[top.name] = error.summary if isinstance(error, FetchmlError) else str(error)

    def _follow_all(self, content: bytes) -> None:
        for found in _DIGEST.findall(content):
            digest = found.decode()
            self.digests.add(digest)
            # What a record names may be a list of a kind that is not known here: all that is JSON is looked into.
            if digest not in self._followed and self._is_json(digest):
                self._follow_content(digest)

    def _follow_content(self, digest: str) -> None:
        self._followed.add(digest)
        for found in _DIGEST.findall(self._objects.read(digest)):
            self.follow(found.decode())

    def _is_json(self, digest: str) -> bool:
        try:
            with self._objects.path(digest).open("rb") as file:
                return file.read(1) in (b"{", b"[")
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class InUse:
    """What runs that have not ended use on this host."""

    runs: frozenset[str]
    commit_ids: frozenset[str]
    environment_keys: frozenset[str]
    is_known: bool
    """Whether all of them could be read; if not, everything may be in use."""


def in_use(home: Home) -> InUse:
    """Returns what is in use now."""
    rows = RunIndex(home.settings.store).unfinished()
    commits: set[str] = set()
    keys: set[str] = set()
    is_known = True
    for row in rows:
        try:
            manifest = home.store.read_manifest(row.run_id)
        except FetchmlError:
            is_known = False
            continue
        commits.add(manifest.identity.commit_id)
        if manifest.environment.key is not None:
            keys.add(manifest.environment.key)
    return InUse(frozenset(row.run_id for row in rows), frozenset(commits), frozenset(keys), is_known)
