"""Removes what nothing refers to: objects, materialised code, environments, leftovers; ended runs only if asked to.

Each kind is looked at twice: what to remove is decided without keeping anyone waiting, and decided again, where it
counts, while nobody can begin to use it. See decision 21.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fetchml import durable
from fetchml.archive.bucket import open_bucket
from fetchml.archive.state import is_owed
from fetchml.config.settings import Settings
from fetchml.engine.choose import make_engine
from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.port import Phase
from fetchml.engine.process_engine import ProcessEngine, remove_folder
from fetchml.environment.unused import Built, built, remove_unused
from fetchml.errors import ConfigError, FetchmlError
from fetchml.home import Home
from fetchml.models.ids import container_name, is_digest
from fetchml.models.units import plural
from fetchml.objects.directory import DirectoryObjects
from fetchml.service.prune_copies import unused_copies
from fetchml.service.references import InUse, References, in_use
from fetchml.snapshot.materialise import remove_tree
from fetchml.store.index import RunIndex
from fetchml.store.leftovers import leftovers
from fetchml.store.turns import removing

DEFAULT_AGE_S = 7 * 24 * 3600
BUCKET_AGE_S = 24 * 3600
"""Least age of what is removed from a bucket: the server's clock counts there, and what is on its way has to arrive."""
_LATELY_S = 3600.0
"""What was used so lately may be in the hands of a run whose record does not say so yet."""
_LEFTOVER_S = 24 * 3600.0
"""Age at which a temporary file belongs to a process that is gone."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """What may be removed."""

    older_than_s: float | None = None
    """Age from which on something is removed, in seconds; None is seven days, and no limit for runs."""
    runs: bool = False
    """Whether ended runs are removed, too."""
    bucket: bool = False
    """Whether objects in a bucket are removed, too."""
    keep_last: int | None = None
    """How many ended runs stay, the latest; None is none that would not stay by its age."""
    dry_run: bool = False

    @property
    def age_s(self) -> float:
        """The age for everything but runs."""
        return DEFAULT_AGE_S if self.older_than_s is None else self.older_than_s


@dataclass(slots=True)
class Tally:
    """Things of one kind."""

    count: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """Counts one."""
        self.count += 1
        self.size_bytes += size_bytes


@dataclass(slots=True)
class Pruned:
    """What was removed, or would be."""

    dry_run: bool
    removed: dict[str, Tally] = field(default_factory=dict[str, Tally])
    kept: dict[str, Tally] = field(default_factory=dict[str, Tally])
    """What stays, by why."""
    run_ids: tuple[str, ...] = ()
    """Runs that were removed, or would be."""
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    """Runs of which it cannot be told what they need, and why: no object is removed then."""
    notes: list[str] = field(default_factory=list[str])


def prune(
    settings: Settings, request: PruneRequest, tell: Tell = lambda _: None, now: Callable[[], float] = time.time
) -> Pruned:
    """Removes what nothing refers to and is old enough; called again, it goes on where it broke off.

    Args:
        settings: The settings of this call.
        request: What may be removed.
        tell: Gets a line where it takes long.
        now: The clock, in seconds.

    Raises:
        ConfigError: Runs are to be removed, and nothing says which.
        FetchmlError: Something cannot be read or removed; what was removed so far stays removed.
    """
    home = Home(settings)
    if request.bucket:
        check_bucket(home, request.age_s)
    work = _Prune(home, request, tell, now())
    chosen = runs_to_remove(settings, request, now())
    done = work.done
    for run_id in chosen:
        if work.remove_run(run_id):
            done.run_ids += (run_id,)
    if home.path.is_dir():
        work.leftover_runs()
        work.objects()
        work.snapshots()
        work.datasets()
        work.environments()
        work.processes()
    return done


def check_bucket(home: Home, age_s: float) -> None:
    """Refuses to prune a bucket where there is none, or of what is too young there.

    Raises:
        ConfigError: Objects are in a folder, or the age is less than a day.
    """
    if not home.has_place_for_objects:
        raise ConfigError("there is no bucket to prune", hint="leave `--bucket` out", code="usage")
    if age_s < BUCKET_AGE_S:
        raise ConfigError(
            "objects in a bucket are removed after a day at the earliest",
            hint="give `--older-than 1d` or more, or leave `--bucket` out",
            code="usage",
        )


def runs_to_remove(settings: Settings, request: PruneRequest, now_s: float) -> list[str]:
    """Returns the ended runs that a request means, latest first.

    Raises:
        ConfigError: Nothing says which.
    """
    if not request.runs:
        if request.keep_last is not None:
            raise ConfigError("`--keep-last` is about runs", hint="add `--runs` to remove ended runs", code="usage")
        return []
    if request.keep_last is None and request.older_than_s is None:
        raise ConfigError(
            "`--runs` does not say which runs",
            hint="add `--keep-last N`, `--older-than TIME`, or both",
            code="usage",
        )
    ended = [row for row in RunIndex(settings.store).rows() if row.is_final]
    found = ended[request.keep_last or 0 :]
    if request.older_than_s is not None:
        before = datetime.fromtimestamp(now_s - request.older_than_s, UTC)
        found = [row for row in found if row.ended_at is not None and datetime.fromisoformat(row.ended_at) < before]
    return [row.run_id for row in found]


class _Prune:
    """The work of one call."""

    def __init__(self, home: Home, request: PruneRequest, tell: Tell, now_s: float) -> None:
        self.done = Pruned(request.dry_run)
        self._home = home
        self._request = request
        self._tell = tell
        self._now_s = now_s
        self._before_s = now_s - request.age_s

    # Runs

    def remove_run(self, run_id: str) -> bool:
        """Removes the folder of an ended run whole; it is gone for everyone the moment its name is."""
        folder = self._home.store.folder(run_id)
        if is_owed(self._home, folder):
            self._kept("ended runs that are not copied to the bucket yet", _size(folder.path))
            return False
        if self._request.dry_run:
            self._removed("runs", _size(folder.path))
            return True
        gone = folder.path.parent / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}-{run_id}"
        with durable.translated("remove", folder.path), durable.locked(folder.path):
            if self._home.store.read_manifest(run_id).seal is None:
                return False
            size_bytes = _size(folder.path)
            os.rename(folder.path, gone)
            durable.sync_folder(gone.parent)
            remove_tree(gone)
        self._removed("runs", size_bytes)
        return True

    def leftover_runs(self) -> None:
        """Removes what is left of runs that were queued, brought or removed when a process was killed."""
        runs = self._home.settings.store / "runs"
        if not runs.is_dir() or not any(name.startswith(durable.TEMPORARY_PREFIX) for name in os.listdir(runs)):
            return
        with removing(self._home.settings.store), leftovers(runs, is_alone=True) as left:
            for path in left:
                self._removed("leftovers", _size(path))
                if not self._request.dry_run:
                    remove_tree(path)

    # Objects

    def objects(self) -> None:
        """Removes objects that no run refers to, and that have not been stored or synced lately."""
        store, request = self._home.settings.store, self._request
        objects = self._home.objects
        if not isinstance(objects, DirectoryObjects):
            self._bucket()
            return
        if self._home.settings.objects_block is not None:
            self.done.notes.append("objects in a folder of a block are left as they are: other homes may use them")
            return
        if not objects.root.is_dir():
            return
        left_out = frozenset(self.done.run_ids) if request.dry_run else frozenset[str]()
        references = References(self._home, objects, left_out)
        references.update()  # most of it, while others go on
        if request.dry_run:
            self._objects(objects, references)
            return
        with removing(store, lambda: self._tell("waiting for those who store code now")):
            references.update()
            self._objects(objects, references)

    def _bucket(self) -> None:
        if not self._request.bucket:
            self.done.notes.append("objects in the bucket are left as they are; `--bucket` prunes them")
            return
        from fetchml.service.prune_bucket import BucketTally, prune_bucket  # brings the client with it

        tally = BucketTally(self._removed, self._kept)
        request = self._request
        prune_bucket(self._home, open_bucket(self._home), request.age_s, tally, self._tell, dry_run=request.dry_run)
        self.done.unreadable = tally.unreadable
        if tally.strangers:
            self.done.notes.append(f"{plural(tally.strangers, 'key')} in the bucket that fetchml has not made: left")

    def _objects(self, objects: DirectoryObjects, references: References) -> None:
        if references.unreadable:
            self.done.unreadable = dict(references.unreadable)
            self._leftovers(objects.root / "incoming", _LEFTOVER_S)
            return
        referred = frozenset(references.digests)
        old: dict[str, int] = {}
        for digest in objects.digests():
            try:
                status = os.lstat(objects.path(digest))
            except FileNotFoundError:
                continue
            if digest in referred:
                self._kept("objects that runs refer to", status.st_size)
            elif status.st_mtime > self._before_s:
                self._kept("objects that are too young", status.st_size)
                # A tree that was synced lately may hold files that were stored long ago.
                with suppress(FetchmlError):
                    references.follow(digest)
            else:
                old[digest] = status.st_size
        # Lists of objects go first, so that none is left that names what is gone.
        lists = [digest for digest in old if references.is_typed(digest)]
        for digest in dict.fromkeys((*lists, *old)):
            if digest in references.digests:
                self._kept("objects of code that was synced lately", old[digest])
                continue
            if not self._request.dry_run:
                with durable.translated("remove", objects.path(digest)):
                    objects.path(digest).unlink(missing_ok=True)
            self._removed("objects", old[digest])
        self._leftovers(objects.root / "incoming", _LEFTOVER_S)

    # What a host keeps, and can make again

    def snapshots(self) -> None:
        """Removes materialised code of no run that has not ended."""
        root = self._home.path / "snapshots"
        if not root.is_dir():
            return
        gone: list[Path] = []
        with durable.locked(root):  # a run that comes now waits, and lays out what it does not find
            used = in_use(self._home)
            for name in sorted(os.listdir(root)):
                folder = root / name
                is_left = name.startswith(durable.TEMPORARY_PREFIX)
                if not is_left and (not used.is_known or not is_digest(name) or name in used.commit_ids):
                    self._kept("materialised snapshots in use", _size(folder))
                    continue
                self._removed("leftovers" if is_left else "snapshots", _size(folder))
                if not self._request.dry_run:
                    temporary = folder if is_left else root / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}"
                    with durable.translated("remove", folder):
                        os.rename(folder, temporary)
                    gone.append(temporary)
        for folder in gone:
            remove_tree(folder)

    def datasets(self) -> None:
        """Removes copies of datasets that no run reads or waits for, when they are old, or too large together."""
        age_s = self._request.older_than_s
        for item in unused_copies(self._home, self._now_s, age_s, dry_run=self._request.dry_run):
            if item.is_gone:
                self._removed("datasets", item.copy.size_bytes)
            else:
                self._kept("copies of datasets that runs need, or used lately", item.copy.size_bytes)
            if self._request.dry_run:
                self.done.notes.append(str(item))
        for path in self._home.staging.leftovers(self._before_s):
            self._removed("leftovers", _size(path))
            if not self._request.dry_run:
                remove_tree(path)

    def environments(self) -> None:
        """Removes environments that no run which has not ended was given, and that were not used lately."""
        for item in built(self._home.environments):
            size_bytes = self._size_of(item)
            kind = "images" if item.image is not None else "environments"
            unused = self._is_unused(item, in_use(self._home))
            if not unused(item.used_at_s):
                self._kept(f"{kind} that are in use or too young", size_bytes)
            elif self._request.dry_run or remove_unused(item, unused, self._remove_image):
                self._removed(kind, size_bytes)
            else:
                self._kept(f"{kind} that are in use or too young", size_bytes)

    def processes(self) -> None:
        """Removes what the process engine left of runs that have ended."""
        engine = ProcessEngine(self._home.path / "processes")
        if not engine.root.is_dir():
            return
        used = in_use(self._home)
        mine = set(engine.names(self._home.store_id))
        for name in sorted(os.listdir(engine.root)):
            folder = engine.root / name
            if not folder.is_dir() or any(name.startswith(container_name(run_id, 1)[:-1]) for run_id in used.runs):
                continue
            state = engine.inspect(name)
            is_over = name in mine and state is not None and state.phase is Phase.EXITED and used.is_known
            is_rest = state is None and folder.stat().st_mtime < self._now_s - _LATELY_S
            if is_over or is_rest:
                self._removed("processes", _size(folder))
                if not self._request.dry_run:
                    engine.remove(name) if is_over else remove_folder(folder)

    def _is_unused(self, item: Built, used: InUse) -> Callable[[float], bool]:
        taken = not used.is_known or any(key.startswith(item.key) for key in used.environment_keys)
        before_s = min(self._before_s, self._now_s - _LATELY_S)
        return lambda used_at_s: not taken and used_at_s < before_s

    def _remove_image(self, item: Built) -> bool:
        import docker.errors

        engine = make_engine(item.engine, self._home.engines)
        if not isinstance(engine, DockerEngine) or item.image is None:
            return False
        try:
            engine.client.images.remove(item.image)
        except docker.errors.ImageNotFound:
            return True
        except (docker.errors.DockerException, FetchmlError, OSError) as error:
            self.done.notes.append(f"the image `{item.image}` stays: {str(error)[:200]}")
            return False
        return True

    def _size_of(self, item: Built) -> int:
        if item.image is None:
            return _size(item.path)
        engine = make_engine(item.engine, self._home.engines)
        if isinstance(engine, DockerEngine):
            with suppress(Exception):  # an engine that does not answer keeps nobody from the rest
                return int(engine.client.images.get(item.image).attrs["Size"])
        return 0

    def _leftovers(self, folder: Path, age_s: float) -> None:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with suppress(FileNotFoundError):
                status = path.lstat()
                if path.name.startswith(durable.TEMPORARY_PREFIX) and status.st_mtime < self._now_s - age_s:
                    if not self._request.dry_run:
                        path.unlink()
                    self._removed("leftovers", status.st_size)

    def _removed(self, kind: str, size_bytes: int) -> None:
        self.done.removed.setdefault(kind, Tally()).add(size_bytes)

    def _kept(self, why: str, size_bytes: int) -> None:
        self.done.kept.setdefault(why, Tally()).add(size_bytes)


def _size(path: Path) -> int:
    """Returns the bytes of a file, or of all files below a folder; links and what goes away meanwhile count nothing."""
    return sum(_sizes(path))


def _sizes(path: Path) -> Iterator[int]:
    pending = [os.fspath(path)]
    while pending:
        current = pending.pop()
        with suppress(OSError):
            status = os.lstat(current)
            if not os.path.isdir(current) or os.path.islink(current):
                yield status.st_size
                continue
            with os.scandir(current) as listing:
                for entry in listing:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.stat(follow_symlinks=False).st_size
