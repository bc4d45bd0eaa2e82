"""Ends a run that nobody has started."""

from collections.abc import Callable
from datetime import datetime

from fetchml.execution.claims import cancel_claim
from fetchml.execution.sealing import LoadSigner, record_files, sealed
from fetchml.models.claim import ClaimKind
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.status import Cancelled, EndReason, State
from fetchml.store.port import RunStore

BY_PREFECT = "the Prefect UI"
"""Who is named as the canceller when the request came through Prefect."""


def cancel_unstarted(
    store: RunStore, run_id: str, by: str, now: Callable[[], datetime], signer: LoadSigner | None = None
) -> RunManifest | None:
    """Cancels a run if nobody owns it: takes the claim, so that no worker ever starts it, and seals the record.

    Returns:
        The sealed manifest, or None if a worker owns the run and has to stop it.
    """
    waiting = store.read_manifest(run_id)
    attempt = waiting.attempt
    if waiting.status.state is State.QUEUED:
        store.claim(cancel_claim(run_id, attempt, by=by, now=now()))
    claim = store.read_claim(run_id, attempt)
    if claim is None or claim.kind is not ClaimKind.CANCEL:
        return None
    record = record_files(store.folder(run_id), attempt, now())

    def change(manifest: RunManifest) -> RunManifest:
        if manifest.status.state is not State.QUEUED:
            return manifest
        diagnosis = Diagnosis(category=EndReason.CANCELLED, summary=f"cancelled by {claim.worker} before it started")
        status = Cancelled(started_at=None, ended_at=now(), attempt=None, exit_code=None, by=claim.worker)
        return sealed(manifest.with_status(status, diagnosis=diagnosis, record_files=record), now(), signer)

    return store.update(run_id, change)
