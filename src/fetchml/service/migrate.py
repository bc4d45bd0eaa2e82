"""Copies all objects of a store to another place, each verified on its way and read back there."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fetchml import durable
from fetchml.archive.bucket import open_bucket
from fetchml.config.settings import Settings
from fetchml.errors import ConfigError, Corrupt, NotFound
from fetchml.home import Home
from fetchml.models.units import plural
from fetchml.objects.choose import Location, locate, open_objects, shown
from fetchml.objects.port import ObjectStore
from fetchml.service.fetch import fetch
from fetchml.service.push import Moved, push
from fetchml.service.relay import relay

Progress = Callable[[str], None]

_AT_ONCE = 8
"""Objects on their way at once; each is on this host's disk for a moment."""
_TOLD_EVERY_S = 2.0


class _Outcome(Enum):
    COPIED = "copied"
    PRESENT = "present"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Migration:
    """What was copied."""

    source: str
    target: str
    copied: int
    copied_bytes: int
    present: int
    """Objects that were there already, and sound."""
    damaged: tuple[str, ...]
    """Objects whose bytes are wrong in the source and missing or wrong in the target."""
    runs: Moved | None = None
    """What became of sealed runs, if they were to be copied as well."""

    @property
    def exit_code(self) -> int:
        """Exit code of a command that did this."""
        return max(Corrupt.exit_code if self.damaged else 0, self.runs.exit_code if self.runs is not None else 0)


def migrate(
    settings: Settings, target: str, source: str | None, progress: Progress, *, runs: bool = False
) -> Migration:
    """Copies what the target does not have; removes nothing. Called again, it goes on where it broke off.

    Args:
        settings: The settings of this call.
        target: `s3://bucket/prefix`, `file:///folder`, or a folder.
        source: Likewise; None takes the store of the settings.
        progress: Gets a line now and then.
        runs: Copy sealed runs as well: those of this home to a bucket, from a bucket into this home, or from one bucket
            to another.

    Raises:
        ConfigError: The places make no sense, the bucket does not exist, or the environment holds no credentials.
        NotFound: The source does not exist.
        FetchmlError: A place does not answer or denies access; what was copied so far stays.
    """
    home = Home(settings)
    places = home.object_settings
    first, second = locate(source, places), locate(target, places)
    _check(first, second)
    if runs:
        _check_runs(first, second, places.folder)
    copy = _Copy(open_objects(first, places), open_objects(second, places), places.staging, progress)
    progress(f"copying from {shown(first)} to {shown(second)}")
    home.create()
    durable.make_folder(places.staging)
    copy.all()
    return Migration(
        source=shown(first),
        target=shown(second),
        copied=copy.counts[_Outcome.COPIED],
        copied_bytes=copy.copied_bytes,
        present=copy.counts[_Outcome.PRESENT],
        damaged=tuple(sorted(copy.damaged)),
        runs=_runs(settings, source, target, progress, (first, second)) if runs else None,
    )


def _runs(
    settings: Settings, source: str | None, target: str, progress: Progress, places: tuple[Location, Location]
) -> Moved:
    """Copies runs after the objects, so that most of what they need is there."""
    first, second = places
    if isinstance(first, Path):
        return push(settings, (), target, progress)
    if isinstance(second, Path):
        return fetch(settings, (), source, progress, dry_run=False)
    home = Home(settings)
    return relay(open_bucket(home, source), open_bucket(home, target), progress)


def _check_runs(source: Location, target: Location, own: Path) -> None:
    """Refuses places that have no runs of this home, before anything is copied."""
    for place, other in ((source, target), (target, source)):
        if isinstance(place, Path) and (isinstance(other, Path) or place != own.resolve()):
            raise ConfigError(
                "runs are copied between a bucket and the store of this home, or between two buckets",
                detail=f"`{place}` is a folder" + ("" if isinstance(other, Path) else f", and not `{own}`"),
                hint="leave `--runs` out; a store on a disk is copied as a whole, with any tool",
                code="usage",
            )


def _check(source: Location, target: Location) -> None:
    if source == target:
        raise ConfigError(
            "source and target are the same place",
            detail=shown(source),
            hint="name another one with `--from` or `--to`",
            code="same-place",
        )
    if isinstance(source, Path) and not (source / "sha256").is_dir():
        raise NotFound(
            f"there are no objects in `{source}`",
            detail="it has no folder `sha256`",
            hint="name the place of the objects with `--from`",
            code="no-objects",
        )
    if isinstance(target, Path) and target.exists() and not target.is_dir():
        raise ConfigError(f"`{target}` is not a folder", hint="name another place with `--to`")
    if isinstance(source, Path) and isinstance(target, Path):
        for outer, inner in ((source, target), (target, source)):
            if inner.is_relative_to(outer / "sha256"):
                raise ConfigError(f"`{inner}` is among the objects of `{outer}`", hint="name another place")


class _Copy:
    """The work of one call, and its tally."""

    def __init__(self, source: ObjectStore, target: ObjectStore, staging: Path, progress: Progress) -> None:
        self.counts = dict.fromkeys(_Outcome, 0)
        self.copied_bytes = 0
        self.damaged: list[str] = []
        self._source = source
        self._target = target
        self._staging = staging
        self._progress = progress
        self._lock = threading.Lock()
        self._told_at = time.monotonic()

    def all(self) -> None:
        """Copies every object; the first error that is not about one object ends it."""
        pool = ThreadPoolExecutor(_AT_ONCE, "fetchml-migrate")
        running: set[Future[None]] = set()
        try:
            for digest in self._source.digests():
                running.add(pool.submit(self._one, digest))
                if len(running) >= 4 * _AT_ONCE:  # a store may have millions: they are listed as they are copied
                    running = self._ended(running)
            while running:
                running = self._ended(running)
        finally:
            pool.shutdown(cancel_futures=True)

    def _ended(self, running: Iterable["Future[None]"]) -> "set[Future[None]]":
        done, left = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        return left

    def _one(self, digest: str) -> None:
        with durable.translated("write in", self._staging), tempfile.TemporaryDirectory(dir=self._staging) as folder:
            if self._is_sound(digest, Path(folder) / "present"):
                self._count(_Outcome.PRESENT, digest)
                return
            file = Path(folder) / "object"
            try:
                self._source.copy_to(digest, file)
            except Corrupt:
                self._count(_Outcome.DAMAGED, digest)
                return
            with self._target.batch() as batch:
                batch.put_file(file, digest)
            size_bytes = file.stat().st_size
            file.unlink()
            self._target.copy_to(digest, file)  # raises if what arrived is not what was sent
            self._count(_Outcome.COPIED, digest, size_bytes)

    def _is_sound(self, digest: str, scratch: Path) -> bool:
        """Tells whether the target has an object, by reading it; one that is damaged gets the mark to be replaced."""
        try:
            self._target.copy_to(digest, scratch)
        except (NotFound, Corrupt):
            return False
        scratch.unlink()
        return True

    def _count(self, outcome: _Outcome, digest: str, size_bytes: int = 0) -> None:
        with self._lock:
            self.counts[outcome] += 1
            self.copied_bytes += size_bytes
            if outcome is _Outcome.DAMAGED:
                self.damaged.append(digest)
            if time.monotonic() - self._told_at < _TOLD_EVERY_S:
                return
            self._told_at = time.monotonic()
            done = sum(self.counts.values())
        self._progress(f"{plural(done, 'object')} looked at, {self.counts[_Outcome.COPIED]} copied")
