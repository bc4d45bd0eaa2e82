"""Canonical JSON (RFC 8785) and the SHA-256 digests made from it.

Two machines, Python versions or locales that hold the same value get the same bytes and so the same digest.
"""

import hashlib
from collections.abc import Mapping

import rfc8785

from fetchml.errors import ConfigError


def canonical_bytes(value: Mapping[str, object]) -> bytes:
    """Returns the RFC 8785 form of a JSON object.

    Raises:
        ConfigError: The value holds something canonical JSON cannot: NaN, infinity, an integer beyond 2^53-1 (the
            limit of RFC 8785 section 3.2.2.3), or text that is not valid Unicode.
    """
    try:
        return rfc8785.dumps(dict(value))  # pyright: ignore[reportArgumentType]  # the library's type is narrower
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as error:
        raise ConfigError("a value cannot be written as canonical JSON", detail=str(error)) from error


def canonical_sha256(value: Mapping[str, object]) -> str:
    """Returns the SHA-256 of the canonical form, as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()
