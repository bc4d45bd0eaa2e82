"""What the devices of a host said when they were last asked: plain values, with nothing but the standard library.

They are made in the probe's own process, which is started often and so imports little, and cross to the caller as JSON.
"""

from dataclasses import dataclass

_ID_LENGTH = 128
_TEXT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that uses a device."""

    pid: int
    memory_bytes: int | None = None
    """What it has on the device; None if the driver does not tell."""
    is_graphics: bool = False
    """Whether it draws: a desktop's use takes memory and keeps nobody from computing."""
    user: str | None = None
    command: str | None = None
    run_id: str | None = None
    """The run it says it belongs to, by its environment; None if that cannot be read or says nothing."""
    cgroup: str = ""
    """Its control group, in which container engines have the id of the container."""
    ancestors: tuple[int, ...] = ()
    """Its parent, that one's parent and so on."""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One device at one moment."""

    id: str
    """UUID or PCI address."""
    vendor: str
    model: str = ""
    memory_bytes: int | None = None
    """All of its memory; None if it has none of its own, or does not tell."""
    used_bytes: int | None = None
    has_host_memory: bool = False
    """Whether its memory is the host's."""
    is_integrated: bool = False
    """Whether it is a part of the processor: it is offered only where there is nothing better."""
    nodes: tuple[str, ...] = ()
    """Device files a container needs to use it."""
    ordinal: int | None = None
    """Position for runtimes that take no id."""
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    ecc_errors: int | None = None
    """Memory errors since the start of the driver that could not be corrected."""
    throttled: tuple[str, ...] = ()
    """Why it is slower than it could be."""
    processes: tuple[GpuProcess, ...] | None = None
    """Who uses it; None if that cannot be told."""
    error: str | None = None
    """What is wrong, if it cannot be used."""


@dataclass(frozen=True, slots=True)
class Readings:
    """All devices of a host at one moment."""

    devices: tuple[DeviceReading, ...] = ()
    methods: tuple[str, ...] = ()
    """How they were found."""
    driver_version: str | None = None
    cuda_version: str | None = None
    faults: tuple[str, ...] = ()
    """What kept devices from being found, in words."""

    def __add__(self, other: "Readings") -> "Readings":
        """Returns what two makers' drivers said together."""
        return Readings(
            (*self.devices, *other.devices),
            (*self.methods, *(method for method in other.methods if method not in self.methods)),
            self.driver_version or other.driver_version,
            self.cuda_version or other.cuda_version,
            (*self.faults, *other.faults),
        )


def tidy(text: object, length: int = _TEXT_LENGTH) -> str:
    """Returns what a driver or another user wrote as one short printable line."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    shown = "".join(c if c.isprintable() else "?" for c in words.partition("\0")[0].strip())
    return shown[:length]


def device_id(text: object) -> str:
    """Returns an id as it may stand in records and variables; empty if there is nothing of it."""
    return "".join(c for c in tidy(text, _ID_LENGTH) if c.isascii() and (c.isalnum() or c in "-_:./"))
