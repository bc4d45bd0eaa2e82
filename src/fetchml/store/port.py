"""The run store: the ledger every other part believes.

A run exists once `create` has returned. Whoever creates the claim of an attempt owns it; every later write goes
through `update`, which holds the run's lock, so that no change is lost between two processes.
"""

from collections.abc import Callable
from typing import Protocol

from fetchml.models.claim import CancelRequest, Claim
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.store.folder import RunFolder

Change = Callable[[RunManifest], RunManifest]
"""A pure change of a manifest; it may be called again if the write has to be repeated."""


class RunStore(Protocol):
    """Where runs are kept."""

    def create(self, plan: Plan, manifest: RunManifest) -> None:
        """Accepts a run; durable when it returns.

        Raises:
            Conflict: A run of that id exists.
            Unavailable: The storage is full; nothing was accepted.
            Forbidden: The storage cannot be written.
        """
        ...

    def exists(self, run_id: str) -> bool:
        """Tells whether the run was accepted."""
        ...

    def run_ids(self) -> list[str]:
        """Returns the ids of all runs, oldest day first."""
        ...

    def read_plan(self, run_id: str) -> Plan:
        """Returns the plan.

        Raises:
            NotFound: There is no such run.
            Corrupt: The file is damaged.
        """
        ...

    def read_manifest(self, run_id: str) -> RunManifest:
        """Returns the manifest as it is now.

        Raises:
            NotFound: There is no such run.
            Corrupt: The file is damaged.
        """
        ...

    def update(self, run_id: str, change: Change) -> RunManifest:
        """Applies a change to the manifest under the run's lock and returns the result; durable when it returns.

        Whatever the change raises is raised here, and nothing is written.
        """
        ...

    def claim(self, claim: Claim) -> bool:
        """Takes ownership of an attempt, exclusively.

        Returns:
            True if this call created the claim, False if it was taken; of several callers exactly one gets True.
        """
        ...

    def read_claim(self, run_id: str, attempt: int) -> Claim | None:
        """Returns the claim of an attempt, or None if nobody owns it."""
        ...

    def request_cancel(self, run_id: str, request: CancelRequest) -> bool:
        """Asks the owner of a run to stop it; the first request counts.

        Returns:
            True if this was the first request.

        Raises:
            Conflict: The run has ended.
        """
        ...

    def read_cancel(self, run_id: str) -> CancelRequest | None:
        """Returns the request to stop the run, or None."""
        ...

    def folder(self, run_id: str) -> RunFolder:
        """Returns the folder of a run on this host, for its logs and results."""
        ...
