"""Compares the datasets of a run again when it has ended: what changed under it is no longer what the record names.

The outcome of the run does not depend on it. Its seal waits for it, so it takes a limited time.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fetchml.datasets.digest import digest
from fetchml.datasets.oversight import Stopped
from fetchml.errors import FetchmlError, NotFound
from fetchml.execution.data import what_changed
from fetchml.execution.staged import place_of
from fetchml.home import Home
from fetchml.models.dataset import DatasetSpec, algorithm_of
from fetchml.models.dataset_record import DatasetCheck, DatasetOutcome, DatasetRecord
from fetchml.models.manifest import RunManifest
from fetchml.models.units import format_duration
from fetchml.preflight.trust import lowered

_GONE = ("no-such-data", "dataset-empty", "dataset-changing")
"""Codes of errors that say that the data is not there as it was."""


class LookBack:
    """Compares datasets after a run.

    Args:
        home: The home folder.
        now: The clock.
        is_cancelled: Tells whether the run was cancelled.
    """

    def __init__(self, home: Home, now: Callable[[], datetime], is_cancelled: Callable[[], bool]) -> None:
        self._home = home
        self._now = now
        self._is_cancelled = is_cancelled
        self._found: tuple[DatasetRecord, ...] | None = None

    def compare(self, records: tuple[DatasetRecord, ...]) -> tuple[DatasetRecord, ...]:
        """Returns the records with what was found; all of it is done once in the life of this object."""
        how = self._home.settings.datasets_check_after
        if how == "never":
            return records
        if self._found is None:
            # Who has cancelled a run does not wait for a terabyte to be read; who cancels now waits no longer.
            was_cancelled = self._is_cancelled()
            stop = None if was_cancelled else self._is_cancelled
            until = time.monotonic() + self._home.settings.datasets_check_limit
            is_full = how == "full" and not was_cancelled
            self._found = tuple(self._compared(item, until, stop, is_full=is_full) for item in records)
        return self._found

    def _compared(
        self, record: DatasetRecord, until: float, stop: Callable[[], bool] | None, *, is_full: bool
    ) -> DatasetRecord:
        began = time.monotonic()
        found: dict[str, Any]
        try:
            found = self._look(record, until - began, stop, is_full=is_full)
        except Stopped:
            is_late = time.monotonic() >= until
            limit = format_duration(self._home.settings.datasets_check_limit)
            why = f"not done within {limit} (`datasets.check_limit`)" if is_late else "the run was cancelled meanwhile"
            found = {"outcome": DatasetOutcome.UNKNOWN, "detail": why}
        except FetchmlError as error:
            outcome = DatasetOutcome.CHANGED if error.code in _GONE else DatasetOutcome.UNKNOWN
            found = {"outcome": outcome, "detail": ": ".join(filter(None, (error.summary, error.detail)))}
        seconds = round(time.monotonic() - began, 3)
        return record.model_copy(
            update={"after": DatasetCheck(**found, checked_at=self._now(), seconds=seconds)},
        )

    def _look(
        self, record: DatasetRecord, within_s: float, stop: Callable[[], bool] | None, *, is_full: bool
    ) -> dict[str, Any]:
        found = digest(
            place_of(record, self._home),
            None if is_full else self._home.dataset_cache,
            algorithm=algorithm_of(record.checksum),
            oversight=self._home.oversight(should_stop=stop, within_s=max(0.0, within_s)),
        )
        via = "full-hash" if found.hashed_count else "stat-cache"
        if found.checksum == record.checksum:
            return {"outcome": DatasetOutcome.UNCHANGED, "verified_via": via, "checksum": found.checksum}
        try:
            entry = self._home.datasets.find(DatasetSpec(record.name, checksum=record.checksum))
            changed = what_changed(entry, found, self._home)
        except NotFound:
            changed = "which files changed cannot be told: it was taken out of the catalogue"
        return {
            "outcome": DatasetOutcome.CHANGED,
            "verified_via": via,
            "checksum": found.checksum,
            "detail": changed,
        }


def sections_after(manifest: RunManifest, records: tuple[DatasetRecord, ...]) -> dict[str, Any]:
    """Returns the sections of a manifest that follow from what was found after the run.

    Args:
        manifest: The record so far.
        records: Its datasets, compared again.
    """
    sections: dict[str, Any] = {"datasets": records}
    drifted = [item.name for item in records if item.drifted]
    if drifted:
        detail = f"changed during the run: {', '.join(drifted)}"
        level, evidence = lowered(manifest.plan.trust_level, manifest.plan.trust_evidence, "datasets", detail)
        sections["plan"] = manifest.plan.model_copy(update={"trust_level": level, "trust_evidence": evidence})
    return sections


def warnings_after(records: tuple[DatasetRecord, ...]) -> tuple[str, ...]:
    """Returns what a reader should know of the datasets, one line each."""
    lines: list[str] = []
    for item in records:
        if item.after is not None and item.after.outcome is not DatasetOutcome.UNCHANGED:
            what = "changed during the run" if item.drifted else "could not be compared again after the run"
            lines.append(f"the dataset `{item.name}` {what}: {item.after.detail}")
    return tuple(lines)
