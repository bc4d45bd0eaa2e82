"""The block `DatasetCatalogue`: where the entries of datasets are kept."""

from pathlib import Path
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from fetchml.blocks.fields import fields_of
from fetchml.config.blocks import DATASET_CATALOGUE, TITLES
from fetchml.datasets.catalogue import Catalogue, folder_of_block


class DatasetCatalogue(Block):
    """A folder with the entries of datasets: name, version, place, checksum.

    Attributes:
        folder: Absolute path of the folder, on each host that uses this block.
    """

    _block_type_name: ClassVar[str | None] = TITLES[DATASET_CATALOGUE]
    _block_type_slug: ClassVar[str | None] = DATASET_CATALOGUE
    _description: ClassVar[str | None] = "Where fetchml keeps what it knows of datasets: their places and checksums."

    folder: Path = Field(
        title="Folder", description="Absolute path on each host, such as /srv/lab/datasets; not the data itself"
    )

    def get_catalogue(self) -> Catalogue:
        """Returns the catalogue.

        Raises:
            ConfigError: The folder is no absolute path.
        """
        return Catalogue(folder_of_block(fields_of(self)))
