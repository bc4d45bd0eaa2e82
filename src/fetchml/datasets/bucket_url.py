"""The address of a dataset in a bucket: `s3://bucket/prefix/` is a folder, `s3://bucket/key` is a file."""

import re

from fetchml.config.object_urls import BUCKET, refuse_credentials
from fetchml.errors import ConfigError

SCHEME = "s3://"
_URL = re.compile(rf"s3://(?P<bucket>{BUCKET})(?:/(?P<key>.*))?", re.DOTALL)
_MAX_KEY_BYTES = 1024


def is_bucket_url(text: str) -> bool:
    """Tells whether a text is meant as the address of a bucket."""
    return text.startswith(SCHEME)


def read_bucket_url(text: str) -> tuple[str, str]:
    """Returns the bucket of an address and the key or prefix in it; a prefix is empty or ends with a slash.

    Raises:
        ConfigError: It is no such address.
    """
    refuse_credentials(text)
    match = _URL.fullmatch(text)
    key = (match["key"] or "") if match else ""
    parts = key.removesuffix("/").split("/") if key else []
    if (
        match is None
        or not key.isprintable()
        or not {"", ".", ".."}.isdisjoint(parts)
        or len(key.encode("utf-8", "surrogateescape")) > _MAX_KEY_BYTES
    ):
        raise ConfigError(
            f"`{text[:100]}` is not the address of a dataset",
            detail="expected `s3://bucket/prefix`; a bucket's name has 3 to 63 small letters, digits, dots and dashes,"
            " and no part of a prefix is empty, `.` or `..`",
        )
    return match["bucket"], key
