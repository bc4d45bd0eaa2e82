"""Turns a snapshot back into files, in a cache that all runs of one commit share."""

import hashlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from fetchml import durable
from fetchml.errors import Corrupt
from fetchml.models.ids import is_digest
from fetchml.objects.port import ObjectStore
from fetchml.snapshot.tree import FileEntry, LinkEntry, Tree, read_tree


class SnapshotCache:
    """Materialised snapshots: `<root>/<commit id>`, read-only.

    Args:
        root: Folder of the cache; everything in it can be rebuilt from the objects.
        objects: Where the trees and files are.
    """

    def __init__(self, root: Path, objects: ObjectStore) -> None:
        self.root = root
        self._objects = objects

    def ensure(self, commit_id: str) -> Path:
        """Returns the folder of a snapshot whose every byte was verified in this call; builds it if need be.

        Raises:
            NotFound: The tree or a file of it is not in the store.
            Corrupt: An object is damaged.
        """
        if not is_digest(commit_id):
            raise Corrupt(f"`{commit_id[:70]}` is not a commit id")
        tree = read_tree(self._objects.read(commit_id))
        folder = self.root / commit_id
        durable.make_folder(self.root)
        with durable.locked(self.root):
            if folder.exists() and _matches(folder, tree):
                return folder
            if folder.exists():
                remove_tree(folder)
            self._build(folder, tree)
        return folder

    def _build(self, folder: Path, tree: Tree) -> None:
        temporary = self.root / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            write_tree(tree, self._objects, temporary)
            os.rename(temporary, folder)
        except BaseException:
            remove_tree(temporary)
            raise


def write_tree(tree: Tree, objects: ObjectStore, folder: Path) -> None:
    """Writes a tree into a new folder; files are verified as they are copied and left read-only."""
    with durable.translated("create", folder):
        folder.mkdir(parents=True)
        for entry in tree.entries:
            target = folder / os.fsdecode(entry.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(entry, LinkEntry):
                os.symlink(entry.target, os.fsencode(target))
            else:
                objects.copy_to(entry.sha256, target, executable=entry.executable)
        _protect(folder)


def remove_tree(folder: Path) -> None:
    """Removes a read-only tree; a missing one is fine."""
    if folder.exists():
        for current, _, _ in os.walk(folder):
            os.chmod(current, 0o755)
        shutil.rmtree(folder, ignore_errors=True)


def _protect(folder: Path) -> None:
    for current, _, _ in os.walk(folder, topdown=False):
        os.chmod(current, 0o555)


def _matches(folder: Path, tree: Tree) -> bool:
    """Tells whether a folder holds exactly a tree; reads every byte."""
    expected = {entry.path: entry for entry in tree.entries}
    base = os.fsencode(folder)
    try:
        for current, folders, names in os.walk(base):
            links = [name for name in folders if os.path.islink(os.path.join(current, name))]
            for name in [*names, *links]:
                path = os.path.join(current, name)
                entry = expected.pop(os.path.relpath(path, base), None)
                if isinstance(entry, LinkEntry):
                    if os.readlink(path) != entry.target:
                        return False
                elif not isinstance(entry, FileEntry) or not _same_file(path, entry):
                    return False
    except OSError:
        return False
    return not expected


def _same_file(path: bytes, entry: FileEntry) -> bool:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size_bytes:
        return False
    if bool(status.st_mode & stat.S_IXUSR) != entry.executable:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
