"""The run store in memory: a faithful twin of the directory, for tests and trying things."""

import shutil
import tempfile
import threading
import weakref
from pathlib import Path

from fetchml.errors import Conflict, NotFound
from fetchml.models.claim import CancelRequest, Claim
from fetchml.models.ids import is_run_id
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.store.folder import RunFolder
from fetchml.store.port import Change


class MemoryRunStore:
    """Runs as values; logs and results go to a temporary folder that ends with the store."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._plans: dict[str, Plan] = {}
        self._manifests: dict[str, RunManifest] = {}
        self._claims: dict[tuple[str, int], Claim] = {}
        self._cancels: dict[str, CancelRequest] = {}
        self._files = Path(tempfile.mkdtemp(prefix="fetchml-memory-store-"))
        weakref.finalize(self, shutil.rmtree, self._files, ignore_errors=True)

    def create(self, plan: Plan, manifest: RunManifest) -> None:
        run_id = manifest.identity.run_id
        with self._lock:
            if run_id in self._manifests:
                raise Conflict(f"run `{run_id}` exists already", code="run-exists")
            self._plans[run_id] = plan
            self._manifests[run_id] = manifest
            self.folder(run_id).path.mkdir()

    def exists(self, run_id: str) -> bool:
        return run_id in self._manifests

    def run_ids(self) -> list[str]:
        with self._lock:
            return sorted(self._manifests)

    def read_plan(self, run_id: str) -> Plan:
        self._check(run_id)
        return self._plans[run_id]

    def read_manifest(self, run_id: str) -> RunManifest:
        self._check(run_id)
        return self._manifests[run_id]

    def update(self, run_id: str, change: Change) -> RunManifest:
        with self._lock:
            after = change(self.read_manifest(run_id))
            self._manifests[run_id] = after
            return after

    def claim(self, claim: Claim) -> bool:
        with self._lock:
            self._check(claim.run_id)
            self.folder(claim.run_id).attempt(claim.attempt).path.mkdir(parents=True, exist_ok=True)
            is_new = (claim.run_id, claim.attempt) not in self._claims
            self._claims.setdefault((claim.run_id, claim.attempt), claim)
            return is_new

    def read_claim(self, run_id: str, attempt: int) -> Claim | None:
        self.folder(run_id)
        return self._claims.get((run_id, attempt))

    def request_cancel(self, run_id: str, request: CancelRequest) -> bool:
        with self._lock:
            if self.read_manifest(run_id).seal is not None:
                raise Conflict(f"run `{run_id}` has ended", code="already-ended")
            is_new = run_id not in self._cancels
            self._cancels.setdefault(run_id, request)
            return is_new

    def read_cancel(self, run_id: str) -> CancelRequest | None:
        self.folder(run_id)
        return self._cancels.get(run_id)

    def folder(self, run_id: str) -> RunFolder:
        if not is_run_id(run_id):
            raise NotFound(f"`{run_id[:60]}` is not a run id", hint="`fetchml status` lists runs")
        return RunFolder(self._files / run_id)

    def _check(self, run_id: str) -> None:
        self.folder(run_id)
        if run_id not in self._manifests:
            raise NotFound(f"there is no run `{run_id}`", hint="`fetchml status` lists runs", code="no-such-run")
