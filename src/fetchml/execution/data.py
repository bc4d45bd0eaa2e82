"""Compares a run's datasets with their checksums, before it starts."""

import time

from fetchml.datasets.catalogue import Dataset
from fetchml.datasets.digest import Digest, differences, digest
from fetchml.datasets.oversight import DATA_UNAVAILABLE, Oversight
from fetchml.errors import FetchmlError
from fetchml.home import Home
from fetchml.models.dataset import DatasetSpec, algorithm_of
from fetchml.models.manifest import DatasetRecord
from fetchml.models.plan import DatasetPlan
from fetchml.preflight.check import Fault

_SHOWN = 5


def verify(item: DatasetPlan, home: Home, oversight: Oversight) -> DatasetRecord | Fault:
    """Returns what was found of a dataset, or why the run cannot have it.

    Files that were not touched since they were hashed are not read again.

    Args:
        item: The dataset as the plan names it.
        home: The home folder.
        oversight: How long it may take, and who may stop it.

    Raises:
        Unavailable: The data does not answer; the run can wait until it does.
        Stopped: It was to be stopped.
    """
    started = time.monotonic()
    asked = f"{item.name} {item.checksum}"
    try:
        # By checksum alone: a version may have been added again under another number.
        entry = home.datasets.find(DatasetSpec(item.name, checksum=item.checksum))
        algorithm = algorithm_of(item.checksum)
        found = digest(entry.path, home.dataset_cache, algorithm=algorithm, oversight=oversight)
    except FetchmlError as error:
        if error.code == DATA_UNAVAILABLE:
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
        verified_via="full-hash" if found.hashed_count else "stat-cache",
        fetch_seconds=round(time.monotonic() - started, 3),
    )


def what_changed(entry: Dataset, found: Digest, home: Home) -> str:
    """Returns the first files that differ from what was added, for people."""
    listing = home.datasets.listing(entry)
    if listing is None:
        return "which files changed cannot be told: the listing is gone"
    changes = list(differences(listing, found.listing))
    more = [f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
    return "; ".join(changes[:_SHOWN] + more)
