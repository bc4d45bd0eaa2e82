"""Captures a project's files at this moment, so that later edits never reach the run."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from pathlib import Path

from fetchml.errors import Corrupt, NotFound
from fetchml.objects.port import Added, ChangedWhileRead, ObjectBatch, ObjectStore
from fetchml.snapshot.found import Found, Limits
from fetchml.snapshot.known import (
    Known,
    KnownFiles,
    Last,
    Memory,
    is_settled,
    is_settled_at,
    stamp_of,
    unchanged,
)
from fetchml.snapshot.oddities import oddities
from fetchml.snapshot.refusals import refusal
from fetchml.snapshot.scan import look
from fetchml.snapshot.secrets_found import MAX_READ_BYTES, is_allowed, is_named, secret_in_file
from fetchml.snapshot.tree import Entry, FileEntry, LinkEntry, Tree, make_tree, shown, stored_tree

_READ_TRIES = 3
_READERS = min(8, os.cpu_count() or 1)
_GROUP = 16
"""Files that one thread reads in a go; a tree of small files would be all hand-over otherwise."""
_WORTH_BYTES = 1024 * 1024
"""Up to so much in all, threads take longer to start than to help."""
_PART_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Snapshot:
    """A captured tree."""

    commit_id: str
    file_count: int
    size_bytes: int
    """Sum of the sizes of all files."""
    read: Callable[[], Tree] = field(repr=False, compare=False)
    """Returns the tree."""
    notes: tuple[str, ...] = ()
    """What a user should know of files that were captured all the same."""

    @cached_property
    def tree(self) -> Tree:
        """The tree; read when it is asked for."""
        return self.read()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a capture has come."""

    files: int
    """Files that were read."""
    size_bytes: int
    """Bytes that were read."""
    total_files: int
    """Files that have to be read: new ones and those that were changed."""
    total_bytes: int


Observe = Callable[[Progress], None]


def capture(
    root: Path,
    objects: ObjectStore,
    limits: Limits,
    home: Path | None = None,
    known: KnownFiles | None = None,
    observe: Observe | None = None,
) -> Snapshot:
    """Stores every file of a project and returns its snapshot; durable when it returns.

    Large trees are stored in parts, so that a capture which is interrupted and repeated goes on where it was.

    Args:
        root: Root of the project.
        objects: Where the files go.
        limits: How large it may be, and what it may hold.
        home: The home folder of fetchml, which is no part of a project even where it lies in it.
        known: Remembers files, so that those that are unchanged and stored are not read again.
        observe: Called now and then while files are read.

    Raises:
        Refused: The tree is too large or too deep, holds something that is no file, a link that leaves it, another
            file system, what looks like a secret, an unreadable file, or a file that keeps changing. All such paths
            are named at once.
        ConfigError: The folder cannot be read.
    """
    looked_at_ns = time.time_ns()
    seen = look(root, limits, home)
    memory = known.open(root) if known is not None else Memory()
    digest = seen.digest if known is not None else ""
    if digest and memory.last.seen == _key(digest, limits):
        snapshot = _as_last_time(memory.last, objects)
        if snapshot is not None:
            return snapshot
    found = seen.found()
    before = memory.files()
    after: Known = {}
    entries: list[Entry] = [LinkEntry(path, target) for path, target in seen.links.items()]
    # Before the objects are looked at: what is removed after that leaves its mark.
    marks = objects.marks({value[:2] for _, value in before.values()})
    same = frozenset(prefix for prefix, mark in marks.items() if memory.last.marks.get(prefix) == mark)
    unread = list(_unread(found, objects, before, after, entries, same))
    suspects = _suspects(root, found, unread)
    _refuse_secrets(suspects, limits.allow_secrets)
    reader = _Reader(root, unread, observe)
    commit_id = ""
    tree = Tree(())
    for number, part in enumerate(parts := _parts(unread), 1):
        read_at_ns = time.time_ns()
        with objects.batch() as batch:
            for item, added in zip(part, reader.read(part, batch), strict=True):
                if isinstance(added, str):
                    reader.faults.append(f"{shown(item.path)}: {added}")
                    continue
                mode = added.status.st_mode
                entries.append(FileEntry(item.path, added.status.st_size, added.sha256, bool(mode & stat.S_IXUSR)))
                # What looks like a secret is looked at each time: tomorrow it may not be allowed.
                if is_settled(added.status, read_at_ns) and item.path not in suspects:
                    after[item.path] = (stamp_of(added.status), added.sha256)
            if reader.faults:
                hint = "close what writes to them, or list them in .fetchmlignore"
                raise refusal("some files cannot be captured", reader.faults, hint)
            if number == len(parts):
                tree = make_tree(entries)
                commit_id = batch.put_bytes(tree.canonical)
    notes = oddities({item.path: item.status for item in found}, suspects, os.geteuid())
    snapshot = Snapshot(commit_id, len(tree.files), tree.size_bytes, lambda: tree, notes)
    if known is not None:
        is_whole = len(after) + len(seen.links) == len(found) and is_settled_at(seen.changed_at_ns, looked_at_ns)
        last = _last(snapshot, _key(digest, limits) if is_whole and not unread else None, marks, after)
        if after != before or last != memory.last:
            known.save(root, after, last)
    return snapshot


def _key(digest: str, limits: Limits) -> str:
    """Returns what has to be the same for a project to be the same snapshot with the same notes."""
    return hashlib.sha256(repr((digest, limits, os.geteuid())).encode()).hexdigest()


def _last(snapshot: Snapshot, seen: str | None, marks: Mapping[str, str], after: Known) -> Last:
    """Returns what is to be known of the whole project."""
    groups = {digest[:2] for _, digest in after.values()}
    return Last(
        marks={prefix: mark for prefix, mark in sorted(marks.items()) if prefix in groups},
        seen=seen if groups <= marks.keys() else None,
        commit_id=snapshot.commit_id,
        file_count=snapshot.file_count,
        size_bytes=snapshot.size_bytes,
        notes=snapshot.notes,
    )


def _as_last_time(last: Last, objects: ObjectStore) -> Snapshot | None:
    """Returns the snapshot of the last time, if all of its objects are there."""
    if objects.marks(last.marks) != last.marks:
        return None
    try:
        content = objects.read(last.commit_id)
    except (NotFound, Corrupt):
        return None
    with objects.batch() as batch:
        batch.put_bytes(content)  # it is in use today
    return Snapshot(last.commit_id, last.file_count, last.size_bytes, lambda: stored_tree(content), last.notes)


def _unread(
    found: list[Found],
    objects: ObjectStore,
    before: Known,
    after: Known,
    entries: list[Entry],
    same: frozenset[str],
) -> Iterator[Found]:
    """Adds the files that are known and stored; yields the others.

    Args:
        found: Files and links.
        objects: The store.
        before: What was known of the files.
        after: Is given what is known still.
        entries: Is given the entries of the files.
        same: Groups of objects from which nothing was removed since all that is known was seen there.
    """
    files = [(item, unchanged(before, item.path, item.status)) for item in found if not item.is_link]
    digests = {digest for _, digest in files if digest is not None and digest[:2] not in same}
    missing: set[str] = set()
    if digests:
        with objects.batch() as batch:
            missing = batch.keep(digests)
    for item, digest in files:
        if digest is None or digest in missing:
            yield item
        else:
            mode = item.status.st_mode
            entries.append(FileEntry(item.path, item.status.st_size, digest, bool(mode & stat.S_IXUSR)))
            after[item.path] = before[item.path]


def _suspects(root: Path, found: list[Found], unread: list[Found]) -> dict[bytes, str]:
    """Returns the files that look like secrets, and why; those that were read before were looked at then."""
    suspects = {item.path: "has the name of a secret" for item in found if not item.is_link and is_named(item.path)}
    for item in unread:
        if item.path not in suspects and 0 < item.status.st_size <= MAX_READ_BYTES:
            kind = secret_in_file(root / os.fsdecode(item.path))
            if kind is not None:
                suspects[item.path] = f"holds {kind}"
    return suspects


def _refuse_secrets(suspects: Mapping[bytes, str], allowed: tuple[str, ...]) -> None:
    faults = [f"{shown(path)}: {why}" for path, why in sorted(suspects.items()) if not is_allowed(path, allowed)]
    if faults:
        hint = "list them in .fetchmlignore, or allow each with `--allow-secret PATH` or `snapshot.allow_secrets`"
        raise refusal("the code tree holds what looks like secrets", faults, hint, "snapshot-secrets")


def _parts(items: list[Found]) -> list[list[Found]]:
    """Cuts files into parts that are stored together; one without a file for a tree without any."""
    parts: list[list[Found]] = [[]]
    size_bytes = 0
    for item in items:
        size_bytes += item.status.st_size
        if size_bytes > _PART_BYTES and parts[-1]:
            parts.append([])
            size_bytes = item.status.st_size
        parts[-1].append(item)
    return parts


class _Reader:
    """Reads files into batches, several at a time."""

    def __init__(self, root: Path, items: list[Found], observe: Observe | None) -> None:
        self.faults: list[str] = []
        self._root = root
        self._observe = observe
        self._done_files = self._done_bytes = 0
        self._total_files = len(items)
        self._total_bytes = sum(item.status.st_size for item in items)

    def read(self, items: list[Found], batch: ObjectBatch) -> Iterator[Added | str]:
        """Yields what each file is, or why it cannot be captured, in their order."""
        groups = [items[start : start + _GROUP] for start in range(0, len(items), _GROUP)]
        threads = min(_READERS, len(groups)) if sum(item.status.st_size for item in items) > _WORTH_BYTES else 1
        if threads <= 1:
            for group in groups:
                yield from self._counted(group, self._group(group, batch))
            return
        pool = ThreadPoolExecutor(threads, "fetchml-capture")
        try:
            results = pool.map(self._group, groups, repeat(batch, len(groups)))
            for group, result in zip(groups, results, strict=True):
                yield from self._counted(group, result)
        finally:
            pool.shutdown(cancel_futures=True)

    def _counted(self, group: list[Found], result: list[Added | str]) -> list[Added | str]:
        self._done_files += len(group)
        self._done_bytes += sum(item.status.st_size for item in group)
        if self._observe is not None:
            self._observe(Progress(self._done_files, self._done_bytes, self._total_files, self._total_bytes))
        return result

    def _group(self, group: list[Found], batch: ObjectBatch) -> list[Added | str]:
        return [self._one(self._root / os.fsdecode(item.path), batch) for item in group]

    @staticmethod
    def _one(path: Path, batch: ObjectBatch) -> Added | str:
        for _ in range(_READ_TRIES):
            try:
                return batch.add_file(path)
            except ChangedWhileRead:
                continue
            except OSError as error:
                return error.strerror or str(error)
        return "keeps changing while it is read"
