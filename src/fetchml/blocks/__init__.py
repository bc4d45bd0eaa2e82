"""Prefect blocks: configuration that is kept on the Prefect server and turned into adapters.

`prefect block register -m fetchml.blocks` makes their types known to a server; fetchml's own server knows them from
the start.
"""

from fetchml.blocks.container_engine import ContainerEngine
from fetchml.blocks.dataset_catalogue import DatasetCatalogue
from fetchml.blocks.run_store import RunStore
from fetchml.blocks.s3_credentials import S3Credentials
from fetchml.blocks.snapshot_store import SnapshotStore

__all__ = ["ContainerEngine", "DatasetCatalogue", "RunStore", "S3Credentials", "SnapshotStore"]
