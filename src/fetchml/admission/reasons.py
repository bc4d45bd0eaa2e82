"""Why a run waits or is refused: a closed set of reasons, with numbers and in words."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fetchml.models.units import format_size, plural


class Blocker(StrEnum):
    """What keeps a run from starting."""

    CPUS = "cpus"
    MEMORY = "memory"
    DISK = "disk"
    GPUS = "gpus"
    """Whole devices."""
    GPU_SHARE = "gpu-share"
    """A part of one device; parts of several are never summed."""
    GPU_MEMORY = "gpu-memory"
    GPU_MEMORY_UNKNOWN = "gpu-memory-unknown"
    """Another run on the device never said how much of its memory it takes."""
    GPU_VENDOR = "gpu-vendor"
    GPU_MODEL = "gpu-model"
    ARCH = "arch"
    HOST = "host"
    """The host that was asked for is not there."""
    NO_HOST = "no-host"
    """The lab has no host at all, or fewer than the run needs together."""
    DRAINED = "drained"
    DEDICATED = "dedicated"
    SILENT = "silent"
    STRANGERS = "strangers"
    SUSPENDED = "suspended"
    RUN_AHEAD = "run-ahead"
    """The policy lets nobody pass."""
    USER_LIMIT = "user-limit"
    GROUP_LIMIT = "group-limit"
    POOL_LIMIT = "pool-limit"
    QUEUE_LIMIT = "queue-limit"

    @property
    def is_limit(self) -> bool:
        """Whether it is a rule rather than a lack of anything."""
        return self in _LIMITS

    @property
    def is_about_gpus(self) -> bool:
        """Whether a device is what is missing."""
        return self in _ABOUT_GPUS


_LIMITS = frozenset({Blocker.USER_LIMIT, Blocker.GROUP_LIMIT, Blocker.POOL_LIMIT, Blocker.QUEUE_LIMIT})
_ABOUT_GPUS = frozenset(
    {
        Blocker.GPUS,
        Blocker.GPU_SHARE,
        Blocker.GPU_MEMORY,
        Blocker.GPU_MEMORY_UNKNOWN,
        Blocker.GPU_VENDOR,
        Blocker.GPU_MODEL,
        Blocker.STRANGERS,
        Blocker.SUSPENDED,
    }
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing a run waits for, or can never have, in numbers."""

    blocker: Blocker
    needed: float = 0
    """In the blocker's own unit: cores, bytes, devices, a share, runs."""
    available: float = 0
    """The same of what there is; for a limit, what is left of it."""
    where: str | None = None
    """The host or the device it is about; None where there is only one, or none."""
    kept_for: str | None = None
    """The run ahead that the rest is kept for."""
    who: tuple[str, ...] = ()
    """What or who stands in the way, for people: makers, users, processes."""
    until: datetime | None = None
    """When it ends by itself, if that is known."""

    def __str__(self) -> str:
        text = _WORDS.get(self.blocker, _lacking)(self)
        return f"{text} (kept for {self.kept_for})" if self.kept_for else text


def _on(reason: Reason) -> str:
    return f" on {reason.where}" if reason.where else ""


def _lacking(reason: Reason) -> str:
    is_size = reason.blocker in (Blocker.MEMORY, Blocker.DISK, Blocker.GPU_MEMORY)
    needed, available = (
        (format_size(int(number)) if is_size else f"{number:g}") for number in (reason.needed, reason.available)
    )
    what = reason.blocker.replace("-", " ")
    return f"needs {needed} {what}, {available} free{_on(reason)}"


def _share(reason: Reason) -> str:
    return f"needs {reason.needed:g} of one gpu, at most {reason.available:g} of one free{_on(reason)}"


def _unknown_memory(reason: Reason) -> str:
    return f"needs {format_size(int(reason.needed))} gpu memory, and what others use is not known{_on(reason)}"


def _kind(word: str) -> Callable[[Reason], str]:
    def say(reason: Reason) -> str:
        wanted, *there = reason.who
        has = ", ".join(there) or "none"
        return f"needs {word} {wanted}, {reason.where or 'the host'} has {has}"

    return say


def _host(reason: Reason) -> str:
    return f"may only go to host {reason.where}, which is not in the lab"


def _no_host(reason: Reason) -> str:
    if reason.needed <= 1:
        return "no host is in the lab"
    there = f"only {reason.available:g} that could run it" if reason.available else "none that could run it"
    return f"needs {plural(reason.needed, 'host')} together, {there}"


def _hosts(state: str) -> Callable[[Reason], str]:
    def say(reason: Reason) -> str:
        if reason.where:
            return f"host {reason.where} {state}"
        return f"{plural(reason.available, 'host')} {state.replace('is ', 'are ').replace('has ', 'have ')}"

    return say


def _dedicated(reason: Reason) -> str:
    whom = ", ".join(reason.who) or "nobody"
    end = f" until {reason.until:%Y-%m-%d %H:%M} UTC" if reason.until else ""
    return f"host {reason.where} is kept for {whom}{end}"


def _strangers(reason: Reason) -> str:
    whom = ", ".join(reason.who) or "processes that fetchml did not start"
    return f"{reason.where} is in use by {whom}"


def _suspended(reason: Reason) -> str:
    return f"{reason.where} does not answer: {', '.join(reason.who)}"


def _run_ahead(_: Reason) -> str:
    return "waits for its turn"


def _limit(kind: str) -> Callable[[Reason], str]:
    def say(reason: Reason) -> str:
        what, whose = (*reason.who, "", "")[:2]
        return f"the limit of {kind}{whose} leaves {plural(reason.available, what)}, needs {reason.needed:g}"

    return say


_WORDS: dict[Blocker, Callable[[Reason], str]] = {
    Blocker.GPU_SHARE: _share,
    Blocker.GPU_MEMORY_UNKNOWN: _unknown_memory,
    Blocker.GPU_VENDOR: _kind("a gpu by"),
    Blocker.GPU_MODEL: _kind("a gpu of model"),
    Blocker.ARCH: _kind("a host of"),
    Blocker.HOST: _host,
    Blocker.NO_HOST: _no_host,
    Blocker.DRAINED: _hosts("is drained"),
    Blocker.SILENT: _hosts("is silent"),
    Blocker.DEDICATED: _dedicated,
    Blocker.STRANGERS: _strangers,
    Blocker.SUSPENDED: _suspended,
    Blocker.RUN_AHEAD: _run_ahead,
    Blocker.USER_LIMIT: _limit("user "),
    Blocker.GROUP_LIMIT: _limit("group "),
    Blocker.POOL_LIMIT: _limit("the pool"),
    Blocker.QUEUE_LIMIT: _limit("priority "),
}
