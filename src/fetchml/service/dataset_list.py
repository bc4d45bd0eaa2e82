"""Lists the catalogue of datasets."""

from fetchml.config.settings import Settings
from fetchml.datasets.catalogue import Dataset
from fetchml.home import Home


def list_datasets(settings: Settings) -> list[Dataset]:
    """Returns every version of every dataset, by name and then in the order they were added.

    Raises:
        Corrupt: An entry is damaged.
    """
    return list(Home(settings).datasets.all())
