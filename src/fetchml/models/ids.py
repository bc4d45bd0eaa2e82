"""Run ids and the names made from them.

A run id is the UTC date it was queued and six base32 characters, such as `2026-11-20_k3f9q2`: it sorts by day, can be
read aloud, and is never reused. Paths and container names are made from ids only, never from text a user typed.
"""

import re
import secrets
from datetime import date, datetime

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 characters; `l`, `o`, `0` and `1` are left out because they are mistaken for each other."""

_RUN_ID = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}_[{_ALPHABET}]{{6}}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)

CONTAINER_PREFIX = "fetchml-"


def new_run_id(now: datetime) -> str:
    """Returns a fresh run id for the given moment (aware, UTC).

    There are 2^30 ids a day; the store refuses the rare id that exists and the caller draws again.
    """
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(6))
    return f"{now.date().isoformat()}_{suffix}"


def is_run_id(text: str) -> bool:
    """Tells whether the text has the form of a run id with a real date."""
    if _RUN_ID.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def is_digest(text: str) -> bool:
    """Tells whether the text is a SHA-256 digest in lower-case hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


def container_name(run_id: str, attempt: int) -> str:
    """Returns the one container name an attempt may have; an engine refuses a second one, which gates double starts."""
    return f"{CONTAINER_PREFIX}{run_id}-{attempt}"


def idempotency_key(run_id: str, attempt: int) -> str:
    """Returns the key under which Prefect knows an attempt, so that creating its flow run twice makes one."""
    return f"{run_id}:{attempt}"
