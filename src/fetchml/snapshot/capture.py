"""Captures a project's files at this moment, so that later edits never reach the run."""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from fetchml.errors import ConfigError
from fetchml.objects.port import Added, ChangedWhileRead, ObjectBatch, ObjectStore
from fetchml.snapshot.found import Found, Limits
from fetchml.snapshot.git import git_top, tracked_files
from fetchml.snapshot.ignore import NEVER, Rules, rules_above
from fetchml.snapshot.known import Known, KnownFiles, is_settled, stamp_of, unchanged
from fetchml.snapshot.oddities import oddities
from fetchml.snapshot.refusals import kind_of, refusal, too_large
from fetchml.snapshot.secrets_found import MAX_READ_BYTES, is_allowed, is_named, secret_in_file
from fetchml.snapshot.tree import (
    Entry,
    FileEntry,
    LinkEntry,
    Tree,
    folders_above,
    link_fault,
    make_tree,
    path_fault,
    shown,
)

_READ_TRIES = 3
_READERS = min(8, os.cpu_count() or 1)
_GROUP = 16
"""Files that one thread reads in a go; a tree of small files would be all hand-over otherwise."""
_WORTH_BYTES = 1024 * 1024
"""Up to so much in all, threads take longer to start than to help."""
_PART_BYTES = 64 * 1024 * 1024
_SHOWN_BYTES = 100


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A captured tree."""

    commit_id: str
    tree: Tree
    notes: tuple[str, ...] = ()
    """What a user should know of files that were captured all the same."""


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
    found = scan(root, limits, home)
    before = known.load(root) if known is not None else {}
    after: Known = {}
    entries: list[Entry] = []
    unread = list(_unread(root, found, objects, before, after, entries))
    suspects = _suspects(root, found, unread)
    _refuse_secrets(suspects, limits.allow_secrets)
    reader = _Reader(root, unread, observe)
    commit_id = ""
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
    if known is not None and after != before:
        known.save(root, after)
    notes = oddities({item.path: item.status for item in found}, suspects, os.geteuid())
    return Snapshot(commit_id, make_tree(entries), notes)


def _unread(
    root: Path, found: list[Found], objects: ObjectStore, before: Known, after: Known, entries: list[Entry]
) -> Iterator[Found]:
    """Adds the links, and the files that are known and stored; yields the others."""
    files: list[tuple[Found, str | None]] = []
    for item in found:
        if item.is_link:
            entries.append(LinkEntry(item.path, os.readlink(os.fsencode(root) + b"/" + item.path)))
        else:
            files.append((item, unchanged(before, item.path, item.status)))
    digests = {digest for _, digest in files if digest is not None}
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


def scan(root: Path, limits: Limits, home: Path | None = None) -> list[Found]:
    """Returns what belongs to a snapshot, without reading file contents; order is not defined. See `capture`.

    Raises:
        Refused: See `capture`.
        ConfigError: The folder cannot be read.
    """
    tracked = tracked_files(root)
    found: list[Found] = []
    faults: list[str] = []
    total_bytes = 0
    for path, status in _walk(root, tracked, faults, _inside(root, home), limits):
        mode = status.st_mode
        if stat.S_ISREG(mode):
            total_bytes += status.st_size
        elif not stat.S_ISLNK(mode):
            faults.append(f"{shown(path)}: is a {kind_of(mode)}, not a file")
            continue
        found.append(Found(path, status))
        # Counting on a little shows the user what is large, but an endless tree must end.
        if len(found) > 4 * limits.max_files:
            break
    if len(found) > limits.max_files or total_bytes > limits.max_bytes:
        raise too_large(root, found, total_bytes, limits)
    faults += _link_faults(root, found)
    if faults:
        raise refusal("the code tree holds what cannot be captured", faults, "remove it, or list it in .fetchmlignore")
    return found


def _inside(root: Path, home: Path | None) -> str | None:
    """Returns the path of the home folder below the root, or None if it lies elsewhere."""
    if home is None:
        return None
    root, home = root.resolve(), home.resolve()
    return str(home.relative_to(root)) if home.is_relative_to(root) else None


def _walk(
    root: Path, tracked: frozenset[bytes], faults: list[str], home: str | None, limits: Limits
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yields what is not ignored, folder by folder; iterative, as nobody knows how deep it is."""
    file_system = None if limits.other_file_systems else _device(root)
    tracked_folders = {folder for path in tracked for folder in folders_above(path)}
    # Of a folder that is left out, what git tracks is taken, and nothing else.
    pending: list[tuple[str, Rules, bool]] = [("", rules_above(git_top(root), root), False)]
    while pending:
        folder, rules, is_left_out = pending.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = list(listing)
        except OSError as error:
            if not folder:
                raise ConfigError(f"cannot read `{root}`", detail=error.strerror) from error
            faults.append(f"{shown(os.fsencode(folder))}: {error.strerror}")
            continue
        rules = rules.entered(root, folder, {entry.name for entry in entries})
        for entry in entries:
            path = folder + entry.name
            raw = os.fsencode(path)
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name in NEVER or path == home:
                continue
            is_ignored = is_left_out or rules.ignores(path, is_folder=is_folder)
            if is_ignored and raw not in (tracked_folders if is_folder else tracked):
                continue
            fault = path_fault(raw)
            if fault is not None:
                faults.append(f"{shown(raw[:_SHOWN_BYTES])}...: {fault}")
            elif is_folder and file_system is not None and _device(entry) not in (None, file_system):
                faults.append(f"{shown(raw)}: lies on another file system (`snapshot.other_file_systems` is false)")
            elif is_folder:
                pending.append((path + "/", rules, is_ignored))
            else:
                try:
                    yield raw, entry.stat(follow_symlinks=False)
                except OSError as error:
                    if error.errno != errno.ENOENT:  # deleted since it was listed: as if it had never been there
                        faults.append(f"{shown(raw)}: {error.strerror}")


def _device(folder: Path | os.DirEntry[str]) -> int | None:
    try:
        return folder.stat(follow_symlinks=isinstance(folder, Path)).st_dev
    except OSError:  # told when it is entered
        return None


def _link_faults(root: Path, found: list[Found]) -> Iterator[str]:
    links = {item.path: os.readlink(os.fsencode(root) + b"/" + item.path) for item in found if item.is_link}
    for path, target in sorted(links.items()):
        fault = link_fault(path, links)
        if fault is not None:
            yield f"{shown(path)}: links {fault} `{shown(target)}`"
