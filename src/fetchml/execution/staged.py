"""How data comes to this host: read where it is, copied, downloaded, or there from an earlier run."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

from fetchml.datasets.catalogue import Dataset, path_of
from fetchml.datasets.choose import open_source
from fetchml.datasets.mounts import is_remote
from fetchml.datasets.oversight import Oversight, Tally, overseen
from fetchml.errors import Corrupt
from fetchml.home import Home
from fetchml.models.dataset_record import DatasetRecord

Way = Literal["in-place", "copy", "download", "cache"]
"""How it comes; see `DatasetRecord`."""


def way_of(entry: Dataset, home: Home) -> Way:
    """Returns how a dataset would come to this host now; asks no server."""
    stage = entry.stage or home.settings.datasets_stage
    path = entry.path
    if path is not None and stage == "never":
        return "in-place"
    if home.staging.find(entry.checksum) is not None:
        return "cache"
    if path is None:
        return "download"
    return "copy" if stage == "always" or is_remote(path) else "in-place"


def bring(entry: Dataset, home: Home, oversight: Oversight) -> tuple[Path, Way]:
    """Returns where a dataset is on this host, and how it came there; copies it if need be.

    Args:
        entry: The dataset.
        home: The home folder.
        oversight: How long a share may be silent, and who may stop it.

    Raises:
        Refused: It has changed, or there is no room for it.
        Stopped: It was to be stopped.
        FetchmlError: It cannot be read, or not be written.
    """
    way = way_of(entry, home)
    if way == "in-place":
        return path_of(entry.uri), way
    listing = home.datasets.listing(entry)
    if listing is None:
        raise Corrupt(f"the listing of `{entry}` is gone", hint="add the dataset again", code="record-damaged")
    source, tally = open_source(entry, home.object_settings), Tally()
    if entry.path is None:  # its client knows how long to wait, and how often to ask
        oversight = replace(oversight, silence_s=math.inf)
    copy, is_new = overseen(
        lambda: home.staging.ensure(entry.checksum, listing, source, entry.uri, tally.tick),
        entry.place,
        oversight,
        tally,
    )
    if not is_new:
        return copy.data, "cache"
    return copy.data, "download" if entry.path is None else "copy"


def place_of(record: DatasetRecord, home: Home) -> Path:
    """Returns where the data of a run that was verified is on this host."""
    if record.fetched_via == "in-place":
        return path_of(record.uri)
    copy = home.staging.find(record.checksum)
    if copy is None:
        raise Corrupt(
            f"the copy of the dataset `{record.name}` was removed before the run has started",
            hint="queue the run again",
            code="copy-gone",
        )
    return copy.data
