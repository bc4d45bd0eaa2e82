"""Keeps an eye on the devices of this host for the worker."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from fetchml.admission.lab import Stranger
from fetchml.gpus.board import post
from fetchml.gpus.discover import Overrides
from fetchml.gpus.inventory import Inventory, inventory_of
from fetchml.gpus.prober import DEADLINE_S, Prober, has_devices
from fetchml.gpus.readings import Readings
from fetchml.gpus.strangers import Ours, memory_taken, strangers
from fetchml.models.resources import Device

_EVERY_S = 5.0
_BETWEEN_S = 0.25
"""How often an answer that was asked for is looked for."""
_logger = logging.getLogger(__name__)


class Asks(Protocol):
    """What the drivers are asked through; `Prober` is one."""

    fault: str | None

    @property
    def silence_s(self) -> float:
        """Seconds since the question that has no answer yet; 0 if there is none."""
        ...

    def ask(self) -> None:
        """Asks, unless an earlier question still has no answer."""
        ...

    def answer(self, timeout_s: float) -> Readings | None:
        """Returns the answer, or None if there is none in that time."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


@dataclass(frozen=True, slots=True)
class Latest:
    """What is known of the devices."""

    inventory: Inventory = field(default_factory=Inventory)
    """The devices that are offered; one that vanished stays, and is suspended."""
    strangers: tuple[Stranger, ...] = ()
    memory_taken: dict[str, int] = field(default_factory=dict[str, int])
    """Memory of devices that is gone though no stranger computes there, by id, in bytes."""
    suspended: dict[str, str] = field(default_factory=dict[str, str])
    """Devices on which nothing may be started now, by id, with the reason in words."""
    readings: Readings = field(default_factory=Readings)
    answered_at: float | None = None
    """When the drivers answered last, on the monotonic clock; None if they never did."""


class DeviceWatch:
    """Asks the drivers every few seconds, in a thread that waits for a probe and never for a driver.

    Args:
        overrides: What the environment says of the devices.
        ours: Tells what belongs to the runs of this host.
        services: Folder to post the readings in, for the flow processes; None posts nothing.
        every_s: Seconds between two questions.
        ask: What the drivers are asked through.
        has_any: Tells whether there is anything to ask.
        clock: The monotonic clock.
    """

    def __init__(
        self,
        overrides: Overrides,
        ours: Callable[[], Ours] = Ours,
        services: Path | None = None,
        every_s: float = _EVERY_S,
        ask: Asks | None = None,
        has_any: Callable[[], bool] = has_devices,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._overrides = overrides
        self._ours = ours
        self._services = services
        self._every_s = every_s
        self._prober: Asks = ask if ask is not None else Prober()
        self._has_any = has_any
        self._clock = clock
        self._known: dict[str, Device] = {}
        self._latest = Latest(overrides.apply(lambda _: Inventory()))
        self._looked_at = clock()
        self._posted_at = -math.inf
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Looks once, for five seconds at most, then goes on in the background."""
        self.look(DEADLINE_S)
        self._thread = threading.Thread(target=self._go_on, name="fetchml-devices", daemon=True)
        self._thread.start()

    def latest(self) -> Latest:
        """Returns what is known now; cheap, and never blocks."""
        if self._thread is not None and self._clock() - self._looked_at > self._every_s + 2 * DEADLINE_S:
            return self._silent()  # even the thread that asks has stopped
        return self._latest

    def close(self) -> None:
        """Stops looking."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=DEADLINE_S)  # it never waits for longer than a write to the disk takes
        self._prober.close()

    def look(self, timeout_s: float) -> Latest:
        """Asks, and returns what is known then; an answer may take five seconds until its lack means something.

        Args:
            timeout_s: How long to wait for an answer.
        """
        self._looked_at = self._clock()
        if not self._overrides.hide_all and (self._known or self._has_any()):
            self._prober.ask()
            readings = self._prober.answer(timeout_s)
            if readings is None and 0 < self._prober.silence_s < DEADLINE_S:
                return self._latest
        else:
            readings = Readings()
        self._latest = self._silent() if readings is None else self._answered(readings)
        self._post(is_news=readings is not None)
        return self._latest

    def _post(self, *, is_news: bool) -> None:
        """Tells the flow processes; silence is told as often as answers would be."""
        if self._services is None or not (is_news or self._clock() - self._posted_at >= self._every_s):
            return
        self._posted_at = self._clock()
        post(self._services, self._latest.inventory, self._latest.readings, self._latest.answered_at)

    def _go_on(self) -> None:
        while not self._closing.wait(_BETWEEN_S if self._prober.silence_s > 0 else self._every_s):
            try:
                self.look(0)
            except Exception:
                _logger.exception("looking at the GPUs failed")
                self._latest = self._silent()

    def _silent(self) -> Latest:
        """The last known devices stay known, and nothing new is started on them."""
        reason = self._prober.fault or "the GPU drivers do not answer"
        inventory = replace(self._latest.inventory, faults=(reason,))
        return replace(self._latest, inventory=inventory, suspended={item.id: reason for item in inventory.devices})

    def _answered(self, readings: Readings) -> Latest:
        found = inventory_of(readings, self._overrides.vendor)
        integrated = {device.id for device in readings.devices if device.is_integrated}
        has_card = not self._known.keys() <= integrated
        # When the only card falls off the bus, the graphics part of the processor does not take its place.
        self._known |= {item.id: item for item in found.devices if not (has_card and item.id in integrated)}
        detection = found.detection if found.devices else self._latest.inventory.detection
        whole = replace(found, devices=tuple(self._known.values()), detection=detection)
        inventory = self._overrides.apply(lambda _: whole)
        ours = self._ours()
        return Latest(
            inventory,
            strangers(readings, ours),
            memory_taken(readings, ours),
            _suspended([item.id for item in inventory.devices if item.id in self._known], found, readings),
            readings,
            self._clock(),
        )


def _suspended(known: list[str], found: Inventory, readings: Readings) -> dict[str, str]:
    """Returns the devices that were offered once and cannot be used now, with the reason."""
    healthy = {device.id for device in found.devices}
    errors = {device.id: device.error for device in readings.devices if device.error is not None}
    gone = "; ".join(("it is not there any more", *readings.faults))
    return {name: errors.get(name) or gone for name in known if name not in healthy}
