"""The gateway that a home folder uses: `<home>/gateway.json`, there only after `fetchml login` or a join command.

Read by every command, so it is plain JSON and needs no model.
"""

import base64
import binascii
import json
import os
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from fetchml import durable
from fetchml.errors import ConfigError, Corrupt, NotFound

FILE = "gateway.json"
CA_FILE = "gateway-ca.pem"
CODE_PREFIX = "fml1."
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

Kind = Literal["host", "user"]


@dataclass(frozen=True, slots=True)
class Login:
    """Which gateway, as whom."""

    url: str
    """Address, such as `https://lab.example:8470`."""
    kind: str
    """`host` for a worker's host, `user` for a person's computer."""
    name: str
    """Name of the host or the user, as the gateway knows it."""
    key: str
    """The secret."""
    store_id: str
    """Marks the runs of the lab's store in Prefect."""
    pool: str = "fetchml"
    """Work pool of the lab."""
    ca_pem: str | None = None
    """Certificate that the gateway's own must be signed with; None: those this system trusts."""

    def __repr__(self) -> str:
        return f"Login({self.url!r}, {self.kind!r}, {self.name!r})"  # a key in a traceback is a key for everyone


def code_of(login: Login) -> str:
    """Returns a login as one word that a person can paste; it holds the key."""
    content = json.dumps(asdict(login), separators=(",", ":")).encode()
    return CODE_PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")


def login_of(code: str) -> Login:
    """Returns the login that a code holds.

    Raises:
        ConfigError: It is no such code, or was not copied whole. The message holds nothing of it.
    """
    text = "".join(code.split())
    try:
        if not text.startswith(CODE_PREFIX):
            raise ValueError("another prefix")
        raw = text.removeprefix(CODE_PREFIX)
        content = base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        return checked(_login(json.loads(content)))
    except (ValueError, TypeError, KeyError, binascii.Error):
        raise ConfigError(
            "that is no code for a gateway",
            detail=f"expected the word that begins with `{CODE_PREFIX}`, whole",
            hint="`fetchml host add NAME` and `fetchml user add NAME` print one on the control host",
            code="bad-code",
        ) from None


def checked(login: Login) -> Login:
    """Returns a login whose address may be used.

    Raises:
        ConfigError: The address is no URL, or leads to another host without TLS.
    """
    parts = urlsplit(login.url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ConfigError(
            f"`{login.url[:100]}` is no address of a gateway", detail="expected a URL such as https://lab.example:8470"
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            f"`{login.url[:100]}` is not encrypted",
            detail="anyone on the way could read the key and change what is sent",
            hint="use the https address that the gateway prints",
            code="no-tls",
        )
    return login


def read_login(home: Path) -> Login | None:
    """Returns the login of a home folder, or None if it is a lab of its own.

    Raises:
        Corrupt: The file is damaged.
    """
    path = home / FILE
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ValueError("others may read it")
            return checked(_login(json.load(file)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise Corrupt(
            f"`{path}` cannot be used",
            detail=str(error),
            hint="`fetchml logout` removes it; then log in again",
            code="login-damaged",
        ) from error
    except OSError as error:
        raise durable.translate(error, "read", path) from error


def write_login(home: Path, login: Login) -> None:
    """Stores a login, readable by its owner only; the certificate goes into a file of its own, for Prefect."""
    if login.ca_pem is not None:
        durable.write_atomic(home / CA_FILE, login.ca_pem.encode())
    content = {"schema_version": 1, **asdict(login)}
    durable.write_atomic(home / FILE, json.dumps(content, indent=2).encode() + b"\n", mode=0o600)


def remove_login(home: Path) -> Login | None:
    """Forgets the login; returns what it was."""
    try:
        login = read_login(home)
    except Corrupt:
        login = None
    for name in (FILE, CA_FILE):
        try:
            with durable.translated("remove", home / name):
                (home / name).unlink()
        except NotFound:
            continue
    return login


def _login(content: object) -> Login:
    known = {item.name for item in fields(Login)}
    values = {name: value for name, value in cast("dict[str, Any]", content).items() if name in known}
    login = Login(**values)
    texts = [values.get(name) for name in ("url", "name", "key", "store_id")]
    texts += [values.get("pool", "fetchml"), values.get("ca_pem") or "-"]
    if login.kind not in ("host", "user") or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("a field is missing")
    return login
