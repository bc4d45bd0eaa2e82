"""Brings a run from a bucket into the run store of this host: nothing is visible until all of it is there and sound."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from fetchml import durable
from fetchml.archive.bucket import Bucket
from fetchml.archive.notes import CopyNote, write_note
from fetchml.archive.record import ListedFile, SealedRecord, read_sealed
from fetchml.errors import Conflict, Corrupt, NotFound
from fetchml.home import Home
from fetchml.objects.port import ObjectStore
from fetchml.objects.records import PLAN
from fetchml.snapshot.materialise import remove_tree
from fetchml.snapshot.tree import read_tree
from fetchml.store.folder import RunFolder
from fetchml.store.leftovers import bringing, leftovers
from fetchml.store.turns import adding

_AT_ONCE = 64
"""Objects of one batch."""


class Fetched(StrEnum):
    """What became of one run."""

    FETCHED = "fetched"
    PRESENT = "present"
    """The store has it already; what people have written into it here is left as it is."""


def fetch_run(home: Home, bucket: Bucket, run_id: str) -> Fetched:
    """Brings a run into the store of a home; a run that is there is never overwritten.

    Args:
        home: The home folder; made if need be.
        bucket: Where the run is.
        run_id: The run.

    Raises:
        NotFound: The bucket has no such run, or a part of it is missing.
        Corrupt: The record or a file is not what its seal or its digest says.
        Conflict: The store has another run of that id.
        FetchmlError: The bucket does not answer, or the disk is full; nothing of the run is then left.
    """
    record = bucket.record(run_id)
    if record is None:
        raise NotFound(
            f"there is no run `{run_id}` in the bucket",
            detail=bucket.name,
            hint="`fetchml objects fetch --all --dry-run` lists those that are there",
            code="no-such-run",
        )
    if _is_present(home, record):
        return Fetched.PRESENT
    home.create()
    store, runs = home.store, home.settings.store / "runs"
    durable.make_folder(runs)
    with leftovers(runs) as left:  # of fetches that were killed
        for path in left:
            remove_tree(path)
    with adding(home.settings.store):
        _fetch_code(home, bucket, record)
        with bringing(runs, run_id) as temporary:
            try:
                _lay_out(home, bucket, record, RunFolder(temporary))
                is_new = durable.publish_folder(temporary, store.folder(run_id).path)
            finally:
                remove_tree(temporary)
    if not is_new and not _is_present(home, record):  # another process was faster
        raise _taken(run_id)
    _note(store.folder(run_id), bucket, record)
    return Fetched.FETCHED if is_new else Fetched.PRESENT


def _is_present(home: Home, record: SealedRecord) -> bool:
    """Tells whether the store has this very run.

    Raises:
        Conflict: It has another one of that id.
    """
    folder = home.store.folder(record.run_id)
    if not os.path.lexists(folder.path):
        return False
    try:
        here = read_sealed(record.run_id, folder.manifest.read_bytes())
    except (Corrupt, OSError) as error:
        raise _taken(record.run_id) from error
    if here.seal != record.seal:
        raise _taken(record.run_id)
    return True


def _lay_out(home: Home, bucket: Bucket, record: SealedRecord, run: RunFolder) -> None:
    """Writes a run folder as it was sealed, durably."""
    plan = record.check_plan(bucket.records.read(record.run_id, PLAN))
    for item in record.files:
        _copy(bucket.objects, item, run.path / item.path)
    if not durable.exists(run.plan):  # a run that was cancelled before it was claimed lists no files
        durable.write_atomic(run.plan, plan, mode=0o444)
    _restore_times(record, run)
    with durable.translated("create", run.path):
        if record.manifest.artifacts is not None:
            run.results.mkdir(exist_ok=True)
        if record.manifest.sandbox is not None:
            target = home.snapshots.root / record.manifest.identity.commit_id
            run.code.symlink_to(os.path.relpath(target, run.path))
        _sync_folders(run.path)
    durable.write_atomic(run.manifest, record.content, mode=0o444)


def _copy(objects: ObjectStore, item: ListedFile, target: Path) -> None:
    with durable.translated("create", target):
        target.parent.mkdir(parents=True, exist_ok=True)
    objects.copy_to(item.sha256, target)
    with durable.translated("write", target):
        if target.stat().st_size != item.size_bytes:
            raise Corrupt(
                "a file in the bucket has another size than the manifest says",
                detail=f"`{item.path}` has {target.stat().st_size} bytes, listed are {item.size_bytes}",
                code="record-damaged",
            )
        if target.name == "claim.json":
            target.chmod(0o400)  # it holds the token of the attempt, as on the host it comes from
        durable.sync_file(target)


def _restore_times(record: SealedRecord, run: RunFolder) -> None:
    for item in record.manifest.artifacts.files if record.manifest.artifacts is not None else ():
        moment = item.modified.timestamp()
        with durable.translated("write", run.results / item.path):
            os.utime(run.results / item.path, (moment, moment))


def _sync_folders(root: Path) -> None:
    """Makes all names durable, and the folders of the results read-only as the seal did."""
    for current, _, _ in os.walk(root, topdown=False):
        path = Path(current)
        durable.sync_folder(path)
        if path.relative_to(root).parts[:1] == ("results",):
            path.chmod(0o555)


def _fetch_code(home: Home, bucket: Bucket, record: SealedRecord) -> None:
    """Stores the code of a run in the objects of the home, unless they are the bucket's."""
    identity, git = record.manifest.identity, record.manifest.environment.git
    content = bucket.objects.read(identity.commit_id)
    digests = {identity.commit_id, *(entry.sha256 for entry in read_tree(content).files)}
    if git is not None and git.diff_object is not None:
        digests.add(git.diff_object)
    if home.objects is bucket.objects:
        with bucket.objects.batch() as batch:
            missing = batch.keep(digests)
        for digest in sorted(missing):
            bucket.objects.read(digest)  # one that was found damaged may have been mended since; else this says why
        return
    _copy_objects(bucket.objects, home.objects, digests, home.object_settings.staging)


def _copy_objects(source: ObjectStore, target: ObjectStore, digests: Iterable[str], staging: Path) -> None:
    durable.make_folder(staging)
    with target.batch() as batch:
        missing = sorted(batch.keep(set(digests)))
    for start in range(0, len(missing), _AT_ONCE):
        with tempfile.TemporaryDirectory(dir=staging) as folder, target.batch() as batch:
            for digest in missing[start : start + _AT_ONCE]:
                file = Path(folder) / digest
                source.copy_to(digest, file)
                batch.put_file(file, digest)


def _note(run: RunFolder, bucket: Bucket, record: SealedRecord) -> None:
    if not durable.exists(run.copy_note):
        digest = hashlib.sha256(record.content).hexdigest()
        write_note(run, CopyNote(place=bucket.name, manifest_sha256=digest, copied_at=datetime.now(UTC)))


def _taken(run_id: str) -> Conflict:
    return Conflict(
        f"the store has another run `{run_id}`",
        detail="its seal is not that of the run in the bucket, or it has not ended, or it is damaged",
        hint="it is left as it is; fetch into another home folder with FETCHML_HOME",
        code="run-exists",
    )
