"""Copies a sealed run into a bucket: code and files first, then the plan, then the manifest.

A run is in the bucket once its manifest is, and then all of it is there. Every step can be repeated, and two processes
may do the same at once.
"""

from dataclasses import dataclass, field
from pathlib import Path

from fetchml import durable
from fetchml.archive.bucket import Bucket
from fetchml.archive.record import SealedRecord, read_sealed
from fetchml.errors import Conflict, Corrupt, NotFound
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.port import ChangedWhileRead, ObjectBatch
from fetchml.objects.records import MANIFEST, PLAN
from fetchml.snapshot.tree import read_tree
from fetchml.store.folder import RunFolder
from fetchml.store.turns import adding

_AT_ONCE = 64
"""Files of one batch; each is open until it has been uploaded."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What the bucket has of a run."""

    manifest: bytes
    """Byte for byte."""
    is_new: bool
    """Whether it had to be copied."""


@dataclass(frozen=True, slots=True)
class Copying:
    """Copies runs of one home to one bucket."""

    bucket: Bucket
    folder: DirectoryObjects
    """Objects of this host, for code that was stored before there was a bucket."""
    store: Path
    """Folder of the run store: what is found in the bucket is not removed in the same moment (`store.turns`)."""
    _sound_commits: set[str] = field(default_factory=set[str])
    """Snapshots that were found in the bucket: many runs share one, and looking for it may list the bucket."""

    def copy(self, run: RunFolder) -> Copied:
        """Copies a run, or what differs of it.

        Raises:
            Corrupt: The record does not fit its seal or its files, so it is not copied.
            Conflict: The bucket has another run of that id.
            NotFound: The run is gone, or a part of its code is nowhere.
            FetchmlError: The bucket does not answer or denies access; what was copied so far stays, and is found.
        """
        with durable.translated("read", run.manifest):
            content = run.manifest.read_bytes()
        record = read_sealed(run.run_id, content)
        there = self.bucket.sound_record(run.run_id)
        if there is not None and there.seal != record.seal:
            raise Conflict(
                f"the bucket has another run `{run.run_id}`",
                detail=f"its seal there is {there.seal[:16]}, here {record.seal[:16]}",
                hint="give this home a prefix of its own with `objects.url`",
                code="run-exists",
            )
        if there is None:
            with durable.translated("read", run.plan):
                plan = record.check_plan(run.plan.read_bytes())
            self._put_code(record)
            self._put_files(record, run)
            self.bucket.records.write(run.run_id, PLAN, plan)
        is_new = there is None or there.content != content
        if is_new:
            self.bucket.records.write(run.run_id, MANIFEST, content)
        return Copied(content, is_new)

    def _put_code(self, record: SealedRecord) -> None:
        identity, git = record.manifest.identity, record.manifest.environment.git
        extra = {git.diff_object} if git is not None and git.diff_object is not None else set[str]()
        if identity.commit_id in self._sound_commits and not extra:
            return
        digests = {identity.commit_id, *extra, *self._files_of(identity.commit_id)}
        with adding(self.store), self.bucket.objects.batch() as batch:
            missing = sorted(batch.keep(digests))
        for start in range(0, len(missing), _AT_ONCE):
            with adding(self.store), self.bucket.objects.batch() as batch:
                for digest in missing[start : start + _AT_ONCE]:
                    self._put_object(batch, digest)
        self._sound_commits.add(identity.commit_id)

    def _files_of(self, commit_id: str) -> set[str]:
        try:
            content = self.bucket.objects.read(commit_id)
        except NotFound:
            content = self.folder.read(commit_id) if self.folder.has(commit_id) else None
        if content is None:
            raise _no_code(commit_id)
        return {entry.sha256 for entry in read_tree(content).files}

    def _put_object(self, batch: ObjectBatch, digest: str) -> None:
        if not self.folder.has(digest):
            raise _no_code(digest)
        try:
            batch.put_file(self.folder.path(digest), digest)
        except ChangedWhileRead as error:
            raise Corrupt(f"object `{digest[:12]}` is damaged", code="object-damaged") from error

    def _put_files(self, record: SealedRecord, run: RunFolder) -> None:
        for start in range(0, len(record.files), _AT_ONCE):
            try:
                with adding(self.store), self.bucket.objects.batch() as batch:
                    for item in record.files[start : start + _AT_ONCE]:
                        batch.put_file(run.path / item.path, item.sha256)
            except ChangedWhileRead as error:
                raise Corrupt(
                    f"a file of run `{record.run_id}` is not what its manifest says",
                    detail=f"`{error}` has another SHA-256",
                    hint=f"`fetchml validate {record.run_id}` names everything that is wrong with the run",
                    code="record-damaged",
                ) from error


def _no_code(digest: str) -> NotFound:
    return NotFound(
        f"object `{digest[:12]}` of the code is neither in the bucket nor on this host",
        hint="`fetchml objects migrate` copies objects from another place",
        code="no-such-object",
    )
