"""Where a bucket is and who may use it; no client is needed to say that."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from fetchml.config.object_urls import split_url
from fetchml.errors import ConfigError

_CREDENTIALS = (
    ("FETCHML_S3_ACCESS_KEY", "FETCHML_S3_SECRET_KEY", "FETCHML_S3_SESSION_TOKEN"),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)
"""Variables of a key, its secret and the token of a session; the first set of which one is there counts."""


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, and a prefix in it."""

    bucket: str
    prefix: str
    """Empty, or ends with a slash."""
    endpoint: str
    """URL of the server."""
    region: str | None = None
    ca_file: Path | None = None
    """Certificates to trust; None: those of SSL_CERT_FILE, else the public ones."""

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return urlsplit(self.endpoint).netloc

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.endpoint.startswith("https://")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key and its secret; neither is ever printed."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def hidden_in(self, text: str) -> str:
        """Returns a text, such as a server's answer, without the secrets that may have been put into it."""
        for secret in (self.secret_key, self.session_token, self.access_key):
            if secret:
                text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class S3Access:
    """A server, and who uses it."""

    endpoint: str
    region: str | None
    ca_file: Path | None
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a server is asked."""

    connect_s: float = 10
    """Also the longest a megabyte may take on its way to the server."""
    read_s: float = 30
    tries: int = 4
    pause_s: float = 0.2
    """Before the second try; it doubles with each."""


def s3_place(url: str, endpoint: str, region: str | None, ca_file: Path | None = None) -> S3Place:
    """Returns the place that a URL names on a server.

    Raises:
        ConfigError: It is no URL of a bucket.
    """
    bucket, prefix = split_url(url)
    return S3Place(bucket, f"{prefix}/" if prefix else "", endpoint, region, ca_file)


def credentials_from(environ: Mapping[str, str]) -> Credentials:
    """Returns the credentials that the environment holds.

    Raises:
        ConfigError: There are none, or half of a pair.
    """
    for key, secret, token in _CREDENTIALS:
        if environ.get(key) or environ.get(secret):
            missing = [name for name in (key, secret) if not environ.get(name)]
            if missing:
                raise ConfigError(
                    "the credentials for S3 are not complete",
                    detail=f"`{missing[0]}` is not set",
                    hint="set both, the key and its secret",
                    code="no-s3-credentials",
                )
            return Credentials(environ[key], environ[secret], environ.get(token) or None)
    raise ConfigError(
        "there are no credentials for S3",
        detail="expected FETCHML_S3_ACCESS_KEY and FETCHML_S3_SECRET_KEY, or AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY, in the environment",
        hint="export them; a worker that runs already gets them by `fetchml down` and `fetchml up`",
        code="no-s3-credentials",
    )


def refuse_plain_http(endpoint: str) -> None:
    """Refuses to send requests to another host without TLS.

    Raises:
        ConfigError: The endpoint is `http://`, and not on this host.
    """
    host = urlsplit(endpoint).hostname or ""
    if endpoint.startswith("https://") or host == "localhost" or _is_loopback(host):
        return
    raise ConfigError(
        f"the S3 server {endpoint} would be reached without TLS",
        detail="everyone on the way to another host could read the data, and the token of a session",
        hint="use https://, with `objects.s3.ca_file` for a certificate of your own;"
        " or set `objects.s3.allow_http` if the network is trusted",
        code="plain-http",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
