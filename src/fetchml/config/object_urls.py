"""Settings that say where objects are: the URL of a bucket, the endpoint of an S3 server.

Neither may hold a secret: what looks like one is refused, and the message does not repeat it.
"""

import re

from fetchml.config.kinds import Text
from fetchml.errors import ConfigError

AMAZON = "https://s3.amazonaws.com"
"""The server, unless another is named."""

CREDENTIALS_HINT = (
    "credentials come from the environment only: FETCHML_S3_ACCESS_KEY and FETCHML_S3_SECRET_KEY,"
    " or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or from a block that `objects.s3.credentials_block` names"
)

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_URL = re.compile(rf"s3://(?P<bucket>{BUCKET})(?P<prefix>(?:/[A-Za-z0-9._=-]+)*)/?", re.ASCII)
_ENDPOINT = re.compile(r"https?://(?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+(?::[0-9]{1,5})?", re.ASCII)
_SECRET_KEY = re.compile(r"objects\..*(?:key|secret|token|password|credential)")
_REGION = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class BucketUrl(Text):
    """A bucket and a prefix in it."""

    def __init__(self) -> None:
        super().__init__(512, optional=True)
        self.expected = "a URL such as `s3://bucket/prefix`"

    def from_text(self, text: str) -> object:
        refuse_credentials(text)
        if super().from_text(text) is None:
            return None
        bucket, prefix = split_url(text)
        return f"s3://{bucket}/{prefix}".rstrip("/")


class Endpoint(Text):
    """The address of a server; its scheme says whether TLS is spoken."""

    def __init__(self) -> None:
        super().__init__(300)
        self.expected = "a URL such as `https://s3.example.org` or `http://127.0.0.1:9000`"

    def from_text(self, text: str) -> object:
        refuse_credentials(text)
        super().from_text(text)
        if _ENDPOINT.fullmatch(text.rstrip("/")) is None:
            raise ConfigError(f"`{text[:100]}` is not the endpoint of a server", detail=f"expected {self.expected}")
        return text.rstrip("/")


class Region(Text):
    """The name of a region."""

    def __init__(self) -> None:
        super().__init__(64, optional=True)
        self.expected = "a region such as `us-east-1`"

    def from_text(self, text: str) -> object:
        read = super().from_text(text)
        if read is not None and _REGION.fullmatch(text) is None:
            raise ConfigError(f"`{text[:60]}` is not a region", detail=f"expected {self.expected}")
        return read


def split_url(text: str) -> tuple[str, str]:
    """Returns the bucket of a URL and the prefix in it, which is empty or a path without slashes at its ends.

    Raises:
        ConfigError: It is no such URL.
    """
    match = _URL.fullmatch(text)
    prefix = match["prefix"].strip("/") if match else ""
    if match is None or {".", ".."} & set(prefix.split("/")):
        raise ConfigError(
            f"`{text[:100]}` is not the URL of a bucket",
            detail="expected `s3://bucket` or `s3://bucket/prefix`; a bucket's name has 3 to 63 small letters, digits,"
            " dots and dashes",
        )
    return match["bucket"], prefix


def refuse_credentials(url: str) -> None:
    """Refuses a URL with a user, a password or a query in it; the message does not repeat the URL.

    Raises:
        ConfigError: It has one.
    """
    if "@" in url or "?" in url:
        raise ConfigError("a URL may not hold credentials or a query", hint=CREDENTIALS_HINT, code="secret-in-settings")


def is_credential(key: str) -> bool:
    """Tells whether someone who writes this key into a settings file means a secret of the object store."""
    return _SECRET_KEY.fullmatch(key.lower()) is not None
