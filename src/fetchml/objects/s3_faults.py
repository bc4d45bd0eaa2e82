"""What the errors of an S3 server mean for users."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3 import exceptions as http

from fetchml.config.object_urls import CREDENTIALS_HINT
from fetchml.errors import ConfigError, FetchmlError, Forbidden, NotFound, Refused, Unavailable
from fetchml.objects.s3_client import Redirected
from fetchml.objects.s3_place import Credentials, S3Place

FAULTS = (MinioException, http.HTTPError, ParseError, ValueError)
"""Everything the client raises; a ValueError comes from an answer that is no text or no number."""

_SKEW_S = 5 * 60
"""Servers refuse signatures that are 15 minutes off; a clock that is 5 minutes off is worth telling."""
_WRONG_KEY = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidClientTokenId"}
)
_WRONG_REGION = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"})
_FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"})
_RIGHTS = "it needs s3:GetObject, PutObject, DeleteObject, ListBucket and GetBucketLocation"


def translate(error: Exception, place: S3Place, credentials: Credentials) -> FetchmlError:
    """Returns the error for users that an error of the client means; no secret is in it.

    Args:
        error: One of `FAULTS`.
        place: The bucket that was used.
        credentials: What must not appear.
    """
    where = f"bucket `{place.bucket}` at {place.endpoint}"
    if isinstance(error, S3Error):
        status = error.response.status
        said = credentials.hidden_in(f"{error.code}: {error.message}")[:300]
        return _from_answer(error.code or "", status, said, where, lambda: _skew_s(error))
    if isinstance(error, InvalidResponseError | ServerError):
        status = int(getattr(error, "_code", 0) or getattr(error, "status_code", 0) or 0)
        if status == 404:
            return ConfigError(
                f"there is no S3 server at {place.endpoint}",
                detail=f"something there answers with HTTP status 404; asked for bucket `{place.bucket}`",
                hint="mend `objects.s3.endpoint`",
                code="no-s3-server",
            )
        return _from_answer("", status, f"HTTP status {status}", where, lambda: None)
    if isinstance(error, Redirected):
        return ConfigError(
            "the S3 server sends requests to another place",
            detail=f"{where}: to {credentials.hidden_in(str(error))[:200]}, and no redirect is followed",
            hint="set `objects.s3.region` if the bucket is in another region, or mend `objects.s3.endpoint`",
            code="s3-redirect",
        )
    unproven = _unproven(error)
    if unproven is not None:
        return Refused(
            "the S3 server cannot prove that it is the one that is meant",
            detail=f"{where}: {unproven[0]}",
            hint=unproven[1],
            code="untrusted-s3-server",
        )
    return _unavailable(where, credentials.hidden_in(_reason(error)))


def _from_answer(code: str, status: int, said: str, where: str, skew_s: Callable[[], float | None]) -> FetchmlError:
    if code == "NoSuchKey":
        return NotFound("there is no such object", detail=where)
    if code == "NoSuchBucket":
        return ConfigError(
            "the bucket for objects does not exist",
            detail=where,
            hint="create it, or mend `objects.url` and `objects.s3.endpoint`",
            code="no-such-bucket",
        )
    if code in _WRONG_REGION or status in (301, 307):
        return ConfigError(
            "the bucket for objects is in another region",
            detail=f"{where}: {said}",
            hint="set `objects.s3.region`",
            code="wrong-region",
        )
    if code in _WRONG_KEY or code == "RequestTimeTooSkewed" or status in (401, 403):
        return _forbidden(code, said, where, skew_s())
    if code in _FULL or status == 507:
        return Unavailable(
            "the S3 server has no space left",
            detail=f"{where}: {said}",
            hint="free space there or raise its quota, then repeat the command; nothing was half-written",
            code="s3-full",
        )
    return _unavailable(where, said)


def _forbidden(code: str, said: str, where: str, skew_s: float | None) -> Forbidden:
    if code == "RequestTimeTooSkewed" or (skew_s is not None and abs(skew_s) > _SKEW_S):
        off = f"the clock here is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}; " if skew_s else ""
        return Forbidden(
            "the S3 server refuses the time of this host",
            detail=f"{where}: {off}{said}",
            hint="set the clock of this host, for example by NTP, or that of the server",
            code="clock-skew",
        )
    if code in _WRONG_KEY:
        return Forbidden(
            "the S3 server does not accept the credentials",
            detail=f"{where}: {said}",
            hint=f"check the key and its secret; {CREDENTIALS_HINT}",
            code="wrong-s3-credentials",
        )
    return Forbidden(
        "the S3 server denies access",
        detail=f"{where}: {said}",
        hint=f"check the key and its secret, and what its policy allows: {_RIGHTS}",
        code="s3-denied",
    )


def _unavailable(where: str, why: str) -> Unavailable:
    return Unavailable(
        "the S3 server does not answer as it should",
        detail=f"{where}: {why}",
        hint="check that the server runs and `objects.s3.endpoint` is its address, then repeat the command;"
        " nothing was half-written",
        code="s3-unavailable",
    )


def _reason(error: Exception) -> str:
    """Returns why a request failed, in words."""
    cause: object = error.reason if isinstance(error, http.MaxRetryError) and error.reason is not None else error
    match cause:
        case http.NameResolutionError():
            return "its name cannot be resolved"
        case http.NewConnectionError():
            return f"no connection ({str(cause.__cause__ or 'refused')[:100]})"
        case http.ConnectTimeoutError():
            return "no connection in time"
        case http.ReadTimeoutError():
            return "no answer in time"
        case http.SSLError():
            return f"TLS fails: {str(cause)[:200]}"
        case http.ProtocolError():
            return f"the connection broke off ({str(cause)[:150]})"
        case _:
            return f"{type(cause).__name__}: {str(cause)[:200]}"


_EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 10, 62, 64
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, ..._HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH (openssl-verification)."""


def _unproven(error: BaseException | None) -> tuple[str, str] | None:
    """Returns what is wrong with a server's certificate and what to do; None if that is not why a request failed."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.reason if isinstance(error, http.MaxRetryError) else error.__cause__ or error.__context__
    if error is None:
        return None
    said = f"its certificate is not accepted ({error.verify_message})"
    match error.verify_code:
        case code if code == _EXPIRED:
            return said, "renew the certificate of the server, or set the clock of this host"
        case code if code in (_OTHER_HOST, _OTHER_ADDRESS):
            return said, "give `objects.s3.endpoint` a name that the certificate is for"
        case _:
            return said, "name the certificates to trust in `objects.s3.ca_file` or the block's `ca_file`"


def _skew_s(error: S3Error) -> float | None:
    """Returns by how many seconds this host's clock is ahead of the server's; None if the server does not say."""
    try:
        theirs = parsedate_to_datetime(error.response.headers.get("date") or "")
        return (datetime.now(UTC) - theirs).total_seconds()
    except (TypeError, ValueError):
        return None
