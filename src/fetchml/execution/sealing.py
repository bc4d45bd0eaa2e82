"""The end of a run's record: everything is listed, hashed and protected, then the manifest is sealed.

Objects and files first, the manifest last: a reader that finds no seal sees an unfinished run, never half of one.
Every step can be repeated.
"""

import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fetchml import durable
from fetchml.diagnosis import diagnose
from fetchml.errors import Bug, FetchmlError
from fetchml.execution.after import sections_after, warnings_after
from fetchml.execution.artifacts import collect, protect_folders, record_file
from fetchml.execution.ended import Ended
from fetchml.execution.metrics import summarise, values_of
from fetchml.execution.output import rewrite_metrics
from fetchml.execution.samples import Summary, read_samples, summary_of
from fetchml.execution.stall import clear_stall
from fetchml.models.dataset_record import DatasetRecord
from fetchml.models.manifest import Artifacts, Diagnosis, RecordFile, RunManifest, Sign
from fetchml.models.resources import ResourceUse
from fetchml.models.status import (
    Cancelled,
    Completed,
    EndReason,
    Failed,
    Finalizing,
    RefusedStatus,
    State,
    Status,
)
from fetchml.store.folder import RunFolder
from fetchml.store.port import RunStore

LoadSigner = Callable[[], Sign]
"""Reads the key that signs; raises a FetchmlError if there is none that may be used."""

Compare = Callable[[tuple[DatasetRecord, ...]], tuple[DatasetRecord, ...]]

_BEFORE_THE_END = (State.PREPARING, State.RUNNING, State.UNREACHABLE)


def seal_run(
    store: RunStore,
    run: RunFolder,
    attempt: int,
    ended: Ended,
    now: Callable[[], datetime],
    signer: LoadSigner | None = None,
    look_back: Compare | None = None,
) -> RunManifest:
    """Records how a run ended and seals its manifest; a sealed run stays as it is.

    Args:
        store: The run store.
        run: Folder of the run.
        attempt: Number of the attempt that ended.
        ended: How it ended.
        now: The clock.
        signer: Reads the key, for runs whose seal is to be signed.
        look_back: Compares the datasets again.

    Raises:
        Unavailable: The disk is full; the run is then not sealed and the call can be repeated.
    """
    folder = run.attempt(attempt)
    data: tuple[DatasetRecord, ...] | None = None
    if not ended.facts.refused:
        current = store.update(run.run_id, lambda manifest: finalizing(manifest, attempt, ended, now()))
        if look_back is not None and ended.started_at is not None and current.seal is None:
            data = look_back(current.datasets)
    if os.path.exists(folder.inbox):  # what a payload put in its place is no error
        rewrite_metrics(folder)
    metrics = summarise(values_of(folder.inbox / "metrics.jsonl", folder.output))
    artifacts = _artifacts(run.results, now())
    used = summary_of(read_samples(folder.resources))
    record = record_files(run, attempt, now())
    diagnosis = diagnose(ended.facts)

    def change(manifest: RunManifest) -> RunManifest:
        if manifest.seal is not None:
            return manifest
        final = manifest.with_status(
            _final_status(manifest, attempt, ended, diagnosis),
            diagnosis=diagnosis,
            metrics=metrics,
            artifacts=artifacts,
            record_files=record,
            resources=manifest.resources.model_copy(update={"actual": _resource_use(ended, folder.output, used)}),
            warnings=(
                *manifest.warnings,
                *ended.warnings,
                *used.warnings(manifest.resources.requested.gpu_memory_bytes),
                *warnings_after(data or ()),
            ),
            **sections_after(manifest, data or manifest.datasets),
        )
        return sealed(final, now(), signer)

    return store.update(run.run_id, change)


def sealed(manifest: RunManifest, now: datetime, signer: LoadSigner | None) -> RunManifest:
    """Returns the manifest sealed, and signed if that was asked for.

    A key that cannot be used costs the signature and never the run; the record then says so.
    """
    if not manifest.metadata.sign:
        return manifest.sealed(now)
    try:
        sign = signer() if signer is not None else None
        fault = None if sign is not None else "nobody here has a key"
    except FetchmlError as error:
        sign, fault = None, error.summary
    if fault is not None:
        manifest = manifest.with_sections(warnings=(*manifest.warnings, f"the seal is not signed: {fault}"))
    return manifest.sealed(now, sign)


def clean(run: RunFolder, attempt: int) -> None:
    """Removes what only a live attempt needs; call it once the run is sealed."""
    folder = run.attempt(attempt)
    folder.stop.unlink(missing_ok=True)
    clear_stall(folder)
    shutil.rmtree(folder.inbox, ignore_errors=True)


def finalizing(manifest: RunManifest, attempt: int, ended: Ended, now: datetime) -> RunManifest:
    """Returns the manifest of a run whose payload has ended, or will never start."""
    if manifest.status.state not in _BEFORE_THE_END:
        return manifest
    started = manifest.times.started_at
    return manifest.with_status(
        Finalizing(
            since=now,
            started_at=started,
            ended_at=max(ended.ended_at, started or ended.ended_at),
            attempt=attempt,
            exit_code=ended.facts.exit_code,
        )
    )


def _final_status(manifest: RunManifest, attempt: int, ended: Ended, diagnosis: Diagnosis) -> Status:
    current = manifest.status
    if ended.facts.refused:
        return RefusedStatus(ended_at=ended.ended_at, attempt=attempt, faults=ended.facts.refused)
    if not isinstance(current, Finalizing):
        raise Bug(f"run `{manifest.identity.run_id}` is `{current.state}` when it should be finalizing")
    if diagnosis.category is EndReason.CANCELLED:
        return Cancelled(
            started_at=current.started_at,
            ended_at=current.ended_at,
            attempt=attempt,
            exit_code=current.exit_code,
            by=ended.facts.cancelled_by or "unknown",
        )
    if diagnosis.category is EndReason.OK and current.started_at is not None:
        return Completed(started_at=current.started_at, ended_at=current.ended_at, attempt=attempt)
    return Failed(
        started_at=current.started_at,
        ended_at=current.ended_at,
        attempt=attempt,
        exit_code=current.exit_code,
        end_reason=diagnosis.category,
    )


def _artifacts(results: Path, now: datetime) -> Artifacts | None:
    if not os.path.exists(results):
        return None
    artifacts = collect(results, now)
    protect_folders(results)
    return artifacts


def record_files(run: RunFolder, attempt: int, now: datetime) -> tuple[RecordFile, ...]:
    """Protects the files of a record and returns their entries for the manifest.

    Those of earlier attempts are among them, with what these had written to their results.

    Args:
        run: Folder of the run.
        attempt: Number of its last attempt.
        now: The time.
    """
    folders = [run.attempt(number) for number in range(1, attempt + 1)]
    paths = (run.plan, run.cancel, *(path for folder in folders for path in folder.record))
    entries = [record_file(run.path, path) for path in paths if durable.exists(path)]
    for folder in folders:
        earlier = _artifacts(folder.results, now)
        for item in earlier.files if earlier is not None else ():
            path = str((folder.results / item.path).relative_to(run.path))
            entries.append(RecordFile(path=path, size_bytes=item.size_bytes, sha256=item.sha256))
    return tuple(entries)


def _resource_use(ended: Ended, output: Path, used: Summary) -> ResourceUse:
    wall = (ended.ended_at - ended.started_at).total_seconds() if ended.started_at else None
    return ResourceUse(
        wall_s=None if wall is None else round(max(0.0, wall), 3),
        cpu_s=None if ended.cpu_s is None else round(ended.cpu_s, 3),
        memory_peak_bytes=ended.facts.memory_peak_bytes,
        output_bytes=output.stat().st_size if durable.exists(output) else None,
        **used.as_use(),
    )
