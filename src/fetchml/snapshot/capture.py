"""Captures a project's files at this moment, so that later edits never reach the run."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fetchml.errors import ConfigError, Refused
from fetchml.models.units import format_size
from fetchml.objects.port import ChangedWhileRead, ObjectStore
from fetchml.snapshot.git import git_top, tracked_files
from fetchml.snapshot.ignore import NEVER, Rules, rules_above
from fetchml.snapshot.tree import Entry, FileEntry, LinkEntry, Tree, folders_above, link_fault, make_tree, path_fault

_READ_TRIES = 3
_SHOWN = 10
_SHOWN_BYTES = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a code tree may be."""

    max_bytes: int
    max_files: int


@dataclass(frozen=True, slots=True)
class Found:
    """A file or link that belongs to the snapshot."""

    path: bytes
    """Path below the root."""
    status: os.stat_result

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A captured tree."""

    commit_id: str
    tree: Tree


def capture(root: Path, objects: ObjectStore, limits: Limits, home: Path | None = None) -> Snapshot:
    """Stores every file of a project and returns its snapshot; durable when it returns.

    Args:
        root: Root of the project.
        objects: Where the files go.
        limits: How large it may be.
        home: The home folder of fetchml, which is no part of a project even where it lies in it.

    Raises:
        Refused: The tree is too large or too deep, holds something that is no file, a link that leaves it, an
            unreadable file, or a file that keeps changing. All such paths are named at once.
        ConfigError: The folder cannot be read.
    """
    found = scan(root, limits, home)
    faults: list[str] = []
    entries: list[Entry] = []
    with objects.batch() as batch:
        for item in found:
            path = root / os.fsdecode(item.path)
            if item.is_link:
                entries.append(LinkEntry(item.path, os.readlink(os.fsencode(path))))
                continue
            for _ in range(_READ_TRIES):
                try:
                    entry = _hashed(path, item.path)
                    batch.put_file(path, entry.sha256)
                    entries.append(entry)
                    break
                except ChangedWhileRead:
                    continue
                except OSError as error:
                    faults.append(f"{shown(item.path)}: {error.strerror}")
                    break
            else:
                faults.append(f"{shown(item.path)}: keeps changing while it is read")
        if faults:
            raise _refusal(
                "some files cannot be captured", faults, "close what writes to them, or list them in .fetchmlignore"
            )
        tree = make_tree(entries)
        commit_id = batch.put_bytes(tree.canonical)
    return Snapshot(commit_id, tree)


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
    for path, status in _walk(root, tracked, faults, _inside(root, home)):
        mode = status.st_mode
        if stat.S_ISREG(mode):
            total_bytes += status.st_size
        elif not stat.S_ISLNK(mode):
            faults.append(f"{shown(path)}: is a {_kind(mode)}, not a file")
            continue
        found.append(Found(path, status))
        # Counting on a little shows the user what is large, but an endless tree must end.
        if len(found) > 4 * limits.max_files:
            break
    if len(found) > limits.max_files or total_bytes > limits.max_bytes:
        raise _too_large(root, found, total_bytes, limits)
    faults += _link_faults(root, found)
    if faults:
        raise _refusal("the code tree holds what cannot be captured", faults, "remove it, or list it in .fetchmlignore")
    return found


def shown(path: bytes) -> str:
    """Returns a path for people, with control codes and foreign bytes escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _inside(root: Path, home: Path | None) -> str | None:
    """Returns the path of the home folder below the root, or None if it lies elsewhere."""
    if home is None:
        return None
    root, home = root.resolve(), home.resolve()
    return str(home.relative_to(root)) if home.is_relative_to(root) else None


def _walk(
    root: Path, tracked: frozenset[bytes], faults: list[str], home: str | None
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yields what is not ignored, folder by folder; iterative, as nobody knows how deep it is."""
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
            elif is_folder:
                pending.append((path + "/", rules, is_ignored))
            else:
                try:
                    yield raw, entry.stat(follow_symlinks=False)
                except OSError as error:
                    if error.errno != errno.ENOENT:  # deleted since it was listed: as if it had never been there
                        faults.append(f"{shown(raw)}: {error.strerror}")


def _hashed(path: Path, relative: bytes) -> FileEntry:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise ChangedWhileRead(str(path))
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]  # a raw file will do
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    ):
        raise ChangedWhileRead(str(path))
    return FileEntry(relative, after.st_size, digest, bool(after.st_mode & stat.S_IXUSR))


def _link_faults(root: Path, found: list[Found]) -> Iterator[str]:
    links = {item.path: os.readlink(os.fsencode(root) + b"/" + item.path) for item in found if item.is_link}
    for path, target in sorted(links.items()):
        fault = link_fault(path, links)
        if fault is not None:
            yield f"{shown(path)}: links {fault} `{shown(target)}`"


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def _too_large(root: Path, found: list[Found], total_bytes: int, limits: Limits) -> Refused:
    sizes: dict[bytes, list[int]] = {}
    for item in found:
        # Name the folder at the top when many small files are the trouble, the file itself when it is large.
        key = item.path if item.status.st_size > limits.max_bytes // 20 else item.path.split(b"/")[0]
        entry = sizes.setdefault(key, [0, 0])
        entry[0] += item.status.st_size
        entry[1] += 1
    by = 0 if total_bytes > limits.max_bytes else 1
    largest = sorted(sizes.items(), key=lambda pair: -pair[1][by])[:_SHOWN]
    more = " or more" if len(found) > 4 * limits.max_files else ""
    lines = [
        f"- {shown(path)}  {format_size(size)} in {count} file{'s' if count > 1 else ''}"
        for path, (size, count) in largest
    ]
    return Refused(
        f"the code tree in `{root}` is too large: {format_size(total_bytes)} in {len(found)} files{more}",
        detail=f"allowed: {format_size(limits.max_bytes)} in {limits.max_files} files; the largest:\n"
        + "\n".join(lines),
        hint="list what is no code in .fetchmlignore, or raise `snapshot.max_size` and `snapshot.max_files`",
        code="snapshot-too-large",
    )


def _refusal(summary: str, faults: list[str], hint: str) -> Refused:
    rest = [f"... and {len(faults) - 2 * _SHOWN} more"] if len(faults) > 2 * _SHOWN else []
    lines = [f"- {fault}" for fault in faults[: 2 * _SHOWN]] + rest
    return Refused(summary, detail="\n".join(lines), hint=hint, code="snapshot-refused")
