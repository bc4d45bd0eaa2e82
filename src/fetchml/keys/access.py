"""The keys that open the gateway: of each only its SHA-256 is kept, in `<home>/gateway/keys.json`.

A key is 256 random bits, so its hash needs no salt and no stretching: whoever reads the file can log in nowhere.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fetchml import durable
from fetchml.errors import ConfigError, Conflict, Corrupt, NotFound
from fetchml.models.base import Model, UtcTime

_PREFIX = "fmk_"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class AccessKind(StrEnum):
    """Whom a key is for."""

    HOST = "host"
    """A worker on another host."""
    USER = "user"
    """A person on another computer."""


class AccessKey(Model):
    """What is kept of a key."""

    kind: AccessKind = Field(description="Whom it is for")
    name: Name = Field(description="Name of the host or the user")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the key")
    created_at: UtcTime = Field(description="When it was made")


class AccessFile(Model):
    """`keys.json`."""

    schema_version: Literal[1] = 1
    keys: tuple[AccessKey, ...] = Field(default=(), description="All keys that open the gateway")


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: tuple[int, int, int]
    keys: tuple[AccessKey, ...]


class AccessKeys:
    """The keys of one gateway.

    Args:
        folder: `<home>/gateway`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "keys.json"
        self._known: _Read | None = None

    def all(self) -> tuple[AccessKey, ...]:
        """Returns all keys as they are now; the file is read when it has changed.

        Raises:
            Corrupt: The file is damaged.
        """
        try:
            status = os.stat(self._file)
        except FileNotFoundError:
            return ()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._known
        if known is None or known.stamp != stamp:
            known = _Read(stamp, self._read().keys)
            self._known = known
        return known.keys

    def add(self, kind: AccessKind, name: str, now: datetime) -> str:
        """Makes a key and returns it; nothing can show it again.

        Raises:
            ConfigError: Nobody may have that name.
            Conflict: There is one of that kind and name.
        """
        if not _is_name(name):
            raise ConfigError(
                f"`{name[:80]!r}` cannot be the name of a {kind}",
                detail="expected 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit",
            )
        durable.make_folder(self._folder, mode=0o700)
        with durable.locked(self._folder):
            before = self._read()
            if any((key.kind, key.name) == (kind, name) for key in before.keys):
                raise Conflict(
                    f"{kind} `{name}` has a key already",
                    hint=f"`fetchml {kind} rm {name}` revokes it; then add it again",
                    code="key-exists",
                )
            secret = _PREFIX + secrets.token_urlsafe(32)
            key = AccessKey(kind=kind, name=name, sha256=_sha256(secret), created_at=now)
            self._write(AccessFile(keys=(*before.keys, key)))
        return secret

    def remove(self, kind: AccessKind, name: str) -> None:
        """Revokes a key; the gateway refuses it from the next request on.

        Raises:
            NotFound: There is none.
        """
        durable.make_folder(self._folder, mode=0o700)
        with durable.locked(self._folder):
            before = self._read()
            after = tuple(key for key in before.keys if (key.kind, key.name) != (kind, name))
            if len(after) == len(before.keys):
                raise NotFound(f"{kind} `{name}` has no key", hint=f"`fetchml {kind} list` shows who has one")
            self._write(AccessFile(keys=after))

    def find(self, secret: str) -> AccessKey | None:
        """Returns whose key that is, or None; takes the same time whichever it is."""
        asked = _sha256(secret)
        found: AccessKey | None = None
        for key in self.all():
            if hmac.compare_digest(key.sha256, asked):
                found = key
        return found

    def _read(self) -> AccessFile:
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return AccessFile()
        try:
            return AccessFile.model_validate_json(content)
        except ValueError as error:
            raise Corrupt(
                f"`{self._file}` is damaged",
                hint="until it is mended the gateway lets nobody in; move it away and hand out new keys",
                code="keys-damaged",
            ) from error

    def _write(self, content: AccessFile) -> None:
        durable.write_atomic(self._file, content.model_dump_json(indent=2).encode() + b"\n", mode=0o600)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 64 and text.isascii() and text[0].isalnum() and all(c.isalnum() or c in "._-" for c in text)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
