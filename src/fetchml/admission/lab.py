"""The queue and the lab at one moment: what a placement decision is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fetchml.admission.needs import Needs
from fetchml.models.resources import DeviceShare, HostCapacity, ResourceRequest


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long a run may take, as far as one can tell before it ends."""

    expected_s: float
    """What runs like it take on average, in seconds; of one that has started, in all."""
    upper_s: float
    """What most of the runs like it stay below, in seconds; `--max-runtime` if that is less."""
    basis: str
    """What it was learned from, for people: `20 runs of ada with 1 GPU`."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A run that waits."""

    run_id: str
    priority: int
    queued_at: datetime
    request: ResourceRequest
    user: str = ""
    group: str | None = None
    host: str | None = None
    """The one host it may go to; None: any."""
    archs: tuple[str, ...] = ()
    """Instruction sets its image is for; empty: any."""
    nodes: int = 1
    """Hosts it needs at the same time, each with all that it asks for."""
    forecast: Forecast | None = None
    moved_up_at: datetime | None = None
    """When somebody put it in front of all others; the latest goes first."""
    attempt: int = 1
    """The attempt it waits for."""
    needs: Needs = field(init=False, repr=False, compare=False)
    """What it asks for, in the form that is compared; made once, as thousands of runs wait through many decisions."""

    queued_s: float = field(init=False, repr=False, compare=False)
    """When it was queued, in seconds since 1970."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "queued_s", self.queued_at.timestamp())
        needs = Needs.of(self.request, host=self.host, archs=self.archs, nodes=self.nodes)
        object.__setattr__(self, "needs", needs)

    def with_forecast(self, forecast: Forecast | None) -> "Pending":
        """Returns the same run with another forecast; ten times as fast as `replace`, which makes its needs anew."""
        changed = object.__new__(Pending)
        for name in Pending.__slots__:
            object.__setattr__(changed, name, getattr(self, name))
        object.__setattr__(changed, "forecast", forecast)
        return changed


@dataclass(frozen=True, slots=True)
class Holding:
    """What a started run holds on one host."""

    run_id: str
    host: str
    cpus: float
    memory_bytes: int
    shares: tuple[DeviceShare, ...] = ()
    disk_bytes: int = 0
    user: str = ""
    group: str | None = None
    started_at: datetime | None = None
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True)
class Stranger:
    """Use of a device by processes that are none of ours."""

    device_id: str
    memory_bytes: int | None
    """Memory they have on it, in bytes; None: it is not known."""
    processes: tuple[str, ...] = ()
    """Who they are, for people: `python of bob (pid 4711), 22 GB`."""


@dataclass(frozen=True, slots=True)
class Dedication:
    """Whom a host is kept for."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    until: datetime | None = None
    """When it ends; None: never, so that what only this host could run is impossible for others."""


@dataclass(frozen=True, slots=True)
class HostState:
    """A host of the lab, as it said last."""

    capacity: HostCapacity
    is_drained: bool = False
    """Nothing new is started on it."""
    is_silent: bool = False
    """It has not been heard of for a while; what it holds stays held."""
    dedication: Dedication | None = None
    strangers: tuple[Stranger, ...] = ()
    memory_taken: Mapping[str, int] = field(default_factory=dict[str, int])
    """Memory of devices that is gone though no stranger computes there, by id, in bytes."""
    disk_free_bytes: int | None = None
    """Free disk space, in bytes; None: it is not known."""
    suspended: Mapping[str, str] = field(default_factory=dict[str, str])
    """Devices that do not answer just now, by id, with what is wrong."""

    @property
    def name(self) -> str:
        """Name of the host."""
        return self.capacity.host


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user or group may hold at once; None: no limit."""

    gpus: float | None = None
    runs: int | None = None


@dataclass(frozen=True, slots=True)
class Lab:
    """Everything a decision depends on."""

    hosts: tuple[HostState, ...]
    holding: tuple[Holding, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict[str, float])
    """What each user has used: seconds of the whole lab, fading with time; see `DecayedUsage`."""
    run_limit: int | None = None
    """Runs that may be started at once in the whole pool; None: no limit."""
    queue_limits: Mapping[int, int] = field(default_factory=dict[int, int])
    """The same for single priorities."""
    started_by_priority: Mapping[int, int] = field(default_factory=dict[int, int])
    """Runs that are started, for each priority that has a limit."""
