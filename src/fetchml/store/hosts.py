"""The hosts of the lab: what their workers published last, and the marks that operators put on them.

`<store>/hosts/<name>/state.json` is written by the owner of the store whenever a worker publishes, with the moment on
the owner's clock, as nobody else's counts; `marks.json` beside it is written by operators only.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from fetchml import durable
from fetchml.errors import ConfigError, Corrupt, NotFound
from fetchml.models.base import Model, UtcTime
from fetchml.models.host import boot_id
from fetchml.models.lab_host import MAX_HOST_NAME, HostMarks, HostName, PublishedHost
from fetchml.store.directory import read_model

MarksChange = Callable[[HostMarks], HostMarks]

_NAME = TypeAdapter(HostName)


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host as the store knows it."""

    name: str
    state: PublishedHost | None
    """What its worker published last; None if it was marked and has never published."""
    silent_s: float
    """Seconds since then, counted by the owner of the store; infinite if it has never published."""
    marks: HostMarks


class Hosts(Protocol):
    """Where hosts are known."""

    def publish(self, state: PublishedHost) -> None:
        """Takes what a worker says about its host; the owner of the store notes when it heard it.

        Raises:
            ConfigError: The host has a name that cannot be used.
        """
        ...

    def known(self) -> list[KnownHost]:
        """Returns every host that has published or was marked, by name; one that cannot be read is left out."""
        ...

    def mark(self, host: str, change: MarksChange) -> HostMarks:
        """Changes what operators say about a host, under a lock, and returns it; durable when it returns.

        Raises:
            NotFound: No host of that name is known.
        """
        ...

    def forget(self, host: str) -> None:
        """Removes a host and its marks; one that is not known is fine, one that publishes again is known again."""
        ...


class _Heard(Model):
    """`state.json`: what was published, and when the owner of the store heard it."""

    schema_version: Literal[1] = 1
    heard_at: UtcTime = Field(description="When it was heard, on the clock of the store's owner")
    heard_s: float = Field(description="The same on its monotonic clock, in seconds")
    heard_boot_id: str = Field(description="Boot of the owner that this clock belongs to")
    state: PublishedHost = Field(description="What was published")


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of the store's owner."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    boot_id: Callable[[], str] = boot_id


class DirectoryHosts:
    """Hosts as folders below `<root>/hosts`.

    Args:
        root: Folder of the store.
        clock: The owner's clock.
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self.folder = root / "hosts"
        self._clock = clock or Clock()

    def publish(self, state: PublishedHost) -> None:
        folder = self.folder / checked_host(state.host)
        heard = _Heard(
            heard_at=self._clock.now(),
            heard_s=self._clock.monotonic(),
            heard_boot_id=self._clock.boot_id(),
            state=state,
        )
        durable.make_folder(folder)
        durable.write_atomic(folder / "state.json", heard.model_dump_json().encode() + b"\n")

    def known(self) -> list[KnownHost]:
        try:
            with durable.translated("list", self.folder):
                names = sorted(name for name in os.listdir(self.folder) if is_host_name(name))
        except NotFound:
            return []
        found = [self._known(name) for name in names]
        return [item for item in found if item is not None]

    def mark(self, host: str, change: MarksChange) -> HostMarks:
        folder = self.folder / checked_host(host)
        if not durable.exists(folder):
            raise _no_such_host(host)
        with durable.locked(folder):
            before = self._marks(host)
            after = change(before)
            if after != before:
                durable.write_atomic(folder / "marks.json", after.model_dump_json(indent=2).encode() + b"\n")
            return after

    def forget(self, host: str) -> None:
        folder = self.folder / checked_host(host)
        if not durable.exists(folder):
            return
        with durable.translated("remove", folder):
            for name in ("state.json", "marks.json"):
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()

    def _known(self, name: str) -> KnownHost | None:
        try:
            heard = read_model(self.folder / name / "state.json", _Heard, lambda: f"host `{name}`")
            marks = self._marks(name)
        except Corrupt:
            return None
        if heard is None:
            return KnownHost(name, None, float("inf"), marks)
        return KnownHost(name, heard.state, self._silent_s(heard), marks)

    def _marks(self, host: str) -> HostMarks:
        return read_model(self.folder / host / "marks.json", HostMarks, lambda: f"host `{host}`") or HostMarks()

    def _silent_s(self, heard: _Heard) -> float:
        """Counts on the monotonic clock: a wall clock that jumps makes no host silent."""
        if heard.heard_boot_id == self._clock.boot_id():
            return max(0.0, self._clock.monotonic() - heard.heard_s)
        return max(0.0, (self._clock.now() - heard.heard_at).total_seconds())


class MemoryHosts:
    """Hosts as values: a faithful twin of those in a directory.

    Args:
        clock: The owner's clock.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._states: dict[str, tuple[PublishedHost, float]] = {}
        self._marks: dict[str, HostMarks] = {}

    def publish(self, state: PublishedHost) -> None:
        with self._lock:
            self._states[checked_host(state.host)] = (state, self._clock.monotonic())

    def known(self) -> list[KnownHost]:
        now = self._clock.monotonic()
        with self._lock:
            return [
                KnownHost(name, state, max(0.0, now - heard_s), self._marks.get(name, HostMarks()))
                for name, (state, heard_s) in sorted(self._states.items())
            ]

    def mark(self, host: str, change: MarksChange) -> HostMarks:
        with self._lock:
            if checked_host(host) not in self._states:
                raise _no_such_host(host)
            self._marks[host] = change(self._marks.get(host, HostMarks()))
            return self._marks[host]

    def forget(self, host: str) -> None:
        with self._lock:
            self._states.pop(checked_host(host), None)
            self._marks.pop(host, None)


def is_host_name(text: str) -> bool:
    """Tells whether a host may have that name."""
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True


def checked_host(text: str) -> str:
    """Returns a name of a host.

    Raises:
        ConfigError: No host may have that name.
    """
    if not is_host_name(text):
        raise ConfigError(
            f"`{text[:80]!r}` cannot be the name of a host",
            detail=f"expected 1 to {MAX_HOST_NAME} letters, digits, `.`, `_` or `-`, the first a letter or digit",
            code="bad-host-name",
        )
    return text


def _no_such_host(host: str) -> NotFound:
    return NotFound(f"no host `{host}` is known", hint="a host is known once its worker has run", code="no-such-host")
