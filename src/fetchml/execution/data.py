"""Compares a run's datasets with their checksums, before it starts."""

import time
from contextlib import suppress
from pathlib import Path

from fetchml.datasets.catalogue import Dataset
from fetchml.datasets.digest import Digest, differences, digest
from fetchml.datasets.oversight import DATA_UNAVAILABLE, Oversight
from fetchml.datasets.staging import CACHE_FULL
from fetchml.errors import FetchmlError, Unavailable
from fetchml.execution.staged import Way, bring
from fetchml.home import Home
from fetchml.models.dataset import DatasetSpec, algorithm_of
from fetchml.models.dataset_record import DatasetRecord
from fetchml.models.plan import DatasetPlan
from fetchml.preflight.check import Fault

_SHOWN = 5
_SPOILT = "copy-changed"
_MENDABLE = frozenset(
    {
        "s3-unavailable",
        "wrong-s3-credentials",
        "no-s3-credentials",
        "s3-denied",
        "no-s3-server",
        "no-such-bucket",
        "wrong-region",
        "clock-skew",
        CACHE_FULL,
        DATA_UNAVAILABLE,
        _SPOILT,
    }
)
"""Codes of errors of a host or a server, which somebody can put right while the run waits."""


def verify(item: DatasetPlan, home: Home, oversight: Oversight) -> DatasetRecord | Fault:
    """Brings a dataset to this host and returns what was found of it, or why the run cannot have it.

    Files that were not touched since they were hashed are not read again.

    Args:
        item: The dataset as the plan names it.
        home: The home folder.
        oversight: How long it may take, and who may stop it.

    Raises:
        FetchmlError: What is wrong is this host, a share or a server, and not the run: it can go on later.
        Stopped: It was to be stopped.
    """
    started = time.monotonic()
    asked = f"{item.name} {item.checksum}"
    try:
        # By checksum alone: a version may have been added again under another number.
        entry = home.datasets.find(DatasetSpec(item.name, checksum=item.checksum))
        found, way = _found(entry, home, oversight)
    except FetchmlError as error:
        if error.code in _MENDABLE:
            raise
        actual = ": ".join(filter(None, (error.summary, error.detail)))
        return Fault("dataset", asked, actual, error.hint or "")
    if found.checksum != item.checksum:
        changed = what_changed(entry, found, home)
        return Fault(
            "dataset",
            asked,
            f"{found.checksum} ({changed})",
            f"put the data back, or `fetchml dataset add {item.name}`",
        )
    return DatasetRecord(
        name=item.name,
        version=entry.version,
        uri=entry.uri,
        checksum=found.checksum,
        size_bytes=found.size_bytes,
        mount=item.mount,
        fetched_via=way,
        verified_via="full-hash" if found.hashed_count else "stat-cache",
        fetch_seconds=round(time.monotonic() - started, 3),
    )


def _found(entry: Dataset, home: Home, oversight: Oversight) -> tuple[Digest, Way]:
    """Returns what the data on this host is, and how it came there."""

    def read(path: Path) -> Digest:
        algorithm = algorithm_of(entry.checksum)
        return digest(path, home.dataset_cache, algorithm=algorithm, oversight=oversight)

    path, way = bring(entry, home, oversight)
    if way == "in-place":
        return read(path), way
    with suppress(FetchmlError):
        found = read(path)
        if found.checksum == entry.checksum:
            return found, way
    if home.readers().is_open(entry.checksum):
        raise Unavailable(
            f"somebody has changed the copy of `{entry}`, and other runs read it now",
            hint="it is made anew when they have ended",
            code=_SPOILT,
        )
    home.staging.discard(entry.checksum)
    path, way = bring(entry, home, oversight)
    return read(path), way


def what_changed(entry: Dataset, found: Digest, home: Home) -> str:
    """Returns the first files that differ from what was added, for people."""
    listing = home.datasets.listing(entry)
    if listing is None:
        return "which files changed cannot be told: the listing is gone"
    changes = list(differences(listing, found.listing))
    more = [f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
    return "; ".join(changes[:_SHOWN] + more)
