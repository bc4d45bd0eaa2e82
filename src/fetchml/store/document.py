"""A manifest as the bytes in its file: what a seal is checked against, and whether fetchml wrote them so."""

import json
import secrets
from collections import Counter
from typing import Any

from pydantic_core import to_json

from fetchml.errors import Corrupt


def read_document(content: bytes) -> dict[str, Any]:
    """Returns a JSON object as it is stored.

    Raises:
        Corrupt: A key is there twice: two readers may then see two records.
    """
    return json.loads(content, object_pairs_hook=_unique)


def is_as_written(content: bytes) -> bool:
    """Tells whether fetchml writes the same bytes for the same values.

    The seal covers values. A number or an escape that is spelt in another way is no other value, and a file that was
    formatted anew is none either; this tells that the bytes have changed all the same.
    """
    mark = secrets.token_hex(8)
    try:
        document = json.loads(content, parse_float=lambda token: f"{mark}{_shortest(token)}{mark}")
    except ValueError:
        return False
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return text.replace(f'"{mark}', "").replace(f'{mark}"', "").encode() + b"\n" == content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Corrupt(f"the key `{twice[:60]}` is there twice", code="record-damaged")
    return found


def _shortest(token: str) -> str:
    """Returns a number as it would have been written: sealed by pydantic, edited by Python's own writer."""
    value = float(token)
    return token if token in (json.dumps(value), to_json(value).decode()) else ""
