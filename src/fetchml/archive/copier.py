"""Copies what waits to be copied, and writes down how far it is: the work behind the setting `objects.runs: copy`.

The run store is the truth and is asked each time; what is remembered only saves reading it again.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from fetchml import durable
from fetchml.archive.bucket import Bucket, open_bucket, place_of, shown
from fetchml.archive.copying import Copying
from fetchml.archive.notes import CopyNote, fault_of, read_note, write_fault, write_note
from fetchml.daemons.process import detach
from fetchml.errors import Conflict, Corrupt, FetchmlError, NotFound
from fetchml.home import Home
from fetchml.models.units import plural
from fetchml.objects.directory import DirectoryObjects
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex, stamp_of

OF_ONE_RUN = (Corrupt, Conflict, NotFound)
"""Errors that say something about a run; any other keeps all runs from being copied."""

_AGAIN_S = 3600.0
"""When a run that cannot be copied is tried again although nothing about it has changed."""

MODULE = "fetchml.archive"
"""What is run as a process of its own."""


def copies_runs(home: Home) -> bool:
    """Tells whether sealed runs of this home are copied to a bucket by themselves."""
    return home.settings.objects_runs == "copy" and home.has_place_for_objects


class Copier:
    """Copies the sealed runs of one home.

    Args:
        home: The home folder.
        url: Another bucket than that of the settings; nothing is then written down.
        clock: Seconds since the epoch.
    """

    def __init__(self, home: Home, url: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._home = home
        self._url = url
        self._clock = clock
        self._done: dict[str, str] = {}
        """Stamps of manifests that the bucket has."""

    @cached_property
    def bucket(self) -> Bucket:
        """Where the runs go."""
        return open_bucket(self._home, self._url)

    @cached_property
    def _copying(self) -> Copying:
        return Copying(self.bucket, DirectoryObjects(self._home.object_settings.folder), self._home.settings.store)

    @property
    def _place(self) -> str:
        place = place_of(self._home)
        return self.bucket.name if self._url is not None or place is None else shown(place)

    def sealed(self) -> list[str]:
        """Returns the ids of all runs that have ended, earliest first."""
        return [row.run_id for row in reversed(RunIndex(self._home.settings.store).rows()) if row.is_final]

    def waiting(self) -> list[str]:
        """Returns the ids of the ended runs that the bucket does not have as they are now, earliest first.

        One that could not be copied for a reason of its own is left out for an hour, unless it changed.
        """
        return [run_id for run_id in self.sealed() if not self._is_done(self._home.store.folder(run_id))]

    def copy(self, run_id: str) -> bool:
        """Copies one run, and writes down how that went.

        Returns:
            Whether the bucket did not have it as it is.

        Raises:
            FetchmlError: See `Copying.copy`.
        """
        run = self._home.store.folder(run_id)
        with durable.locked(_lock(self._home.settings.store)):
            at = datetime.fromtimestamp(self._clock(), UTC)
            before = read_note(run)
            try:
                copied = self._copying.copy(run)
            except FetchmlError as error:
                self._note_fault(run, before, error, at)
                raise
            digest = hashlib.sha256(copied.manifest).hexdigest()
            if self._url is None:
                write_note(run, CopyNote(place=self._place, manifest_sha256=digest, copied_at=at))
                write_fault(self._home.services, None)
            return copied.is_new

    def _note_fault(self, run: RunFolder, before: CopyNote | None, error: FetchmlError, at: datetime) -> None:
        if self._url is not None:
            return
        fault = fault_of(self._place, error, at)
        if not isinstance(error, OF_ONE_RUN):
            write_fault(self._home.services, fault)
        elif run.path.is_dir():
            known = before if before is not None and before.place == self._place else CopyNote(place=self._place)
            write_note(run, known.model_copy(update={"fault": fault}))

    def _is_done(self, run: RunFolder) -> bool:
        stamp = stamp_of(run.manifest)
        if self._done.get(run.run_id) == stamp:
            return True
        note = read_note(run)
        if note is None or note.place != self._place:
            return False
        if note.fault is not None:
            tried_s = note.fault.at.timestamp()
            return _changed_s(run) < tried_s and 0 <= self._clock() - tried_s < _AGAIN_S
        try:
            is_there = note.is_of(self._place, run.manifest.read_bytes())
        except OSError:
            return True  # it is being removed
        if is_there:
            self._done[run.run_id] = stamp
        return is_there


def copy_waiting(home: Home, tell: Callable[[str], None]) -> bool:
    """Copies every run that waits, one after another.

    Args:
        home: The home folder.
        tell: Gets a line for each run that could not be copied, and one if the bucket takes none.

    Returns:
        Whether the bucket took what could be copied; if not, the same call may succeed later.
    """
    copier = Copier(home)
    tried: set[str] = set()
    while waiting := [run_id for run_id in copier.waiting() if run_id not in tried]:
        for run_id in waiting:
            tried.add(run_id)
            try:
                copier.copy(run_id)
            except OF_ONE_RUN as error:
                tell(f"run {run_id} is not copied: {_line(error)}")
            except FetchmlError as error:
                tell(f"{plural(len(waiting), 'run')} not copied: {_line(error)}")
                return False
    return True


def start_copying(home: Home) -> None:
    """Starts a process that copies what waits and then ends; whoever starts it need not stay."""
    durable.make_folder(home.services, mode=0o700)
    with (home.services / "copies.log").open("ab") as log:
        detach(copying_command(), log, {**os.environ, "FETCHML_HOME": str(home.path)}, home.path)


def copying_command() -> list[str]:
    """Returns the command that copies what waits; exit 0 if the bucket took it."""
    return [sys.executable, "-m", MODULE]


def _lock(store: Path) -> Path:
    folder = store / "locks"
    durable.make_folder(folder)
    path = folder / "copies"
    with durable.translated("lock", path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return path


def _changed_s(run: RunFolder) -> float:
    try:
        return run.manifest.stat().st_mtime
    except OSError:
        return 0.0


def _line(error: FetchmlError) -> str:
    return str(error).replace("\n", "; ")
