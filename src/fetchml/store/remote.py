"""The run store of a lab, from another host: through the gateway of the control host.

Nothing is decided here. A change is made to the manifest that was read and counts only if that is still the one; else
it is made again to the newer one. What may have been done though its answer was lost is asked for again, and the
gateway says whether it was this call that did it.
"""

import secrets
import shutil
import threading
from pathlib import Path
from typing import TypeVar

from fetchml.errors import Conflict, NotFound
from fetchml.link.client import Link, Reply
from fetchml.link.wire import TOKEN_HEADER, WRITE_HEADER
from fetchml.models.base import Model
from fetchml.models.claim import CancelRequest, Claim
from fetchml.models.ids import is_run_id
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.store.directory import parse_model
from fetchml.store.folder import RunFolder
from fetchml.store.port import Change

M = TypeVar("M", bound=Model)

_ROUNDS = 1000


class RemoteRunStore:
    """The runs of a gateway.

    Args:
        link: The gateway.
        cache: Folder on this host for files of runs that were fetched.
    """

    def __init__(self, link: Link, cache: Path) -> None:
        self.link = link
        self._cache = cache
        self._own: dict[tuple[str, int], Claim] = {}
        self._lock = threading.Lock()

    def create(self, plan: Plan, manifest: RunManifest) -> None:
        body = {"plan": _text(plan), "manifest": _text(manifest)}
        reply = self.link.post("/v1/runs", body)
        if reply.was_done and not reply.is_repeat:
            raise Conflict(f"run `{manifest.identity.run_id}` exists already", code="run-exists")

    def exists(self, run_id: str) -> bool:
        if not is_run_id(run_id):
            return False
        try:
            self.link.get(f"/v1/runs/{run_id}/manifest")
        except NotFound:
            return False
        return True

    def run_ids(self) -> list[str]:
        return list(self.link.get("/v1/runs").json()["run_ids"])

    def read_plan(self, run_id: str) -> Plan:
        folder = self.folder(run_id)
        return self._parsed(self.link.get(f"/v1/runs/{run_id}/plan"), folder.plan, Plan, run_id)

    def read_manifest(self, run_id: str) -> RunManifest:
        return self._manifest(run_id)[0]

    def update(self, run_id: str, change: Change) -> RunManifest:
        for _ in range(_ROUNDS):
            before, tag = self._manifest(run_id)
            after = change(before)
            if after == before:
                return after
            headers = {"If-Match": tag, WRITE_HEADER: secrets.token_hex(16), **self._token(run_id)}
            try:
                self.link.call("PUT", f"/v1/runs/{run_id}/manifest", _text(after).encode(), headers=headers)
            except Conflict as error:
                if error.code != "changed-meanwhile":
                    raise
                continue
            return after
        raise Conflict(f"run `{run_id}` changes all the time", code="changed-meanwhile")

    def claim(self, claim: Claim) -> bool:
        reply = self._claim(claim)
        # Done before, and this call was sent once: it was done by an earlier call.
        is_new = reply is not None and (not reply.was_done or reply.is_repeat)
        if is_new:
            self.hold(claim)
        return is_new

    def claimed(self, claim: Claim) -> tuple[str, str] | None:
        """Takes an attempt, whether or not an earlier call has taken it with the same claim.

        Returns:
            Plan and manifest as they are stored, or None if another has it.
        """
        reply = self._claim(claim)
        if reply is None:
            return None
        self.hold(claim)
        content = reply.json()
        return str(content["plan"]), str(content["manifest"])

    def hold(self, claim: Claim) -> None:
        """Uses the token of a claim from now on."""
        with self._lock:
            self._own[claim.run_id, claim.attempt] = claim

    def read_claim(self, run_id: str, attempt: int) -> Claim | None:
        folder = self.folder(run_id)
        with self._lock:
            own = self._own.get((run_id, attempt))
        if own is not None:
            return own
        try:
            reply = self.link.get(f"/v1/runs/{run_id}/attempts/{attempt}/claim")
        except NotFound:
            return None
        return self._parsed(reply, folder.attempt(attempt).claim, Claim, run_id)

    def request_cancel(self, run_id: str, request: CancelRequest) -> bool:
        self.folder(run_id)
        reply = self.link.call("POST", f"/v1/runs/{run_id}/cancel", _text(request).encode())
        return bool(reply.json()["is_first"]) or (reply.was_done and reply.is_repeat)

    def read_cancel(self, run_id: str) -> CancelRequest | None:
        folder = self.folder(run_id)
        try:
            reply = self.link.get(f"/v1/runs/{run_id}/cancel")
        except NotFound:
            return None
        return self._parsed(reply, folder.cancel, CancelRequest, run_id)

    def folder(self, run_id: str) -> RunFolder:
        """Returns the folder where fetched files of a run are; see `fetch_file`."""
        if not is_run_id(run_id):
            raise NotFound(f"`{run_id[:60]}` is not a run id", hint="`fetchml status` lists runs")
        return RunFolder(self._cache / run_id)

    def read_part(self, run_id: str, path: str, offset: int) -> Reply:
        """Returns a part of a file of a run, and the size of the whole.

        Raises:
            NotFound: There is no such file.
        """
        self.folder(run_id)
        query = {"path": path, "offset": offset}
        return self.link.call("GET", f"/v1/runs/{run_id}/file", query=query, headers=self._token(run_id))

    def fetch_file(self, run_id: str, path: str) -> Path | None:
        """Brings a file of a run to this host; returns where it is, or None if there is none."""
        target = self.folder(run_id).path / path
        return target if self._fetch(run_id, path, target) else None

    def _fetch(self, run_id: str, path: str, target: Path) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            with partial.open("wb") as sink:
                offset, size = 0, None
                while size is None or offset < size:
                    reply = self.read_part(run_id, path, offset)
                    size = reply.size_bytes or 0
                    sink.write(reply.content)
                    offset += len(reply.content)
                    if not reply.content:
                        break
        except NotFound:
            partial.unlink()
            return False
        partial.replace(target)
        return True

    def fetch_attempt(self, run_id: str, attempt: int, folder: Path) -> None:
        """Brings the files of an attempt into a run folder; its folder is there when it is whole."""
        inside = f"attempts/{attempt}"
        listed = self.link.get(f"/v1/runs/{run_id}/files").json()["files"]
        paths = [str(item["path"]) for item in listed if str(item["path"]).startswith(f"{inside}/")]
        temporary = folder / "attempts" / f".tmp-{attempt}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for path in (*paths, f"{inside}/claim.json"):
            self._fetch(run_id, path, temporary / path.removeprefix(f"{inside}/"))
        (temporary / "claim.json").chmod(0o600)
        temporary.rename(folder / inside)

    def forget_files(self, run_id: str) -> None:
        """Removes what was fetched of a run."""
        shutil.rmtree(self.folder(run_id).path, ignore_errors=True)

    def _claim(self, claim: Claim) -> Reply | None:
        self.folder(claim.run_id)
        try:
            return self.link.call(
                "POST", f"/v1/runs/{claim.run_id}/attempts/{claim.attempt}/claim", _text(claim).encode()
            )
        except Conflict as error:
            if error.code == "claimed":
                return None
            raise

    def _manifest(self, run_id: str) -> tuple[RunManifest, str]:
        folder = self.folder(run_id)
        reply = self.link.get(f"/v1/runs/{run_id}/manifest")
        return self._parsed(reply, folder.manifest, RunManifest, run_id), reply.etag or ""

    def _token(self, run_id: str) -> dict[str, str]:
        with self._lock:
            own = [claim for (of, _), claim in self._own.items() if of == run_id]
        return {TOKEN_HEADER: max(own, key=lambda claim: claim.attempt).token} if own else {}

    def _parsed(self, reply: Reply, path: Path, model: type[M], run_id: str) -> M:
        return parse_model(reply.content, path, model, lambda: f"run `{run_id}`")


def _text(value: Model) -> str:
    return value.model_dump_json(indent=2) + "\n"
