"""Lets hosts and people in: makes keys for the gateway, lists and revokes them."""

from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.daemons.gateway import public_url
from fetchml.errors import ConfigError
from fetchml.home import Home
from fetchml.keys.access import AccessKey, AccessKeys, AccessKind
from fetchml.keys.tls import Authority
from fetchml.link.login import Login, code_of


def add_access(settings: Settings, kind: AccessKind, name: str) -> str:
    """Makes a key for a host or a person; returns a code that holds it, the address, and whom to trust there.

    Raises:
        ConfigError: This home has no gateway, or nobody may have that name.
        Conflict: There is one of that name.
    """
    home = _control(settings)
    url = public_url(settings)
    ca_pem = Authority(home.path / "gateway").certificate() if settings.gateway_cert_file is None else None
    home.create()
    key = AccessKeys(home.path / "gateway").add(kind, name, datetime.now(UTC))
    login = Login(
        url=url,
        kind=str(kind),
        name=name,
        key=key,
        store_id=home.store_id,
        pool=settings.prefect_pool,
        ca_pem=ca_pem,
    )
    return code_of(login)


def list_access(settings: Settings, kind: AccessKind) -> list[AccessKey]:
    """Returns what is kept of the keys of hosts or people, by name."""
    home = _control(settings)
    return sorted(
        (key for key in AccessKeys(home.path / "gateway").all() if key.kind is kind), key=lambda key: key.name
    )


def remove_access(settings: Settings, kind: AccessKind, name: str) -> None:
    """Revokes a key: the gateway refuses it from the next request on.

    Raises:
        NotFound: There is none.
    """
    AccessKeys(_control(settings).path / "gateway").remove(kind, name)


def _control(settings: Settings) -> Home:
    home = Home(settings)
    if home.login is not None:
        raise ConfigError(
            "this home belongs to a lab of another host",
            detail=home.login.url,
            hint="call the command on the control host",
            code="not-control-host",
        )
    return home
