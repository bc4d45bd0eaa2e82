"""The client of a bucket: how it connects, how long it waits, what it tries again."""

import io
import logging
import os
from typing import Any

import certifi
import urllib3
from minio import Minio

from fetchml.models.units import MIB
from fetchml.objects.s3_place import Credentials, Patience, S3Place

CONNECTIONS = 8
"""Most connections that are kept open."""


class _Pool(urllib3.PoolManager):
    """Connections that send a body in pieces, each with a time limit, and pass over a wrong content type."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> urllib3.BaseHTTPResponse:
        if options.get("body"):
            # In one piece, the limit would be for the whole body (socket.sendall).
            options["body"] = io.BytesIO(options["body"])
        response = super().urlopen(method, url, redirect, **options)
        if response.headers.get("content-type", "").startswith("text/xml"):
            response.headers["Content-Type"] = "application/xml"  # rclone and others; the client would not read it
        return response


def make_client(place: S3Place, credentials: Credentials, patience: Patience) -> Minio:
    """Returns a client that tries every request several times; it connects when it is first used."""
    logging.getLogger(urllib3.connectionpool.__name__).setLevel(logging.ERROR)  # it warns of each try on stderr
    pool = _Pool(
        maxsize=CONNECTIONS,
        blocksize=MIB,
        timeout=urllib3.Timeout(connect=patience.connect_s, read=patience.read_s),
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
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
    return Minio(
        place.host,
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
        session_token=credentials.session_token,
        secure=place.is_secure,
        region=place.region,
        http_client=pool,
    )
