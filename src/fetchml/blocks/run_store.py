"""The block `RunStore`: where runs are kept."""

from pathlib import Path
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from fetchml.store.directory import DirectoryRunStore


class RunStore(Block):
    """A run store on this host.

    Attributes:
        path: Folder of the store: `<home>/store`.
    """

    _block_type_name: ClassVar[str | None] = "fetchml Run Store"
    _block_type_slug: ClassVar[str | None] = "fetchml-run-store"
    _description: ClassVar[str | None] = "Where fetchml keeps its runs."

    path: Path = Field(description="Folder of the store, such as /home/me/.fetchml/store")

    def get_store(self) -> DirectoryRunStore:
        """Returns the store."""
        return DirectoryRunStore(self.path)
