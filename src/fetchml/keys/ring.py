"""The keys of a home folder: `<home>/keys/<key id>.json`, and the public keys of others in `<home>/keys/trusted/`.

One key signs at a time: the one that has its private half, the latest if a crash left two. A rotation writes the new
key first and takes the private half out of the old one then, so there is a key to sign with at every moment.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from fetchml import durable
from fetchml.errors import Conflict, Corrupt, FetchmlError, Forbidden, NotFound
from fetchml.keys import ed25519
from fetchml.models.key import StoredKey, key_id_of
from fetchml.models.manifest import Sign

_NAME = re.compile(r"[0-9a-f]{16}\.json", re.ASCII)
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OF_OTHERS = 0o077
"""What the group and everybody else may do with a file."""
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Key:
    """What anyone may know of a key of this host."""

    key_id: str
    public_key: str
    created_at: datetime
    retired_at: datetime | None
    active: bool
    """Whether it is the one that signs."""
    exposed: bool
    """Whether others may read its private half."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures count here."""

    own: Mapping[str, datetime | None]
    """When each key of this host was retired, by public key."""
    others: frozenset[str]
    """Public keys that were put into `trusted/`."""
    faults: tuple[str, ...]
    """Why some keys do not count."""


class KeyRing:
    """The keys in a folder.

    Args:
        root: The folder; created with the first key, for its owner only.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trusted = root / "trusted"

    def create(self, now: datetime) -> Key:
        """Makes the first key.

        Raises:
            Conflict: There is one already.
            Forbidden: Others may look into the folder, or it cannot be written.
        """
        durable.make_folder(self.root, mode=0o700)
        self._check_folder()
        # A project may be above the home folder: neither git nor a snapshot takes the keys along.
        durable.create_exclusive(self.root / ".gitignore", b"*\n")
        with durable.locked(self.root):
            if (active := self._active()) is not None:
                raise Conflict(
                    f"there is a key already: `{active.key_id}`",
                    hint="`fetchml keys rotate` puts a new one in its place",
                    code="key-exists",
                )
            return self._add(now)

    def rotate(self, now: datetime) -> Key:
        """Makes a new key that signs from now on; the old one stays for verification, without its private half.

        Raises:
            NotFound: There is no key yet.
            Forbidden: Others may look into the folder, or it cannot be written.
            Corrupt: A key file is damaged.
        """
        if not self.root.is_dir():
            raise self._none()
        self._check_folder()
        with durable.locked(self.root):
            old = [(path, key) for path, key, _ in self._files() if key.private_key is not None]
            if not old:
                raise self._none()
            made = self._add(max(now, *(key.created_at + _MOMENT for _, key in old)))
            for path, key in old:
                retired = key.model_copy(update={"private_key": None, "retired_at": made.created_at})
                durable.write_atomic(path, _bytes(retired), mode=0o600)
        return made

    def listed(self) -> list[Key]:
        """Returns the keys of this host, oldest first.

        Raises:
            Forbidden: The folder cannot be read.
            Corrupt: A key file is damaged.
        """
        active = self._active()
        found = [_public(key, active, exposed=exposed) for _, key, exposed in self._files()]
        return sorted(found, key=lambda key: (key.created_at, key.key_id))

    def check(self) -> str:
        """Returns the id of the key that signs; raises what `signer` would, for want of one. Loads nothing heavy."""
        return key_id_of(self._usable().public_key)

    def signer(self) -> Sign:
        """Returns what signs with the active key.

        Raises:
            NotFound: There is no key.
            Forbidden: Others may read it.
            Corrupt: It is damaged.
        """
        key = self._usable()
        assert key.private_key is not None  # noqa: S101  # what makes it usable
        return ed25519.make_signer(key.private_key, key.public_key)

    def trust(self) -> Trust:
        """Returns whose signatures count; keys that cannot be read, or that others may use, do not."""
        own: dict[str, datetime | None] = {}
        others: set[str] = set()
        faults: list[str] = []
        try:
            if self.root.exists():
                self._check_folder()
            for path in self._paths():
                try:
                    key, exposed = self._read(path)
                except FetchmlError as error:
                    faults.append(error.summary)
                    continue
                if exposed:
                    faults.append(_exposed(path).summary)
                else:
                    own[key.public_key] = key.retired_at
            others, bad = self._others()
            faults += bad
        except FetchmlError as error:
            return Trust({}, frozenset(), (error.summary,))
        return Trust(own, frozenset(others), tuple(faults))

    def _others(self) -> tuple[set[str], list[str]]:
        keys: set[str] = set()
        faults: list[str] = []
        for path in sorted(self.trusted.glob("*.pub")) if self.trusted.is_dir() else ():
            try:
                with durable.translated("read", path):
                    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            except FetchmlError as error:
                faults.append(error.summary)
                continue
            words = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
            keys |= {word for word in words if _PUBLIC_KEY.fullmatch(word)}
            if any(_PUBLIC_KEY.fullmatch(word) is None for word in words):
                faults.append(f"`{path}` holds what is no public key: expected 64 hexadecimal digits on each line")
        return keys, faults

    def _usable(self) -> StoredKey:
        if not self.root.is_dir():
            raise self._none()
        self._check_folder()
        usable: list[tuple[StoredKey, Path, bool]] = []
        faults: list[FetchmlError] = []
        for path in self._paths():
            try:
                key, exposed = self._read(path)
            except FetchmlError as error:
                faults.append(error)
                continue
            if key.private_key is not None:
                usable.append((key, path, exposed))
        if not usable:
            raise faults[0] if faults else self._none()
        key, path, exposed = max(usable, key=lambda item: (item[0].created_at, item[0].key_id))
        if exposed:
            raise _exposed(path)
        return key

    def _active(self) -> StoredKey | None:
        able = [key for _, key, _ in self._files() if key.private_key is not None]
        return max(able, key=lambda key: (key.created_at, key.key_id)) if able else None

    def _add(self, now: datetime) -> Key:
        private_key, public_key = ed25519.generate()
        key = StoredKey(key_id=key_id_of(public_key), public_key=public_key, private_key=private_key, created_at=now)
        if not durable.create_exclusive(self.root / f"{key.key_id}.json", _bytes(key), mode=0o600):
            raise Conflict(f"there is a key `{key.key_id}` already", code="key-exists")
        return _public(key, key, exposed=False)

    def _files(self) -> Iterator[tuple[Path, StoredKey, bool]]:
        for path in self._paths():
            yield path, *self._read(path)

    def _paths(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        with durable.translated("list", self.root):
            return [self.root / name for name in sorted(os.listdir(self.root)) if _NAME.fullmatch(name)]

    def _read(self, path: Path) -> tuple[StoredKey, bool]:
        """Returns a key, and whether others may read its private half."""
        with durable.translated("read", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                mode = os.fstat(descriptor).st_mode
                content = file.read()
        try:
            key = StoredKey.model_validate_json(content)
        except ValidationError:
            # The cause is left out: it may hold the key.
            raise _damaged(path) from None
        if path.stem != key.key_id:
            raise _damaged(path)
        return key, key.private_key is not None and bool(stat.S_IMODE(mode) & _OF_OTHERS)

    def _check_folder(self) -> None:
        with durable.translated("read", self.root):
            mode = stat.S_IMODE(self.root.stat().st_mode)
        if mode & _OF_OTHERS:
            raise Forbidden(
                f"others may look into the folder of the keys, `{self.root}`",
                detail=f"its mode is {mode:04o}, expected 0700",
                hint=f"`chmod 700 {self.root}`; if others may have read a key, `fetchml keys rotate`",
                code="key-exposed",
            )

    def _none(self) -> NotFound:
        return NotFound(
            "there is no key to sign with",
            detail=f"looked in `{self.root}`",
            hint="`fetchml keys init` makes one",
            code="no-key",
        )


def _public(key: StoredKey, active: StoredKey | None, *, exposed: bool) -> Key:
    return Key(
        key_id=key.key_id,
        public_key=key.public_key,
        created_at=key.created_at,
        retired_at=key.retired_at,
        active=active is not None and key.key_id == active.key_id,
        exposed=exposed,
    )


def _bytes(key: StoredKey) -> bytes:
    return key.model_dump_json(indent=2).encode() + b"\n"


def _damaged(path: Path) -> Corrupt:
    return Corrupt(
        f"the key file `{path}` is damaged",
        hint="restore it from a backup, or move it away and make a new key with `fetchml keys init`",
        code="key-damaged",
    )


def _exposed(path: Path) -> Forbidden:
    return Forbidden(
        f"others may read the key file `{path}`",
        detail="a key that others know proves nothing",
        hint=f"`chmod 600 {path}` if nobody has read it, else `fetchml keys rotate`",
        code="key-exposed",
    )
