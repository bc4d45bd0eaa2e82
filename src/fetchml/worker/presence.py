"""Tells the lab that this host is there: what it has, what it runs, and what others do on its devices."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import fetchml
from fetchml.engine.choose import addresses
from fetchml.gpus.discover import free_disk_bytes
from fetchml.gpus.watcher import Latest
from fetchml.home import Home
from fetchml.models.claim import Claim
from fetchml.models.host import boot_id
from fetchml.models.lab_host import HeldRun, PublishedHost, SeenStranger
from fetchml.models.resources import HostCapacity


class Presence:
    """What this host publishes.

    Args:
        home: The home folder.
        worker: Name of the worker.
        look: Returns what there is of devices, and what the host offers.
        started_at: When the worker started.
    """

    def __init__(
        self, home: Home, worker: str, look: Callable[[], tuple[Latest, HostCapacity]], started_at: datetime
    ) -> None:
        self._home = home
        self._worker = worker
        self._look = look
        self._started_at = started_at
        self._hosts = home.hosts

    def publish(self, claims: Sequence[Claim]) -> None:
        """Publishes what there is now; what it says last is its sign of life.

        Args:
            claims: What is held on this host.

        Raises:
            Unavailable: The disk is full, or the control host does not answer.
        """
        devices, capacity = self._look()
        self._hosts.publish(
            PublishedHost(
                capacity=capacity,
                worker=self._worker,
                pid=os.getpid(),
                version=fetchml.__version__,
                boot_id=boot_id(),
                started_at=self._started_at,
                published_at=datetime.now(UTC),
                running=tuple(_held(claim) for claim in claims),
                strangers=tuple(
                    SeenStranger(device_id=item.device_id, memory_bytes=item.memory_bytes, processes=item.processes)
                    for item in devices.strangers
                ),
                memory_taken=devices.memory_taken,
                suspended=devices.suspended,
                engines=addresses(self._home.engines),
                disk_free_bytes=free_disk_bytes(self._home.path),
                load=os.getloadavg()[0],
            )
        )


def _held(claim: Claim) -> HeldRun:
    return HeldRun(
        run_id=claim.run_id,
        attempt=claim.attempt,
        cpus=claim.cpus,
        memory_bytes=claim.memory_bytes,
        disk_bytes=claim.disk_bytes,
        shares=claim.held,
        started_at=claim.claimed_at,
    )
