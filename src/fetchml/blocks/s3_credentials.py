"""The block `S3Credentials`: an S3 server, and who uses it."""

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from fetchml.blocks.fields import fields_of
from fetchml.config.blocks import S3_CREDENTIALS, TITLES
from fetchml.config.object_urls import AMAZON
from fetchml.objects.from_block import access_of_block
from fetchml.objects.s3_place import S3Access


class S3Credentials(Block):
    """An S3 server, and the key that fetchml uses it with.

    What may be left empty is text and not `None`: Prefect's form shows that as one field, and a choice as four.

    Attributes:
        endpoint: URL of the server, such as https://s3.example.org or http://127.0.0.1:9000.
        region: Region of the bucket; empty asks the server.
        access_key: Name of the key.
        secret_key: Secret of the key.
        session_token: Token of a session, for keys that are valid for a while.
        ca_file: File with the certificates to trust, on each host that uses this block; empty trusts the public ones.
    """

    _block_type_name: ClassVar[str | None] = TITLES[S3_CREDENTIALS]
    _block_type_slug: ClassVar[str | None] = S3_CREDENTIALS
    _description: ClassVar[str | None] = "An S3 server, such as MinIO, and the key that fetchml uses it with."

    endpoint: str = Field(
        default=AMAZON, title="Endpoint", description="URL of the server, such as https://s3.example.org"
    )
    region: str = Field(default="", title="Region", description="Region of the bucket; empty: the server is asked")
    access_key: str = Field(title="Access key", description="Name of the key; Prefect shows it")
    secret_key: SecretStr = Field(title="Secret key", description="Secret of the key; masked once it is saved")
    session_token: SecretStr = Field(
        default=SecretStr(""), title="Session token", description="Only for keys that are valid for a while"
    )
    ca_file: str = Field(
        default="",
        title="CA file",
        description="Certificates to trust, as an absolute path on each host; empty: the public ones",
    )

    def get_access(self) -> S3Access:
        """Returns the server and the credentials, checked.

        Raises:
            ConfigError: A field does not do.
        """
        return access_of_block(fields_of(self))
