"""Tells the lab that this host is there: what it has, what it runs, and what others do on its devices."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import fetchml
from fetchml.engine.choose import addresses
from fetchml.home import Home
from fetchml.models.claim import Claim
from fetchml.models.host import boot_id
from fetchml.models.lab_host import HeldRun, PublishedHost
from fetchml.models.resources import HostCapacity
from fetchml.store.hosts import DirectoryHosts


class Presence:
    """What this host publishes.

    Args:
        home: The home folder.
        worker: Name of the worker.
        capacity: What the host offers to runs.
        started_at: When the worker started.
    """

    def __init__(self, home: Home, worker: str, capacity: HostCapacity, started_at: datetime) -> None:
        self._home = home
        self._worker = worker
        self._capacity = capacity
        self._started_at = started_at
        self._hosts = DirectoryHosts(home.settings.store)

    def publish(self, claims: Sequence[Claim]) -> None:
        """Publishes what there is now; what it says last is its sign of life.

        Args:
            claims: What is held on this host.

        Raises:
            Unavailable: The disk is full, or the control host does not answer.
        """
        self._hosts.publish(
            PublishedHost(
                capacity=self._capacity,
                worker=self._worker,
                pid=os.getpid(),
                version=fetchml.__version__,
                boot_id=boot_id(),
                started_at=self._started_at,
                published_at=datetime.now(UTC),
                running=tuple(_held(claim) for claim in claims),
                engines=addresses(self._home.engines),
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
