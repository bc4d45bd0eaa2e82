"""The figures of a worker for Prometheus: the queue, waits, devices, hosts and ends.

Served by a thread on loopback. What counts up is counted as it happens; what is a state is looked at when somebody
asks. That no figure can be had never keeps a run from anything.
"""

import threading
from collections import Counter as Count
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import fetchml
from fetchml.admission.decide import Decision, Wait
from fetchml.errors import ConfigError, Unavailable
from fetchml.gpus.readings import DeviceReading
from fetchml.models.claim import Claim
from fetchml.models.manifest import RunManifest
from fetchml.store.hosts import KnownHost

WAIT_BUCKETS_S = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600)
DISPATCH_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60, 300, 900)


class Figures:
    """What a worker counts.

    Args:
        claims: Returns what is held on this host.
        devices: Returns what the devices said last.
        hosts: Returns the hosts of the lab.
    """

    def __init__(
        self,
        claims: Callable[[], Sequence[Claim]],
        devices: Callable[[], Sequence[DeviceReading]],
        hosts: Callable[[], Sequence[KnownHost]],
    ) -> None:
        self.registry = CollectorRegistry()
        self._waiting: Count[str] = Count()
        self._claims = claims
        self._devices = devices
        self._hosts = hosts
        self._server: tuple[Any, threading.Thread] | None = None
        self._admissions = self._counter("fetchml_admissions", "Attempts that this worker has claimed")
        self._ends = self._counter("fetchml_attempts_ended", "Attempts that ended here, by end reason", "end_reason")
        self._retries = self._counter(
            "fetchml_retries", "Attempts that ended here and are followed by another, by end reason", "end_reason"
        )
        self._wait = self._histogram(
            "fetchml_queue_wait_seconds", "Time from queued to claimed, of first attempts", WAIT_BUCKETS_S
        )
        self._dispatch = self._histogram(
            "fetchml_dispatch_seconds", "Time from claimed to the start of the payload", DISPATCH_BUCKETS_S
        )
        self.registry.register(_States(self._states))

    def serve(self, address: str) -> int:
        """Serves the figures in the background.

        Args:
            address: `host:port`; port 0 takes a free one.

        Returns:
            The port.

        Raises:
            ConfigError: The address makes no sense.
            Unavailable: Something else listens there.
        """
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"`{address[:80]}` is no address", hint="write for example `127.0.0.1:9464`")
        try:
            self._server = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise Unavailable(
                f"figures cannot be served on `{address}`",
                detail=str(error),
                hint="set `metrics.listen` to another address, or to none",
                code="address-in-use",
            ) from error
        return int(self._server[0].server_port)

    def close(self) -> None:
        """Stops serving."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(timeout=1)
            self._server = None

    def decided(self, decisions: Sequence[Decision]) -> None:
        """Notes how many wait for what: each run counts once, by the first of its reasons."""
        self._waiting = Count(
            str(item.reasons[0].blocker) if item.reasons else "none" for item in decisions if isinstance(item, Wait)
        )

    def claimed(self, claim: Claim, queued_at: datetime) -> None:
        """Counts an attempt that was claimed."""
        self._admissions.inc()
        if claim.attempt == 1:
            self._wait.observe(max(0.0, (claim.claimed_at - queued_at).total_seconds()))

    def ended(self, claim: Claim, manifest: RunManifest) -> None:
        """Counts an attempt that is over."""
        for earlier in manifest.attempts:
            if earlier.attempt == claim.attempt:
                self._ends.labels(str(earlier.end_reason)).inc()
                self._retries.labels(str(earlier.end_reason)).inc()
                self._started(claim, earlier.started_at)
                return
        if manifest.end_reason is not None:
            self._ends.labels(str(manifest.end_reason)).inc()
            self._started(claim, manifest.times.started_at)

    def _started(self, claim: Claim, started_at: datetime | None) -> None:
        if started_at is not None:
            self._dispatch.observe(max(0.0, (started_at - claim.claimed_at).total_seconds()))

    def _states(self) -> Iterable[Metric]:
        info = GaugeMetricFamily("fetchml_worker_info", "The worker; always 1", labels=["version"])
        info.add_metric([fetchml.__version__], 1)
        yield info
        depth = GaugeMetricFamily("fetchml_queue_depth", "Runs that wait, by what they wait for", labels=["blocker"])
        for blocker, count in sorted(self._waiting.items()):
            depth.add_metric([blocker], count)
        yield depth
        claims = self._claims()
        yield GaugeMetricFamily("fetchml_runs_started", "Runs that hold resources of this host", value=len(claims))
        now = datetime.now(UTC)
        oldest = max(((now - claim.claimed_at).total_seconds() for claim in claims), default=0.0)
        yield GaugeMetricFamily("fetchml_oldest_claim_age_seconds", "Age of the oldest claim held here", value=oldest)
        yield from self._device_states(claims)
        age = GaugeMetricFamily("fetchml_host_heartbeat_age_seconds", "Time since a host was heard", labels=["host"])
        for item in self._hosts():
            if item.state is not None:
                age.add_metric([item.name], item.silent_s)
        yield age

    def _device_states(self, claims: Sequence[Claim]) -> Iterable[Metric]:
        held: Count[str] = Count()
        for claim in claims:
            for share in claim.held:
                held[share.device_id] += share.share  # pyright: ignore[reportArgumentType]  # shares are fractions
        readings = list(self._devices())
        names = dict.fromkeys([*(item.id for item in readings), *held])
        shares = GaugeMetricFamily("fetchml_device_held_ratio", "Part of a device that runs hold", labels=["device"])
        for name in names:
            shares.add_metric([name], float(held[name]))
        yield shares
        for name, words, value in _READINGS:
            family = GaugeMetricFamily(name, words, labels=["device"])
            for item in readings:
                number = value(item)
                if number is not None:
                    family.add_metric([item.id], number)
            yield family

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, registry=self.registry)

    def _histogram(self, name: str, words: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, words, buckets=buckets, registry=self.registry)


def _utilisation(item: DeviceReading) -> float | None:
    return None if item.utilisation_percent is None else item.utilisation_percent / 100


_READINGS: tuple[tuple[str, str, Callable[[DeviceReading], float | None]], ...] = (
    ("fetchml_device_utilisation_ratio", "How busy a device is", _utilisation),
    ("fetchml_device_memory_bytes", "Memory of a device", lambda item: item.memory_bytes),
    ("fetchml_device_memory_used_bytes", "Memory of a device in use, by anybody", lambda item: item.used_bytes),
    ("fetchml_device_temperature_celsius", "Temperature of a device", lambda item: item.temperature_c),
    ("fetchml_device_power_watts", "What a device draws", lambda item: item.power_w),
)


class _States(Collector):
    """What is looked at when somebody asks."""

    def __init__(self, states: Callable[[], Iterable[Metric]]) -> None:
        self._look = states

    def collect(self) -> Iterable[Metric]:
        return self._look()
