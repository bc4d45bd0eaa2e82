"""Copies the records of runs from one bucket to another, once all that they name is there."""

from collections.abc import Callable

from fetchml.archive.bucket import Bucket
from fetchml.archive.copier import OF_ONE_RUN
from fetchml.archive.record import SealedRecord
from fetchml.errors import Conflict, NotFound
from fetchml.objects.records import MANIFEST, PLAN
from fetchml.service.push import Moved
from fetchml.snapshot.tree import read_tree


def relay(source: Bucket, target: Bucket, progress: Callable[[str], None]) -> Moved:
    """Copies all records; objects are copied before.

    Args:
        source: Where the runs are.
        target: Where they go.
        progress: Gets a line for each run.

    Raises:
        FetchmlError: A bucket does not answer or denies access; what was copied so far stays.
    """
    done = Moved(target.name)
    stored = frozenset(target.objects.digests())
    for run_id in sorted(source.records.run_ids()):
        try:
            record = source.record(run_id)
            if record is None:
                continue  # removed meanwhile
            is_new = _copy(source, target, record, stored)
        except OF_ONE_RUN as error:
            done.failed[run_id] = error
            continue
        (done.moved if is_new else done.present).append(run_id)
        if is_new:
            progress(f"copied {run_id}")
    return done


def _copy(source: Bucket, target: Bucket, record: SealedRecord, stored: frozenset[str]) -> bool:
    there = target.sound_record(record.run_id)
    if there is not None and there.seal != record.seal:
        raise Conflict(f"the bucket has another run `{record.run_id}`", detail=target.name, code="run-exists")
    if there is not None and there.content == record.content:
        return False
    commit_id = record.manifest.identity.commit_id
    needed = {item.sha256 for item in record.files}
    if commit_id in stored:
        needed |= {entry.sha256 for entry in read_tree(target.objects.read(commit_id)).files}
    missing = (needed | {commit_id}) - stored
    if missing:
        raise NotFound(
            f"object `{min(missing)[:12]}` of run `{record.run_id}` is not in the bucket",
            detail=target.name,
            code="no-such-object",
        )
    plan = record.check_plan(source.records.read(record.run_id, PLAN))
    target.records.write(record.run_id, PLAN, plan)
    target.records.write(record.run_id, MANIFEST, record.content)
    return True
