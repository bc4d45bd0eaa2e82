"""Copies of datasets on this host: `<root>/<checksum>/data`, read-only, shared by all runs that read the same content.

```text
<root>/sha256-<hex>/data       the copy: a folder, or a file where the dataset is one
<root>/sha256-<hex>/copy.json  what it is; the folder's time is when it was used last
<root>/incoming/<key>/         on its way; gone on with by whoever wants it next
<root>/locks/<key>             who fetches, or removes
```

A copy gets its name when it is whole and durable. Whoever fetches or removes one holds its lock, which the kernel frees
when its holder dies. Whether a copy is in use is asked of the runs, and not remembered here: a run that has begun and
has not ended uses what its plan names, whoever is killed.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.datasets.incoming import Incoming
from fetchml.datasets.listing import Entry, entries_of
from fetchml.datasets.source import Check, Source, go_on
from fetchml.errors import Refused, Unavailable
from fetchml.models.dataset import SHA256, Algorithm, algorithm_of
from fetchml.models.units import MIB, format_size
from fetchml.snapshot.capture import Observe
from fetchml.snapshot.materialise import remove_tree

HEADROOM = 64 * MIB
"""Space that stays free on the disk of the cache: records and results are written there, too."""

NO_ROOM = "no-room-for-dataset"
CACHE_FULL = "dataset-cache-full"

_LABEL = "copy.json"
_ROOM = "room.json"

IsUsed = Callable[[str], bool]
"""Tells whether a run that has begun and not ended reads the dataset with a checksum."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much is kept."""

    ttl_s: float | None = None
    """Time since the last use after which a copy goes; None: no limit."""
    max_bytes: int | None = None
    """All copies together; None: as much as the disk has."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is whole."""

    checksum: str
    folder: Path
    size_bytes: int
    file_count: int
    uri: str
    """Where it came from."""
    used_at_s: float
    """When it was used last, in seconds of the clock."""

    @property
    def data(self) -> Path:
        """The folder or file that runs read."""
        return self.folder / "data"


class Staging:
    """The copies of one home folder.

    Args:
        root: Where they are; made when it is needed.
        limits: How long and how much is kept.
        is_used: Tells which are in use.
        now: The clock, in seconds.
    """

    def __init__(self, root: Path, limits: Limits, is_used: IsUsed, now: Callable[[], float] = time.time) -> None:
        self.root = root
        self._limits = limits
        self._is_used = is_used
        self._now = now

    def find(self, checksum: str) -> Copy | None:
        """Returns the copy of a dataset; None if there is no whole one."""
        folder = self.root / checksum.replace(":", "-")
        try:
            label = cast("dict[str, Any]", json.loads((folder / _LABEL).read_bytes()))
            used_at_s = folder.stat().st_mtime
            return Copy(
                checksum, folder, int(label["size_bytes"]), int(label["file_count"]), str(label["uri"]), used_at_s
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def copies(self) -> list[Copy]:
        """Returns all copies, those first that have not been used for the longest time."""
        names = os.listdir(self.root) if self.root.is_dir() else []
        found = [self.find(name.replace("-", ":", 1)) for name in names if "-" in name and not name.startswith(".")]
        return sorted((copy for copy in found if copy is not None), key=lambda copy: copy.used_at_s)

    def ensure(
        self,
        checksum: str,
        listing: bytes,
        source: Source,
        uri: str,
        check: Check = go_on,
        observe: Observe | None = None,
    ) -> tuple[Copy, bool]:
        """Returns the copy of a dataset, and whether it was fetched by this call; several callers fetch it once.

        Args:
            checksum: The dataset.
            listing: Its listing.
            source: Where it comes from if there is no copy.
            uri: The name of that place.
            check: Called again and again; raises to give up.
            observe: Told how far it has come.

        Raises:
            Refused: The data has changed, or there is no room for it.
            Unavailable: There is room only after other runs have ended.
            Corrupt: The listing is damaged.
            FetchmlError: It cannot be read, or not be written; what has come stays for the next time.
        """
        name = checksum.replace(":", "-")
        with self._locked(name, check):
            copy = self.find(checksum)
            if copy is not None:
                self._touch(copy.folder)
                return copy, False
            entries = entries_of(listing, checksum)
            self.receive(name, entries, source, check, observe, algorithm_of(checksum))
            return self._publish(name, name, entries, checksum, uri), True

    @contextmanager
    def receiving(
        self, key: str, entries: tuple[Entry, ...], source: Source, check: Check = go_on, observe: Observe | None = None
    ) -> Generator[Path]:
        """Fetches data whose checksum is not known yet, and yields where it is; `adopt` gives it its name.

        Args:
            key: Tells this data from other data, as far as that can be told; what has come is gone on with by it.
            entries: Its files.
            source: Where it comes from.
            check: Called again and again; raises to give up.
            observe: Told how far it has come.
        """
        name = "add-" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        with self._locked(name, check):
            yield self.receive(name, entries, source, check, observe)

    def adopt(self, data: Path, entries: tuple[Entry, ...], checksum: str, uri: str) -> Copy:
        """Gives data of `receiving` its name, unless there is such a copy; then that one counts."""
        name = checksum.replace(":", "-")
        with self._locked(name, go_on):
            copy = self.find(checksum)
            if copy is None:
                return self._publish(data.parent.name, name, entries, checksum, uri)
            self._touch(copy.folder)
        remove_tree(data.parent)
        return copy

    def receive(
        self,
        name: str,
        entries: tuple[Entry, ...],
        source: Source,
        check: Check,
        observe: Observe | None = None,
        algorithm: Algorithm = SHA256,
    ) -> Path:
        """Fetches what is missing of a dataset and returns where it is; its lock must be held."""
        incoming = Incoming(self.root / "incoming" / name, entries, algorithm)
        durable.make_folder(incoming.folder)
        self._make_room(name, incoming)
        incoming.fill(source, check, observe)
        return incoming.folder / "data"

    def discard(self, checksum: str) -> None:
        """Removes a copy that is not what its name says, whoever uses it."""
        with self._locked(checksum.replace(":", "-"), go_on):
            self._remove(self.root / checksum.replace(":", "-"))

    def remove(self, copy: Copy, is_used: IsUsed | None = None) -> bool:
        """Removes a copy, unless it is in use or somebody has its lock; tells whether it is gone.

        Args:
            copy: The copy, as it was found.
            is_used: Tells whether it is in use; asked when nobody can begin to use it. None: as of `Staging`.
        """
        try:
            with self._locked(copy.folder.name, _give_up):
                found = self.find(copy.checksum)
                if found is None or found.used_at_s > copy.used_at_s or (is_used or self._is_used)(copy.checksum):
                    return False
                self._remove(copy.folder)
                return True
        except _Busy:
            return False

    def expired(self, copy: Copy) -> bool:
        """Tells whether a copy has not been used for longer than it is kept."""
        return self._limits.ttl_s is not None and copy.used_at_s < self._now() - self._limits.ttl_s

    def over(self, copies: list[Copy]) -> int:
        """Returns how many bytes copies have beyond what they may have together."""
        limit = self._limits.max_bytes
        return 0 if limit is None else max(0, sum(copy.size_bytes for copy in copies) - limit)

    def leftovers(self, before_s: float) -> Iterator[Path]:
        """Yields what was on its way before a moment and has nobody who fetches it."""
        yield from self.root.glob(f"{durable.TEMPORARY_PREFIX}*")
        for path in sorted((self.root / "incoming").glob("*")):
            with suppress(FileNotFoundError, _Busy):
                if path.stat().st_mtime < before_s:
                    with self._locked(path.name, _give_up):
                        yield path

    # Room

    def _make_room(self, name: str, incoming: Incoming) -> None:
        """Removes copies that nobody uses until there is room for one more, and keeps that room for it.

        Raises:
            Refused: There is not that much room.
            Unavailable: There will be when other runs have ended.
        """
        with self._locked("room", go_on):
            label = json.dumps({"size_bytes": incoming.size_bytes, "disk_bytes": incoming.disk_bytes})
            durable.write_atomic(incoming.folder / _ROOM, label.encode())
            awaited = self._awaited(name)
            for copy in self.copies():
                if self.expired(copy):
                    self.remove(copy)
            self._keep_the_limit(incoming.size_bytes, awaited.size_bytes)
            self._keep_the_disk(incoming.missing_bytes, awaited.missing_bytes)

    def _keep_the_limit(self, wanted: int, awaited: int) -> None:
        limit = self._limits.max_bytes
        if limit is None:
            return
        if wanted > limit:
            raise Refused(
                f"the dataset takes {format_size(wanted)}, more than all copies together may take",
                detail=f"`datasets.cache.max_size` is {format_size(limit)}",
                hint="raise `datasets.cache.max_size`",
                code=NO_ROOM,
            )
        copies = self.copies()
        taken = wanted + awaited + sum(copy.size_bytes for copy in copies)
        for copy in copies:
            if taken > limit and self.remove(copy):
                taken -= copy.size_bytes
        if taken > limit:
            raise Unavailable(
                "copies of datasets that runs read now leave no room for one more",
                detail=f"together they would take {format_size(taken)}, and may take {format_size(limit)}",
                hint="it goes on when these runs have ended; or raise `datasets.cache.max_size`",
                code=CACHE_FULL,
            )

    def _keep_the_disk(self, wanted: int, awaited: int) -> None:
        if not wanted:
            return
        for copy in self.copies():
            if self._free_bytes() >= wanted + awaited + HEADROOM:
                return
            self.remove(copy)
        free = self._free_bytes() - awaited
        if free < wanted + HEADROOM:
            raise Refused(
                f"the disk is too small for a copy of the dataset, which takes {format_size(wanted)} more",
                detail=f"`{self.root}` has {format_size(max(0, free))} free, of which {format_size(HEADROOM)} are kept"
                " for records",
                hint="free space there, for example with `fetchml prune`",
                code=NO_ROOM,
            )

    def _awaited(self, name: str) -> "_Awaited":
        """Returns what others fetch now."""
        found = _Awaited()
        for path in (self.root / "incoming").iterdir():
            if path.name == name or not self._is_locked(path.name):
                continue
            with suppress(OSError, ValueError, KeyError, TypeError):
                label = json.loads((path / _ROOM).read_bytes())
                found.size_bytes += int(label["size_bytes"])
                found.missing_bytes += max(0, int(label["disk_bytes"]) - _used_on_disk(path))
        return found

    def _free_bytes(self) -> int:
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    # Names

    def _publish(self, name: str, target: str, entries: tuple[Entry, ...], checksum: str, uri: str) -> Copy:
        """Gives what has come its name; the lock of that name must be held."""
        incoming = Incoming(self.root / "incoming" / name, entries)
        incoming.protect()
        folder = incoming.folder
        files = [entry for entry in entries if entry.kind == "file"]
        label = {
            "schema_version": 1,
            "checksum": checksum,
            "size_bytes": sum(entry.size_bytes for entry in files),
            "file_count": len(files),
            "uri": uri,
        }
        durable.write_atomic(folder / _LABEL, json.dumps(label, indent=2).encode() + b"\n")
        for rest in (_ROOM, "parts"):
            remove_tree(folder / rest)
        self._remove(self.root / target)  # what has the name and is no whole copy
        durable.publish_folder(folder, self.root / target)
        self._touch(self.root / target)
        copy = self.find(checksum)
        if copy is None:
            raise Unavailable(f"the copy of {checksum[:23]} cannot be read back", code="io-error")
        return copy

    def _touch(self, folder: Path) -> None:
        with durable.translated("write", folder):
            os.utime(folder, (self._now(), self._now()))

    def _remove(self, folder: Path) -> None:
        """Removes a folder; it is gone for everyone the moment its name is."""
        gone = self.root / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        with durable.translated("remove", folder):
            try:
                os.rename(folder, gone)
            except FileNotFoundError:
                return
            durable.sync_folder(self.root)
        remove_tree(gone)

    @contextmanager
    def _locked(self, name: str, check: Check) -> Generator[None]:
        path = self.root / "locks" / name
        durable.make_folder(path.parent)
        with durable.translated("lock", path):
            path.touch(mode=0o600)
        with durable.locked(path, waiting=check):
            yield

    def _is_locked(self, name: str) -> bool:
        try:
            with self._locked(name, _give_up):
                return False
        except _Busy:
            return True


@dataclass(slots=True)
class _Awaited:
    """What is on its way."""

    size_bytes: int = 0
    missing_bytes: int = 0
    """What will still be written."""


class _Busy(Exception):
    """Somebody has the lock."""


def _give_up() -> None:
    raise _Busy


def _used_on_disk(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total
