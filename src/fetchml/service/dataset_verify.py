"""Reads a dataset whole and compares it with its checksum."""

from dataclasses import dataclass

from fetchml.config.settings import Settings
from fetchml.datasets.catalogue import Dataset
from fetchml.datasets.choose import open_bucket
from fetchml.datasets.digest import differences, digest
from fetchml.datasets.listing import checksum_of
from fetchml.errors import Corrupt
from fetchml.home import Home
from fetchml.models.dataset import algorithm_of
from fetchml.service.dataset_info import dataset_info
from fetchml.snapshot.capture import Observe


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found where a dataset is."""

    dataset: Dataset
    checksum: str
    """Of what is there now."""
    changes: tuple[str, ...]
    """Files that differ, one line each."""

    @property
    def ok(self) -> bool:
        """Whether it is what was added."""
        return self.checksum == self.dataset.checksum

    @property
    def exit_code(self) -> int:
        """The exit code that tells how it went."""
        return 0 if self.ok else Corrupt.exit_code


def verify_dataset(settings: Settings, target: str, observe: Observe | None = None) -> Verification:
    """Compares a dataset with its checksum; every byte is read, whatever the stat of a file says.

    Args:
        settings: The settings of this call.
        target: The dataset; see `dataset_info`.
        observe: Told now and then how far the reading is.

    Raises:
        NotFound: There is no such dataset, or nothing where it is.
        Refused: A part cannot be read.
        Unavailable: It keeps changing, or does not answer.
    """
    entry, home = dataset_info(settings, target), Home(settings)
    before, algorithm = home.datasets.listing(entry), algorithm_of(entry.checksum)
    if entry.path is None:
        listing = open_bucket(entry.uri, home.object_settings).listing(algorithm)
        checksum = checksum_of(listing, algorithm)
    else:
        found = digest(entry.path, algorithm=algorithm, oversight=home.oversight(observe))
        listing, checksum = found.listing, found.checksum
    if checksum == entry.checksum:
        return Verification(entry, checksum, ())
    changes = tuple(differences(before, listing)) if before is not None else ()
    return Verification(entry, checksum, changes)
