"""Makes a home folder part of a lab, and a lab of its own again."""

from dataclasses import dataclass, replace

from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon
from fetchml.errors import ConfigError, Conflict, Corrupt
from fetchml.home import Home
from fetchml.link.client import Link, Patience
from fetchml.link.login import Login, checked, login_of, read_login, remove_login, write_login
from fetchml.store.directory import DirectoryRunStore


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A lab that this home belongs to now."""

    url: str
    kind: str
    name: str
    version: str
    """Version of fetchml on the control host."""


def login(settings: Settings, code: str, url: str | None = None, *, kind: str = "user") -> LoggedIn:
    """Stores a login once the gateway has taken its key.

    Args:
        settings: The settings of this call.
        code: What `fetchml user add` or `fetchml host add` has printed.
        url: Address to use in place of the one in the code.
        kind: Whom the code has to be for.

    Raises:
        ConfigError: The code is none, or is for something else.
        Conflict: This home belongs to another lab, or has runs of its own that have not ended.
        Forbidden: The gateway refuses the key, or cannot prove who it is.
        Unavailable: It does not answer.
    """
    asked = login_of(code)
    if asked.kind != kind:
        raise ConfigError(
            f"the code is for a {asked.kind}",
            hint="`fetchml login` uses it" if asked.kind == "user" else "`fetchml worker start --join` uses it",
            code="bad-code",
        )
    if url is not None:
        asked = checked(replace(asked, url=url.rstrip("/")))
    _check_free(settings, asked)
    link = Link(asked, Patience(timeout_s=15, tries=2))
    me = link.get("/v1/me").json()
    link.close()
    home = Home(settings)
    home.create()
    write_login(home.path, asked)
    return LoggedIn(asked.url, asked.kind, str(me["name"]), str(me["version"]))


def logout(settings: Settings) -> Login | None:
    """Makes a home a lab of its own again; returns what it belonged to.

    Raises:
        Conflict: Its worker runs, or there is something that the control host does not know yet.
    """
    try:
        found = read_login(settings.home)
    except Corrupt:
        found = None  # whatever it was, it goes
    if found is not None and found.kind == "host":
        if Daemon(settings.services, "worker").is_alive():
            raise Conflict("the worker of this host runs", hint="`fetchml worker stop` stops it", code="worker-running")
        left = Home(settings).outpost.journals()
        if left:
            raise Conflict(
                f"the control host does not know everything of {len(left)} runs yet",
                detail=", ".join(left[:5]),
                hint="`fetchml worker start` sends it",
                code="not-sent",
            )
    return remove_login(settings.home)


def _check_free(settings: Settings, asked: Login) -> None:
    before = read_login(settings.home)
    if before is not None and (before.url, before.name, before.kind) != (asked.url, asked.name, asked.kind):
        raise Conflict(
            f"this home belongs to the lab at {before.url}, as {before.kind} `{before.name}`",
            hint="`fetchml logout` first, or choose another home folder with FETCHML_HOME",
            code="logged-in",
        )
    if before is None and DirectoryRunStore(settings.store).run_ids():
        raise Conflict(
            "this home has runs of its own",
            detail=f"`{settings.home}` would no longer show them",
            hint="choose another home folder with FETCHML_HOME",
            code="own-runs",
        )
