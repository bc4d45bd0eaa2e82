"""Puts a run back into the queue after an attempt that failed for no reason of its own.

What the attempt left stays: its output and metrics in its folder, and beside them what it had written to its results,
since the next attempt must find them empty. Every step can be repeated.
"""

from datetime import datetime

from fetchml import durable
from fetchml.execution.ended import Ended
from fetchml.execution.sealing import finalizing
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.queueing import AttemptRecord
from fetchml.models.status import Finalizing, Queued
from fetchml.store.folder import RunFolder
from fetchml.store.port import RunStore


def put_back(
    store: RunStore, run: RunFolder, attempt: int, ended: Ended, diagnosis: Diagnosis, due: datetime, now: datetime
) -> RunManifest:
    """Makes a run wait for its next attempt; one that waits for it already, or is in it, stays as it is.

    Args:
        store: The run store.
        run: Folder of the run.
        attempt: Number of the attempt that ended.
        ended: How it ended.
        diagnosis: Why.
        due: When the next one may start.
        now: The time.

    Raises:
        Unavailable: The disk is full; the call can be repeated.
    """
    manifest = store.update(
        run.run_id, lambda found: found if found.is_over(attempt) else finalizing(found, attempt, ended, now)
    )
    if manifest.is_over(attempt):
        return manifest
    kept = run.attempt(attempt).results
    if durable.exists(run.results) and not durable.exists(kept):
        with durable.translated("move", run.results):
            run.results.rename(kept)

    def change(found: RunManifest) -> RunManifest:
        status = found.status
        if found.is_over(attempt) or not isinstance(status, Finalizing):
            return found
        record = AttemptRecord(
            attempt=attempt,
            host=found.placement.host if found.placement else "unknown",
            device_ids=found.placement.device_ids if found.placement else (),
            started_at=status.started_at,
            ended_at=status.ended_at,
            exit_code=status.exit_code,
            end_reason=diagnosis.category,
            summary=diagnosis.summary,
            flow_run_id=found.prefect.flow_run_id if found.prefect else None,
        )
        return found.with_status(
            Queued(since=now, attempt=attempt + 1, not_before=due),
            attempts=(*found.attempts, record),
            placement=None,
            hardware=None,
            sandbox=None,
            prefect=None,
        )

    return store.update(run.run_id, change)
