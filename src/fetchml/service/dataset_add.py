"""Adds data to the catalogue of datasets; the data stays where it is."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.datasets.catalogue import Dataset, local_path
from fetchml.datasets.digest import digest
from fetchml.home import Home
from fetchml.models.dataset import check_name
from fetchml.models.host import user_name


@dataclass(frozen=True, slots=True)
class Added:
    """A dataset that is in the catalogue now."""

    dataset: Dataset
    created: bool
    """Whether this call made the version; there was one with this content otherwise."""


def add_dataset(
    settings: Settings, name: str, source: str, *, version: str | None = None, samples: int | None = None
) -> Added:
    """Reads data whole and enters it in the catalogue.

    Args:
        settings: The settings of this call.
        name: Name to give it.
        source: Path of a file or folder.
        version: Version to give it; None takes the next number.
        samples: How many samples it has, if that is known.

    Raises:
        ConfigError: The name, the version or the place is not accepted.
        NotFound: There is nothing at the path.
        Refused: A part cannot be read.
        Unavailable: It keeps changing, or the disk is full.
        Conflict: There is such a version, with other content.
    """
    check_name(name)
    if version is not None:
        check_name(version, "version")
    path = local_path(source)
    home = Home(settings)
    home.create()
    found = digest(path, home.dataset_cache)
    entry, created = home.datasets.add(
        name, path, found, version=version, samples=samples, by=user_name(), now=datetime.now(UTC)
    )
    return Added(entry, created)
