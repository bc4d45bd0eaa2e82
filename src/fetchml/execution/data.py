"""Compares a run's datasets with their checksums, before it starts."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fetchml.datasets.catalogue import Dataset
from fetchml.datasets.digest import Digest, differences, digest
from fetchml.datasets.oversight import DATA_UNAVAILABLE, Oversight, overseen
from fetchml.datasets.places import Place, place_at
from fetchml.datasets.staging import CACHE_FULL
from fetchml.engine.port import Engine
from fetchml.errors import FetchmlError, Unavailable
from fetchml.execution.staged import Way, bring, way_of
from fetchml.home import Home
from fetchml.models.dataset import DatasetSpec, algorithm_of
from fetchml.models.dataset_record import DatasetRecord
from fetchml.models.plan import DatasetPlan
from fetchml.preflight.check import Fault

_SHOWN = 5
_KEEP_STILL = "keep others from changing the folders above it, or copy it to this host with `datasets.stage: always`"
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


@dataclass(frozen=True, slots=True)
class Verified:
    """A dataset that is on this host, and is what the plan names."""

    record: DatasetRecord
    place: Place
    """The file or folder that was compared."""


def verify(item: DatasetPlan, home: Home, oversight: Oversight) -> Verified | Fault:
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
        found, way, place = _found(entry, home, oversight)
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
    if place is None:
        return Fault("dataset", asked, f"`{entry.place}` became another place while it was read", _KEEP_STILL)
    record = DatasetRecord(
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
    return Verified(record, place)


def replaced_data(places: Mapping[str, Place], oversight: Oversight) -> list[Fault]:
    """Returns a fault for each dataset that is not where it was compared any more.

    Args:
        places: Where they were, by name.
        oversight: How long a share may be silent.
    """

    def is_there(place: Place) -> bool:
        return overseen(lambda: place_at(place.path), place.path, oversight) == place

    return [
        Fault("dataset", f"`{place.path}` of `{name}` as it was compared", "another file or folder", _KEEP_STILL)
        for name, place in places.items()
        if not is_there(place)
    ]


def swapped_data(
    items: Iterable[DatasetPlan], places: Mapping[str, Place], engine: Engine, container: str
) -> str | None:
    """Returns why a container has other data than what was compared; None if it has not, or that cannot be told.

    Engines mount what a path means at that moment. They take no open folder for it: a mount of `/proc/PID/fd/N` is
    refused by the kernel, because it belongs to another mount namespace (measured with runc 1.1).
    """
    for item in items:
        place = places.get(item.name)
        if place is not None and item.mount is not None:
            seen = engine.mounted(container, item.mount)
            if seen not in (None, (place.device, place.inode)):
                return f"`{place.path}` of the dataset `{item.name}` was replaced as the run was started"
    return None


def _found(entry: Dataset, home: Home, oversight: Oversight) -> tuple[Digest, Way, Place | None]:
    """Returns what the data on this host is, how it came there, and where: None if that changed meanwhile."""

    def read(path: Path, way: Way) -> tuple[Digest, Way, Place | None]:
        algorithm = algorithm_of(entry.checksum)
        before = overseen(lambda: place_at(path), path, oversight)
        found = digest(path, home.dataset_cache, algorithm=algorithm, oversight=oversight)
        after = overseen(lambda: place_at(path), path, oversight)
        return found, way, after if after == before else None

    source = entry.path
    if source is not None and way_of(entry, home) != "cache":
        overseen(lambda: home.check_data_place(source), source, oversight)
    path, way = bring(entry, home, oversight)
    if way == "in-place":
        return read(path, way)
    with suppress(FetchmlError):
        found = read(path, way)
        if found[0].checksum == entry.checksum:
            return found
    if home.readers().is_open(entry.checksum):
        raise Unavailable(
            f"somebody has changed the copy of `{entry}`, and other runs read it now",
            hint="it is made anew when they have ended",
            code=_SPOILT,
        )
    home.staging.discard(entry.checksum)
    path, way = bring(entry, home, oversight)
    return read(path, way)


def what_changed(entry: Dataset, found: Digest, home: Home) -> str:
    """Returns the first files that differ from what was added, for people."""
    listing = home.datasets.listing(entry)
    if listing is None:
        return "which files changed cannot be told: the listing is gone"
    changes = list(differences(listing, found.listing))
    more = [f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
    return "; ".join(changes[:_SHOWN] + more)
