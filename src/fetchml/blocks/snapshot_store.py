"""The block `SnapshotStore`: where code and other objects are kept."""

import tempfile
from pathlib import Path
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from fetchml.blocks.fields import fields_of
from fetchml.blocks.s3_credentials import S3Credentials
from fetchml.config.blocks import SNAPSHOT_STORE, TITLES
from fetchml.objects.choose import ObjectSettings, locate, open_objects
from fetchml.objects.port import ObjectStore


class SnapshotStore(Block):
    """A folder or bucket for the code of runs and other content-addressed objects.

    Attributes:
        location: `s3://bucket/prefix`, or the absolute path of a folder on each host.
        credentials: Server and key of the bucket; none takes those of the host's settings and environment.
    """

    _block_type_name: ClassVar[str | None] = TITLES[SNAPSHOT_STORE]
    _block_type_slug: ClassVar[str | None] = SNAPSHOT_STORE
    _description: ClassVar[str | None] = "Where fetchml keeps the code of runs: a bucket or a folder."

    location: str = Field(
        title="Location", description="s3://bucket/prefix, or the absolute path of a folder on each host"
    )
    credentials: S3Credentials | None = Field(
        default=None,
        title="Credentials",
        description="Server and key of the bucket; none: those of the host's settings and environment",
    )

    def get_objects(self, staging: Path | None = None, *, allow_http: bool = False) -> ObjectStore:
        """Returns the store; asks it nothing.

        Args:
            staging: Folder for what is on its way to a bucket; the one for temporary files by default.
            allow_http: Whether a server on another host may be reached without TLS.

        Raises:
            ConfigError: A field does not do, or there are no credentials.
        """
        fields = fields_of(self)
        settings = ObjectSettings(
            folder=Path(),
            staging=staging or Path(tempfile.gettempdir()),
            block="this",
            read_block=lambda _slug, _name: fields,
            allow_http=allow_http,
        )
        return open_objects(locate(None, settings), settings)
