"""Turns a snapshot back into files, in a cache that all runs of one commit share."""

import hashlib
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fetchml import durable
from fetchml.errors import Corrupt, FetchmlError, Refused
from fetchml.models.ids import is_digest
from fetchml.objects.port import ObjectStore
from fetchml.snapshot.tree import Entry, FileEntry, LinkEntry, Tree, folders_above, read_tree


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
            if not _matches(folder, tree):
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
    with durable.translated("create", folder), _told_apart(folder):
        folder.mkdir(parents=True)
        made: set[bytes] = set()
        for entry in tree.entries:
            target = folder / os.fsdecode(entry.path)
            for parent in folders_above(entry.path):
                if parent not in made:
                    made.add(parent)
                    os.mkdir(folder / os.fsdecode(parent))
            if isinstance(entry, LinkEntry):
                os.symlink(entry.target, os.fsencode(target))
            else:
                objects.copy_to(entry.sha256, target, executable=entry.executable)
        _protect(folder)


@contextmanager
def _told_apart(folder: Path) -> Generator[None]:
    """Refuses a tree of which two names are one here: the second would replace the first, or be it."""
    try:
        yield
    except (FileExistsError, FetchmlError) as error:
        if not isinstance(error if isinstance(error, OSError) else error.__cause__, FileExistsError):
            raise
        raise Refused(
            "two names of the code are one name on this file system",
            detail=f"`{folder.parent}` does not tell capital letters, or Unicode forms, apart: {error}",
            hint="rename one of them, or choose another file system with FETCHML_HOME",
            code="names-collide",
        ) from error


def remove_tree(folder: Path) -> None:
    """Removes a read-only tree, or whatever else has its name; a missing one is fine."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    folders = [os.fsencode(folder)]
    for current in folders:  # grows as it is gone through: depth is no limit
        with suppress(OSError):
            os.chmod(current, 0o755)
            with os.scandir(current) as listing:
                for entry in listing:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        os.unlink(entry.path)
    for current in reversed(folders):
        with suppress(OSError):
            os.rmdir(current)


def _protect(folder: Path) -> None:
    folders = [os.fsencode(folder)]
    for current in folders:
        with os.scandir(current) as listing:
            folders += [entry.path for entry in listing if entry.is_dir(follow_symlinks=False)]
    for current in reversed(folders):
        os.chmod(current, 0o555)


def _matches(folder: Path, tree: Tree) -> bool:
    """Tells whether a folder holds exactly a tree; reads every byte."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    expected = {entry.path: entry for entry in tree.entries}
    expected_folders = {parent for entry in tree.entries for parent in folders_above(entry.path)}
    base = os.fsencode(folder)
    pending = [b""]
    try:
        while pending:
            inside = pending.pop()
            if stat.S_IMODE(os.stat(os.path.join(base, inside)).st_mode) != 0o555:
                return False
            with os.scandir(os.path.join(base, inside)) as listing:
                for found in listing:
                    path = inside + found.name
                    if found.is_dir(follow_symlinks=False):
                        expected_folders.remove(path)
                        pending.append(path + b"/")
                    elif not _is_entry(found.path, expected.pop(path)):
                        return False
    except (OSError, KeyError):  # KeyError: something is there that should not be
        return False
    return not expected and not expected_folders


def _is_entry(path: bytes, entry: Entry) -> bool:
    if isinstance(entry, LinkEntry):
        return os.path.islink(path) and os.readlink(path) == entry.target
    return _same_file(path, entry)


def _same_file(path: bytes, entry: FileEntry) -> bool:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size_bytes:
        return False
    if stat.S_IMODE(status.st_mode) != (0o555 if entry.executable else 0o444):
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
