"""The run store of a host that is not the control host: the runs it has taken are here, all others are there.

What this host has claimed is its own until it is sealed: it is kept in a directory store of this host, so that nothing
about it waits for the network. Each state is noted in a journal, and `shipping` sends it on. What is not claimed here
is read through the gateway.

Claiming is the one step that takes two: a claim is written down before it is asked for, so that a crash or a lost
answer leaves something to ask again with, and the run is never claimed by nobody.
"""

import os
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from fetchml import durable
from fetchml.errors import FetchmlError, NotFound
from fetchml.models.claim import CancelRequest, Claim, ClaimKind
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.store.directory import DirectoryRunStore, parse_model, read_model
from fetchml.store.fencing import core_tag
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex
from fetchml.store.journal import Entry, Journal
from fetchml.store.port import Change
from fetchml.store.remote import RemoteRunStore


class OutpostRunStore:
    """The runs of a lab as one of its hosts sees them.

    Args:
        near: The runs that this host has taken.
        far: All runs, through the gateway.
        spool: Folder of the journals.
    """

    def __init__(self, near: DirectoryRunStore, far: RemoteRunStore, spool: Path) -> None:
        self.near = near
        self.far = far
        self.spool = spool
        self._pending = spool / "claims"
        self._asking = threading.Lock()

    @property
    def root(self) -> Path:
        """Folder of the runs that this host has taken."""
        return self.near.root

    def create(self, plan: Plan, manifest: RunManifest) -> None:
        self.far.create(plan, manifest)

    def exists(self, run_id: str) -> bool:
        return self.near.exists(run_id) or self.far.exists(run_id)

    def run_ids(self) -> list[str]:
        return self.far.run_ids()

    def read_plan(self, run_id: str) -> Plan:
        return self.near.read_plan(run_id) if self.near.exists(run_id) else self.far.read_plan(run_id)

    def read_manifest(self, run_id: str) -> RunManifest:
        with suppress(NotFound):  # it may be sent and removed at this moment
            if self.near.exists(run_id):
                return self.near.read_manifest(run_id)
        return self.far.read_manifest(run_id)

    def update(self, run_id: str, change: Change) -> RunManifest:
        if not self.near.exists(run_id):
            return self.far.update(run_id, change)
        journal = self.journal(run_id)
        with journal.locked():
            self._note(journal, self.near.read_manifest(run_id))
            after = self.near.update(run_id, change)
            self._note(journal, after)
            return after

    def claim(self, claim: Claim) -> bool:
        """Takes an attempt; what was asked for earlier and never answered is settled by `settle`.

        Raises:
            Unavailable: The gateway does not answer; whether the attempt is ours is found out later.
        """
        file = self._pending / f"{claim.run_id}-{claim.attempt}.json"
        durable.make_folder(self._pending, mode=0o700)
        with self._asking:
            if not durable.create_exclusive(file, claim.model_dump_json().encode(), mode=0o600):
                return False  # asked for before, with devices of its own: `settle` says what became of it
            return self._ask(file, claim)

    def settle(self) -> list[Claim]:
        """Asks again for what was never answered; returns what turned out to be ours."""
        found: list[Claim] = []
        with self._asking:
            for file in sorted(self._pending.glob("*.json")) if self._pending.is_dir() else ():
                claim = read_model(file, Claim, lambda name=file.name: f"the claim `{name}`")
                if claim is not None and self._ask(file, claim):
                    found.append(claim)
        return found

    def read_claim(self, run_id: str, attempt: int) -> Claim | None:
        near = self.near.read_claim(run_id, attempt)
        return near if near is not None else self.far.read_claim(run_id, attempt)

    def request_cancel(self, run_id: str, request: CancelRequest) -> bool:
        if self.near.exists(run_id):
            return self.near.request_cancel(run_id, request)  # it is sent on with the other files
        return self.far.request_cancel(run_id, request)

    def read_cancel(self, run_id: str) -> CancelRequest | None:
        return self.near.read_cancel(run_id) if self.near.exists(run_id) else self.far.read_cancel(run_id)

    def folder(self, run_id: str) -> RunFolder:
        return self.near.folder(run_id)

    def own(self) -> list[Claim]:
        """Returns the claims of this host whose runs have not ended, without asking anybody."""
        found: list[Claim] = []
        for row in RunIndex(self.near.root).unfinished():
            with suppress(FetchmlError):
                claim = self.latest_claim(row.run_id)
                if claim is None or claim.kind is not ClaimKind.RUN:
                    continue
                if not self.near.read_manifest(row.run_id).is_over(claim.attempt):
                    found.append(claim)
        return found

    def latest_claim(self, run_id: str) -> Claim | None:
        """Returns the claim of this host for the latest attempt it has."""
        folder = self.near.folder(run_id)
        numbers = sorted(int(path.name) for path in folder.attempts.glob("[0-9]*") if path.name.isdigit())
        claims = [self.near.read_claim(run_id, number) for number in reversed(numbers)]
        return next((claim for claim in claims if claim is not None), None)

    def journal(self, run_id: str) -> Journal:
        """Returns the journal of a run."""
        return Journal(self.spool / f"{self.near.folder(run_id).run_id}.jsonl")

    def journals(self) -> list[str]:
        """Returns the ids of the runs that have one: those the control host may not know everything of."""
        return sorted(path.stem for path in self.spool.glob("*.jsonl"))

    def note_all(self, run_id: str) -> None:
        """Notes the state of a run if a crash came between the manifest and the journal."""
        journal = self.journal(run_id)
        with journal.locked():
            self._note(journal, self.near.read_manifest(run_id))

    def remove(self, run_id: str) -> None:
        """Removes a run that the control host has whole."""
        folder = self.near.folder(run_id).path
        if folder.exists():
            gone = self.near.runs / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}-{run_id}"
            with durable.translated("remove", folder):
                folder.rename(gone)
            _open_folders(gone)
            shutil.rmtree(gone, ignore_errors=True)
        self.journal(run_id).remove()

    def _ask(self, file: Path, claim: Claim) -> bool:
        if not self.near.exists(claim.run_id) or self.near.read_claim(claim.run_id, claim.attempt) is None:
            try:
                taken = self.far.claimed(claim)
            except NotFound:
                taken = None
            if taken is None:
                file.unlink(missing_ok=True)
                return False
            self._settle_in(claim, *taken)
        file.unlink(missing_ok=True)
        return True

    def _settle_in(self, claim: Claim, plan: str, manifest: str) -> None:
        """Makes the folder of a run that is ours now: whole or not at all."""
        run_id = claim.run_id
        target = self.near.folder(run_id)
        current = parse_model(manifest.encode(), target.manifest, RunManifest, lambda: f"run `{run_id}`")
        durable.make_folder(self.near.runs)
        if target.path.exists():  # an earlier attempt was here
            durable.make_folder(target.attempt(claim.attempt).path)
            durable.write_atomic(target.manifest, manifest.encode())
        else:
            temporary = RunFolder(self.near.runs / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}-{run_id}")
            durable.make_folder(temporary.attempt(claim.attempt).path)
            durable.write_atomic(temporary.plan, plan.encode(), mode=0o444)
            durable.write_atomic(temporary.manifest, manifest.encode())
            durable.publish_folder(temporary.path, target.path)
        self._bring_earlier(claim)
        self.journal(run_id).begin(core_tag(current))
        self.near.claim(claim)

    def _bring_earlier(self, claim: Claim) -> None:
        """Brings what earlier attempts left on other hosts: the seal covers it, and it is made here."""
        target = self.near.folder(claim.run_id)
        for number in range(1, claim.attempt):
            if not durable.exists(target.attempt(number).path):
                self.far.fetch_attempt(claim.run_id, number, target.path)

    def _note(self, journal: Journal, manifest: RunManifest) -> None:
        tag = core_tag(manifest)
        entries = journal.entries()
        if not entries or entries[-1].tag != tag:
            journal.append(Entry(tag, manifest.model_dump_json()))


def _open_folders(root: Path) -> None:
    """Makes folders writable that the seal has closed, so that they can be removed."""
    for above, _, _ in os.walk(root):
        with suppress(OSError):
            os.chmod(above, 0o755)
