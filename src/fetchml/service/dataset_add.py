"""Adds data to the catalogue of datasets; the data stays where it is."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.datasets.catalogue import Dataset, local_path
from fetchml.datasets.digest import digest
from fetchml.datasets.oversight import overseen
from fetchml.home import Home
from fetchml.models.dataset import SHA256, Algorithm, algorithm_of, check_algorithm, check_name
from fetchml.models.host import user_name
from fetchml.snapshot.capture import Observe


@dataclass(frozen=True, slots=True)
class Added:
    """A dataset that is in the catalogue now."""

    dataset: Dataset
    created: bool
    """Whether this call made the version; there was one with this content otherwise."""


def add_dataset(
    settings: Settings,
    name: str,
    source: str,
    *,
    version: str | None = None,
    samples: int | None = None,
    algorithm: str | None = None,
    observe: Observe | None = None,
) -> Added:
    """Reads data whole and enters it in the catalogue.

    Args:
        settings: The settings of this call.
        name: Name to give it.
        source: Path of a file or folder.
        version: Version to give it; None takes the next number.
        samples: How many samples it has, if that is known.
        algorithm: What to hash it with; None: as the latest version, SHA-256 for the first.
        observe: Told now and then how far the reading is.

    Raises:
        ConfigError: The name, the version, the place or the algorithm is not accepted.
        NotFound: There is nothing at the path.
        Refused: A part cannot be read, or there is no file.
        Unavailable: It keeps changing or does not answer, or the disk is full.
        Conflict: There is such a version, with other content.
    """
    check_name(name)
    if version is not None:
        check_name(version, "version")
    home = Home(settings)
    hashed_with = check_algorithm(algorithm) if algorithm is not None else _usual_algorithm(home, name)
    oversight = home.oversight(observe)
    path = overseen(lambda: local_path(source), source, oversight)
    home.create()
    found = digest(path, home.dataset_cache, algorithm=hashed_with, oversight=oversight)
    entry, created = home.datasets.add(
        name, path, found, version=version, samples=samples, by=user_name(), now=datetime.now(UTC)
    )
    return Added(entry, created)


def _usual_algorithm(home: Home, name: str) -> Algorithm:
    """Returns what the latest version was hashed with: the same content is then found to be the same."""
    known = home.datasets.versions(name)
    return algorithm_of(known[-1].checksum) if known else SHA256
