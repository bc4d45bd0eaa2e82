"""Notices hosts that have fallen silent, and hosts that are back.

Silence is no proof of death: the started runs of a silent host are shown as unreachable and nothing else happens to
them. Nothing is started in their place.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from fetchml.errors import Conflict, FetchmlError
from fetchml.gateway.lab import Lab
from fetchml.models.manifest import RunManifest
from fetchml.models.status import Running, Unreachable
from fetchml.store.fencing import reached
from fetchml.store.index import RunIndex

_logger = logging.getLogger("fetchml.gateway")


class Watchman:
    """Looks after the hosts of a lab.

    Args:
        lab: What is served.
        silent_after_s: Seconds without a word after which a host counts as silent.
        now: The clock.
        monotonic: The clock that no one sets.
    """

    def __init__(
        self,
        lab: Lab,
        silent_after_s: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lab = lab
        self._silent_after_s = silent_after_s
        self._now = now
        self._monotonic = monotonic
        self._began = monotonic()

    def look(self) -> int:
        """Marks what has to be marked; returns how many runs were."""
        # While there was no gateway nobody could be heard: whoever was silent then gets the whole time again.
        listening_s = self._monotonic() - self._began
        is_silent = {
            host.name: min(host.silent_s, listening_s) > self._silent_after_s
            for host in self._lab.hosts.known()
            if host.state is not None
        }
        marked = 0
        for row in RunIndex(self._lab.store.root).unfinished():
            if row.host not in is_silent or row.state != ("running" if is_silent[row.host] else "unreachable"):
                continue
            try:
                self._lab.store.update(row.run_id, self._lost if is_silent[row.host] else reached)
            except Conflict:
                continue  # it went on in this moment
            except FetchmlError as error:
                _logger.warning("%s", str(error).replace("\n", "; "))
                continue
            marked += 1
            _logger.warning("host %s is %s: run %s", row.host, "silent" if is_silent[row.host] else "back", row.run_id)
        return marked

    def _lost(self, manifest: RunManifest) -> RunManifest:
        status = manifest.status
        if not isinstance(status, Running):
            return manifest
        return manifest.with_status(
            Unreachable(
                since=self._now(),
                started_at=status.started_at,
                attempt=status.attempt,
                host=status.host,
                container=status.container,
            )
        )
