"""The client of a bucket: how it connects, how long it waits, what it tries again."""

import io
import logging
import os
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials as MinioCredentials
from minio.credentials.providers import Provider
from minio.error import MinioException, S3Error

from fetchml.errors import ConfigError
from fetchml.models.units import MIB
from fetchml.objects.s3_place import Credentials, Patience, S3Place

CONNECTIONS = 8
"""Most connections that are kept open."""


_ANY_REGION = "us-east-1"
"""For requests that are not signed: without a region, the client would ask the server for it first."""
_DENIED = frozenset({401, 403})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Redirected(urllib3.exceptions.HTTPError):
    """The server sends the client elsewhere; a signed request and the token of a session go nowhere but to it."""


class _Pool(urllib3.PoolManager):
    """Connections that send a body in pieces, each with a time limit, and pass over a wrong content type.

    They follow no redirect: urllib3 would, and take every header along but one.
    """

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> urllib3.BaseHTTPResponse:
        if options.get("body"):
            # In one piece, the limit would be for the whole body (socket.sendall).
            options["body"] = io.BytesIO(options["body"])
        response = super().urlopen(method, url, redirect=False, **options)
        if response.status in _REDIRECTS and (target := response.headers.get("location")):
            response.close()
            raise Redirected(urlsplit(target).netloc or "a path of its own")
        if response.headers.get("content-type", "").startswith("text/xml"):
            response.headers["Content-Type"] = "application/xml"  # rclone and others; the client would not read it
        return response


class Keys:
    """The credentials of a client, as they are now.

    Args:
        credentials: Those to begin with.
        renew: Returns what they are now; asked when a server denies those it was given.
    """

    def __init__(self, credentials: Credentials, renew: Callable[[], Credentials] | None = None) -> None:
        self.now = credentials
        self._renew = renew
        self._lock = threading.Lock()

    def are_new(self, denied: Credentials) -> bool:
        """Tells whether there are others now than those that were denied; of several threads, one asks."""
        with self._lock:
            if self.now == denied and self._renew is not None:
                self.now = self._renew()
            return self.now != denied


class _Provider(Provider):
    """Gives the client the credentials of the moment."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def retrieve(self) -> MinioCredentials:
        now = self._keys.now
        return MinioCredentials(now.access_key, now.secret_key, now.session_token)


class _Client(Minio):
    """A client that asks again with the credentials of now, when those it had are denied.

    Args:
        host: Host and port of the server.
        keys: Who uses it; None signs nothing.
        options: Further ones of the client.
    """

    def __init__(self, host: str, keys: Keys | None, **options: Any) -> None:
        super().__init__(host, credentials=None if keys is None else _Provider(keys), **options)
        self._keys = keys

    def _url_open(self, *words: Any, headers: Any = None, **options: Any) -> urllib3.BaseHTTPResponse:
        """Signs and sends one request: the one place through which all of the client's go."""
        keys = self._keys
        if keys is None:
            return super()._url_open(*words, headers=headers, **options)
        used = keys.now
        try:
            return super()._url_open(*words, headers=dict(headers or {}), **options)  # the headers are signed in place
        except S3Error as error:
            if error.response.status not in _DENIED or not keys.are_new(used):
                raise
        return super()._url_open(*words, headers=dict(headers or {}), **options)


def make_client(place: S3Place, keys: Keys | Credentials | None, patience: Patience) -> Minio:
    """Returns a client that tries every request several times; it connects when it is first used.

    Args:
        place: The server.
        keys: Who uses it; None signs nothing.
        patience: How long and how often the server is asked.

    Raises:
        ConfigError: The file with the certificates to trust is none.
    """
    logging.getLogger(urllib3.connectionpool.__name__).setLevel(logging.ERROR)  # it warns of each try on stderr
    pool = _Pool(
        maxsize=CONNECTIONS,
        blocksize=MIB,
        timeout=urllib3.Timeout(connect=patience.connect_s, read=patience.read_s),
        cert_reqs="CERT_REQUIRED",
        ca_certs=_trusted(place.ca_file),
        retries=urllib3.Retry(
            total=patience.tries - 1,
            backoff_factor=patience.pause_s,
            backoff_max=10,
            backoff_jitter=patience.pause_s,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,  # every request can be repeated: keys are digests
            raise_on_status=False,
            respect_retry_after_header=False,
        ),
    )
    return _Client(
        place.host,
        Keys(keys) if isinstance(keys, Credentials) else keys,
        secure=place.is_secure,
        region=place.region,
        http_client=pool,
    )


def is_public(place: S3Place, patience: Patience) -> bool:
    """Tells whether a bucket lists its objects to anyone; a server that does not say is taken for private."""
    client = make_client(replace(place, region=place.region or _ANY_REGION), None, replace(patience, tries=1))
    try:
        for _ in client.list_objects(place.bucket, prefix=place.prefix):
            break
    except (MinioException, urllib3.exceptions.HTTPError, ParseError, ValueError):
        return False
    return True


def _trusted(ca_file: Path | None) -> str:
    """Returns the file with the certificates to trust.

    Raises:
        ConfigError: It cannot be read, or holds no certificate.
    """
    chosen = str(ca_file.expanduser()) if ca_file is not None else os.environ.get("SSL_CERT_FILE")
    if not chosen:
        return certifi.where()
    try:
        ssl.create_default_context(cafile=chosen)
    except OSError as error:  # which an SSLError is
        raise ConfigError(
            f"the certificates to trust at the S3 server cannot be read from `{chosen}`",
            detail=error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificate in PEM form",
            hint="mend `objects.s3.ca_file`, the field `ca_file` of the block, or SSL_CERT_FILE",
            code="bad-ca-file",
        ) from error
    return chosen
