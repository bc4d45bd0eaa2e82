"""Prefect blocks: configuration that is kept on the Prefect server and turned into adapters.

`prefect block register -m fetchml.blocks` makes their types known to a server; fetchml's own server knows them from
the start.
"""

from fetchml.blocks.container_engine import ContainerEngine
from fetchml.blocks.run_store import RunStore

__all__ = ["ContainerEngine", "RunStore"]
