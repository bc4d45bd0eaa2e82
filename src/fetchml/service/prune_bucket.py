"""Removes objects from a bucket that no run refers to, neither here nor in the bucket; see decision 24.

Nothing is decided by a part: one record that cannot be read, one page that is missing, one other home that stores in
the same place, and nothing is removed.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from fetchml.archive.bucket import Bucket
from fetchml.archive.record import read_sealed
from fetchml.errors import Corrupt, FetchmlError
from fetchml.home import Home
from fetchml.models.ids import is_digest
from fetchml.objects.records import MANIFEST, PLAN
from fetchml.objects.s3 import S3Objects, Stored
from fetchml.objects.s3_client import CONNECTIONS
from fetchml.objects.s3_upkeep import Listing, Upkeep
from fetchml.snapshot.tree import read_tree
from fetchml.store.turns import removing

_NOT_OURS = frozenset({"runs", "objects", "locks"})
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_TYPED = b'"type":"fetchml.'
_SAMPLE = 200
"""References that a listing lacks and that are looked for one by one, to tell whether it was whole."""

Count = Callable[[str, int], None]


@dataclass(slots=True)
class BucketTally:
    """What was found, kind by kind; each gets the bytes of one object."""

    removed: Count
    kept: Count
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    strangers: int = 0


def prune_bucket(
    home: Home, bucket: Bucket, age_s: float, tally: BucketTally, tell: Callable[[str], None], *, dry_run: bool
) -> None:
    """Removes what nothing refers to from the bucket of a home.

    Args:
        home: The home folder.
        bucket: Its bucket.
        age_s: Age of what is removed, by the server's clock.
        tally: Gets what is found.
        tell: Gets a line where it takes long.
        dry_run: Remove nothing.

    Raises:
        Refused: Other homes store there as well.
        Unavailable: The server did not list everything.
        FetchmlError: It does not answer or denies access; what was removed so far stays removed.
    """
    objects = bucket.objects
    assert isinstance(objects, S3Objects)  # noqa: S101  # open_bucket opens nothing else
    with objects.homes.alone() as now:
        work = _Work(home, bucket, Upkeep(objects), tally, now - timedelta(seconds=age_s))
        tell("listing the bucket and reading every record in it")
        work.read_all()
        if dry_run:
            work.decide(lambda _: None, is_sure=False)
            return
        with removing(home.settings.store, lambda: tell("waiting for those who store code now")):
            objects.homes.check_alone()
            work.read_local()
            work.decide(work.upkeep.remove, is_sure=True)


class _Work:
    """The work of one call."""

    def __init__(self, home: Home, bucket: Bucket, upkeep: Upkeep, tally: BucketTally, before: datetime) -> None:
        self.upkeep = upkeep
        self._home = home
        self._bucket = bucket
        self._tally = tally
        self._before = before
        self._listing = Listing()
        self._referred: set[str] = set()
        self._followed: set[str] = set()
        self._sealed: set[str] = set()
        """Runs of this home that were read and change no more."""
        self._typed: dict[str, bool] = {}

    # What is referred to

    def read_all(self) -> None:
        """Lists the bucket and reads every record, while others go on."""
        self._listing = self.upkeep.listing()
        self._tally.strangers = self._listing.strangers
        for run_id in sorted(self._listing.runs):
            self._guarded(f"{run_id} in the bucket", lambda run_id=run_id: self._read_copy(run_id))
        self.read_local()
        lacking = sorted(self._referred - self._listing.objects.keys())
        self.upkeep.check_missing(lacking[:: max(1, len(lacking) // _SAMPLE)])

    def read_local(self) -> None:
        """Reads the runs of this home that came since the last time, and what else its store says."""
        for run_id in self._home.store.run_ids():
            if run_id not in self._sealed:
                self._guarded(run_id, lambda run_id=run_id: self._read_run(run_id))
        store = self._home.settings.store
        for top in sorted(store.iterdir()) if store.is_dir() else ():
            if top.name not in _NOT_OURS:
                self._guarded(top.name, lambda top=top: self._read_rest(top))

    def _read_copy(self, run_id: str) -> None:
        content = self._bucket.records.read(run_id, MANIFEST)
        if content is None:
            raise Corrupt("its manifest is gone")
        record = read_sealed(run_id, content)
        plan = self._bucket.records.read(run_id, PLAN)
        record.check_plan(plan)
        self._refer(content, plan or b"", {item.sha256 for item in record.files}, record.manifest.identity.commit_id)

    def _read_run(self, run_id: str) -> None:
        store = self._home.store
        manifest, folder = store.read_manifest(run_id), store.folder(run_id)
        results = manifest.artifacts.files if manifest.artifacts is not None else ()
        files = {item.sha256 for item in (*manifest.record_files, *results)}
        self._follow_tree(store.read_plan(run_id).snapshot_id)
        self._refer(folder.manifest.read_bytes(), folder.plan.read_bytes(), files, manifest.identity.commit_id)
        if manifest.seal is not None:
            self._sealed.add(run_id)

    def _read_rest(self, top: Path) -> None:
        for path in (top, *top.rglob("*")) if top.is_dir() else (top,):
            if path.is_file() and not path.is_symlink():
                self._refer(path.read_bytes(), b"", set(), None)

    def _refer(self, manifest: bytes, plan: bytes, files: set[str], commit_id: str | None) -> None:
        """Notes what a record names; what it lists as files is no list of objects, whatever is in it."""
        if commit_id is not None:
            self._follow_tree(commit_id)
        named = {found.decode() for found in _DIGEST.findall(manifest + b"\0" + plan)}
        self._referred |= named | files
        for digest in named - files:
            self._follow(digest)

    def _follow_tree(self, commit_id: str) -> None:
        """Reads the tree of a run, which has to be there: else it is not known what the run needs."""
        if not is_digest(commit_id):
            raise Corrupt("it does not name its snapshot")
        if commit_id not in self._followed:
            self._referred |= {entry.sha256 for entry in read_tree(self._bucket.objects.read(commit_id)).files}
            self._referred.add(commit_id)
            self._followed.add(commit_id)

    def _follow(self, digest: str) -> None:
        """Adds what an object names, if it is a list of objects."""
        pending = [digest]
        while pending:
            current = pending.pop()
            self._referred.add(current)
            if current not in self._followed and self._is_typed(current):
                self._followed.add(current)
                pending += [found.decode() for found in _DIGEST.findall(self._bucket.objects.read(current))]

    def _is_typed(self, digest: str) -> bool:
        """Tells whether an object is a tree, or another list of objects that fetchml made."""
        stored = self._listing.objects.get(digest)
        if stored is None:
            return False
        if digest not in self._typed:
            self._typed[digest] = _TYPED in self.upkeep.tail(digest, stored.size_bytes)
        return self._typed[digest]

    def _guarded(self, name: str, read: Callable[[], None]) -> None:
        """Notes what cannot be read; a bucket that does not answer ends everything."""
        try:
            read()
        except (FetchmlError, OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, FetchmlError) and error.code in ("s3-unavailable", "s3-denied", "clock-skew"):
                raise
            self._tally.unreadable[name] = error.summary if isinstance(error, FetchmlError) else str(error)

    # What goes

    def decide(self, remove: Callable[[list[str]], None], *, is_sure: bool) -> None:
        """Removes what is old and not referred to, lists of objects first.

        Args:
            remove: Removes objects.
            is_sure: Whether nobody stores anything meanwhile; lists are then looked at once more.
        """
        if self._tally.unreadable:
            return
        old: dict[str, Stored] = {}
        young: list[str] = []
        for digest, stored in self._listing.objects.items():
            if digest in self._referred:
                self._tally.kept("objects that runs refer to", stored.size_bytes)
            elif stored.modified_at is None or stored.modified_at > self._before:
                self._tally.kept("objects that are too young", stored.size_bytes)
                young.append(digest)
            else:
                old[digest] = stored
        self._look_into([*young, *old])
        for digest in young:  # a tree that was synced lately may hold files that were stored long ago
            self._follow(digest)
        lists = [digest for digest in old if self._typed[digest]]
        for digest in lists:
            if is_sure and self.upkeep.was_stored_after(digest, self._before):
                self._follow(digest)
        gone = [digest for digest in (*lists, *(old.keys() - set(lists))) if digest not in self._referred]
        for digest in old.keys() - set(gone):
            self._tally.kept("objects of code that was synced lately", old[digest].size_bytes)
        first = [digest for digest in gone if self._typed[digest]]
        for part in (first, [digest for digest in gone if not self._typed[digest]]):
            remove(part)
            for digest in part:
                self._tally.removed("objects", old[digest].size_bytes)

    def _look_into(self, digests: list[str]) -> None:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(self._is_typed, digests):
                pass
