"""Adds data to the catalogue of datasets; the data stays where it is, that of a bucket is copied to this host, too."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fetchml.config.settings import Settings
from fetchml.datasets.bucket_url import is_bucket_url, read_bucket_url
from fetchml.datasets.catalogue import Dataset, Stage, local_path
from fetchml.datasets.choose import find_bucket
from fetchml.datasets.digest import Digest, digest
from fetchml.datasets.oversight import overseen
from fetchml.errors import ConfigError, Unavailable
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
    stage: Stage | None = None,
    observe: Observe | None = None,
) -> Added:
    """Reads data whole and enters it in the catalogue.

    Args:
        settings: The settings of this call.
        name: Name to give it.
        source: Path of a file or folder, or `s3://bucket/prefix`.
        version: Version to give it; None takes the next number.
        samples: How many samples it has, if that is known.
        algorithm: What to hash it with; None: as the latest version, SHA-256 for the first.
        stage: When the data of a folder is copied to the host of a run; None leaves that to its settings.
        observe: Told now and then how far the reading is.

    Raises:
        ConfigError: The name, the version, the place or the algorithm is not accepted.
        NotFound: There is nothing at the place.
        Refused: A part cannot be read, there is no file, no room for a copy, or runs should not see the place.
        Unavailable: It keeps changing or does not answer, or the disk is full.
        Conflict: There is such a version, with other content.
    """
    check_name(name)
    if version is not None:
        check_name(version, "version")
    home = Home(settings)
    hashed_with = check_algorithm(algorithm) if algorithm is not None else _usual_algorithm(home, name)
    if is_bucket_url(source):
        if stage is not None:
            raise ConfigError("`--stage` is for folders", detail="what is in a bucket is always copied", code="usage")
        read_bucket_url(source)
        home.create()
        uri, found = _from_bucket(home, source, hashed_with, observe)
    else:
        oversight = home.oversight(observe)
        path = overseen(lambda: _allowed(local_path(source), home), source, oversight)
        home.create()
        uri = path.as_uri()
        found = digest(path, home.dataset_cache, algorithm=hashed_with, oversight=oversight)
    entry, created = home.datasets.add(
        name, uri, found, version=version, samples=samples, stage=stage, by=user_name(), now=datetime.now(UTC)
    )
    return Added(entry, created)


def _allowed(path: Path, home: Home) -> Path:
    home.check_data_place(path)
    return path


def _from_bucket(home: Home, text: str, algorithm: Algorithm, observe: Observe | None) -> tuple[str, Digest]:
    """Downloads data and returns its address and what it holds, as a folder with these files would be added."""
    source = find_bucket(text, home.object_settings)
    listed = source.files()
    states = "".join(f"{item.entry.path!r} {item.entry.size_bytes} {item.state}\n" for item in listed)
    key = f"{source.place.endpoint} {source.name}\n{states}"
    entries = tuple(item.entry for item in listed)
    with home.staging.receiving(key, entries, source, observe=observe) as data:
        if source.files() != listed:
            raise Unavailable(
                f"the dataset at `{source.name}` changes while it is read",
                hint="stop what writes to it, then repeat the command",
                code="dataset-changing",
            )
        found = digest(data, algorithm=algorithm, oversight=home.oversight(observe))
        home.staging.adopt(data, entries, found.checksum, source.name)
    return source.name, found


def _usual_algorithm(home: Home, name: str) -> Algorithm:
    """Returns what the latest version was hashed with: the same content is then found to be the same."""
    known = home.datasets.versions(name)
    return algorithm_of(known[-1].checksum) if known else SHA256
