"""What blocks say of object stores: where they are, and who uses them."""

from typing import cast

from fetchml.config.blocks import BlockFields
from fetchml.config.object_urls import AMAZON, Endpoint, Region
from fetchml.objects.s3_place import Credentials, S3Access


def access_of_block(fields: BlockFields) -> S3Access:
    """Returns the server and the credentials that an `S3Credentials` block holds.

    Raises:
        ConfigError: A field is missing or does not do; no value is in the message.
    """
    endpoint, region = fields.optional_text("endpoint"), fields.optional_text("region")
    return S3Access(
        endpoint=cast("str", fields.read("endpoint", Endpoint().from_text, endpoint)) if endpoint else AMAZON,
        region=cast("str | None", fields.read("region", Region().from_text, region)) if region else None,
        ca_file=fields.optional_path("ca_file"),
        credentials=Credentials(
            fields.text("access_key"), fields.text("secret_key"), fields.optional_text("session_token")
        ),
    )
