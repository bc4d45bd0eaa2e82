"""Looks at what belongs to a project, without reading a file.

Ten thousand files are looked at by every command that captures, so the walk is one loop over bytes: what `os.scandir`
and `stat` cost is most of it.
"""

import errno
import hashlib
import marshal
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from fetchml.errors import ConfigError
from fetchml.snapshot.found import Found, Limits
from fetchml.snapshot.git import git_top, tracked_files
from fetchml.snapshot.ignore import Rules, is_never, rules_above
from fetchml.snapshot.refusals import kind_of, refusal, too_large
from fetchml.snapshot.tree import MAX_FOLDERS, MAX_PATH_BYTES, folders_above, link_fault, path_fault, shown

_SHOWN_BYTES = 100
_stamp = attrgetter("st_mode", "st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


@dataclass(slots=True)
class Seen:
    """Files and links of a project, in the order they were come across."""

    paths: list[bytes] = field(default_factory=list[bytes])
    """Paths below the root."""
    statuses: list[os.stat_result] = field(default_factory=list[os.stat_result])
    links: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    """Targets of the links."""
    size_bytes: int = 0
    """Sum of the sizes of all files."""

    @property
    def digest(self) -> str:
        """A hash that changes when a path, the stamp of a file, or the target of a link does."""
        # Not the second-latest format: that one depends on which objects are shared.
        content = marshal.dumps((self.paths, list(map(_stamp, self.statuses)), sorted(self.links.items())), 2)
        return hashlib.sha256(content).hexdigest()

    @property
    def changed_at_ns(self) -> int:
        """The latest time stamp of a file or link; 0 without any."""
        return max((max(found.st_mtime_ns, found.st_ctime_ns) for found in self.statuses), default=0)

    def found(self) -> list[Found]:
        """Returns each file and link."""
        return list(map(Found, self.paths, self.statuses))


def scan(root: Path, limits: Limits, home: Path | None = None) -> list[Found]:
    """Returns what belongs to a snapshot; order is not defined. See `look`."""
    return look(root, limits, home).found()


def look(root: Path, limits: Limits, home: Path | None = None) -> Seen:
    """Returns what belongs to a snapshot.

    Args:
        root: Root of the project.
        limits: How large it may be, and what it may hold.
        home: The home folder of fetchml, which is no part of a project even where it lies in it.

    Raises:
        Refused: The tree is too large or too deep, holds something that is no file, a link that leaves it, or another
            file system. All such paths are named at once.
        ConfigError: The folder cannot be read.
    """
    walk = _Walk(root, limits, tracked_files(root), _inside(root, home))
    walk.go()
    seen = walk.seen
    if len(seen.paths) > limits.max_files or seen.size_bytes > limits.max_bytes:
        raise too_large(root, seen.found(), seen.size_bytes, limits)
    faults = [*walk.faults, *_link_faults(seen.links)]
    if faults:
        raise refusal("the code tree holds what cannot be captured", faults, "remove it, or list it in .fetchmlignore")
    return seen


class _Walk:
    """Goes through the folders of a project; iterative, as nobody knows how deep it is."""

    def __init__(self, root: Path, limits: Limits, tracked: frozenset[bytes], home: bytes | None) -> None:
        self.seen = Seen()
        self.faults: list[str] = []
        self._root = os.fsencode(root)
        self._rules = rules_above(git_top(root), root)
        self._tracked = tracked
        self._tracked_folders = {folder for path in tracked for folder in folders_above(path)}
        self._home = home
        self._file_system = None if limits.other_file_systems else _device(root)
        self._most = 4 * limits.max_files
        """Counting on a little shows the user what is large, but an endless tree must end."""

    def go(self) -> None:
        # Of a folder that is left out, what git tracks is taken, and nothing else.
        pending: list[tuple[bytes, Rules, bool]] = [(b"", self._rules, False)]
        while pending and len(self.seen.paths) <= self._most:
            folder, rules, is_left_out = pending.pop()
            entries = self._entries(folder)
            rules = rules.entered(self._root, folder, [entry.name for entry in entries])
            pending += self._folder(folder, entries, rules, is_left_out=is_left_out)

    def _entries(self, folder: bytes) -> list[os.DirEntry[bytes]]:
        try:
            with os.scandir(os.path.join(self._root, folder)) as listing:
                return list(listing)
        except OSError as error:
            if not folder:
                raise ConfigError(f"cannot read `{os.fsdecode(self._root)}`", detail=error.strerror) from error
            self.faults.append(f"{shown(folder)}: {error.strerror}")
            return []

    def _folder(
        self, folder: bytes, entries: list[os.DirEntry[bytes]], rules: Rules, *, is_left_out: bool
    ) -> Iterator[tuple[bytes, Rules, bool]]:
        """Takes what is in a folder; yields the folders in it that are to be entered."""
        paths, statuses, tracked = self.seen.paths, self.seen.statuses, self._tracked
        ignores = rules.ignores
        is_deep = folder.count(b"/") > MAX_FOLDERS
        for entry in entries:
            name = entry.name
            path = folder + name
            is_folder = entry.is_dir(follow_symlinks=False)
            is_ignored = is_left_out or ignores(path, name, is_folder=is_folder)
            if is_ignored and (path not in (self._tracked_folders if is_folder else tracked) or is_never(name)):
                continue
            if path == self._home:
                continue
            fault = path_fault(path) if is_deep or len(path) > MAX_PATH_BYTES else None
            if fault is not None:
                self.faults.append(f"{shown(path[:_SHOWN_BYTES])}...: {fault}")
            elif is_folder:
                if self._is_elsewhere(entry):
                    text = "lies on another file system (`snapshot.other_file_systems` is false)"
                    self.faults.append(f"{shown(path)}: {text}")
                else:
                    yield path + b"/", rules, is_ignored
            else:
                try:
                    status = entry.stat(follow_symlinks=False)
                    if not stat.S_ISREG(status.st_mode):
                        self._special(entry, path, status)
                        continue
                except OSError as error:
                    if error.errno != errno.ENOENT:  # deleted since it was listed: as if it had never been there
                        self.faults.append(f"{shown(path)}: {error.strerror}")
                    continue
                self.seen.size_bytes += status.st_size
                paths.append(path)
                statuses.append(status)
                if len(paths) > self._most:
                    return

    def _special(self, entry: os.DirEntry[bytes], path: bytes, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode):
            self.seen.links[path] = os.readlink(entry.path)
            self.seen.paths.append(path)
            self.seen.statuses.append(status)
        else:
            self.faults.append(f"{shown(path)}: is a {kind_of(status.st_mode)}, not a file")

    def _is_elsewhere(self, entry: os.DirEntry[bytes]) -> bool:
        return self._file_system is not None and _device(entry) not in (None, self._file_system)


def _inside(root: Path, home: Path | None) -> bytes | None:
    """Returns the path of the home folder below the root, or None if it lies elsewhere."""
    if home is None:
        return None
    root, home = root.resolve(), home.resolve()
    return os.fsencode(home.relative_to(root)) if home.is_relative_to(root) else None


def _device(folder: Path | os.DirEntry[bytes]) -> int | None:
    try:
        return folder.stat(follow_symlinks=isinstance(folder, Path)).st_dev
    except OSError:  # told when it is entered
        return None


def _link_faults(links: dict[bytes, bytes]) -> Iterator[str]:
    for path, target in sorted(links.items()):
        fault = link_fault(path, links)
        if fault is not None:
            yield f"{shown(path)}: links {fault} `{shown(target)}`"
