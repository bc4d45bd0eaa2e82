"""The run store as a directory on a local disk."""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from fetchml import durable
from fetchml.errors import Conflict, Corrupt, NotFound
from fetchml.models.base import Model
from fetchml.models.claim import CancelRequest, Claim
from fetchml.models.ids import is_run_id
from fetchml.models.manifest import EDITABLE_SECTIONS, RunManifest
from fetchml.models.plan import Plan
from fetchml.store.folder import RunFolder
from fetchml.store.port import Change

M = TypeVar("M", bound=Model)


class DirectoryRunStore:
    """Runs as folders below `<root>/runs`.

    Args:
        root: Folder of the store, on a local file system; created when the first run is accepted.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"

    def create(self, plan: Plan, manifest: RunManifest) -> None:
        run_id = manifest.identity.run_id
        durable.make_folder(self.runs)
        temporary = self.runs / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}-{run_id}"
        with durable.translated("create", temporary):
            temporary.mkdir()
        try:
            folder = RunFolder(temporary)
            durable.write_atomic(folder.plan, _plan_bytes(plan), mode=0o444)
            durable.write_atomic(folder.manifest, _bytes(manifest))
            if not durable.publish_folder(temporary, self.folder(run_id).path):
                raise Conflict(f"run `{run_id}` exists already", code="run-exists")
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def exists(self, run_id: str) -> bool:
        return is_run_id(run_id) and durable.exists(self.folder(run_id).manifest)

    def run_ids(self) -> list[str]:
        try:
            with durable.translated("list", self.runs):
                return sorted(name for name in os.listdir(self.runs) if is_run_id(name))
        except NotFound:
            return []

    def read_plan(self, run_id: str) -> Plan:
        return self._read(run_id, self.folder(run_id).plan, Plan)

    def read_manifest(self, run_id: str) -> RunManifest:
        return self._read(run_id, self.folder(run_id).manifest, RunManifest)

    def update(self, run_id: str, change: Change) -> RunManifest:
        folder = self._existing(run_id)
        with durable.locked(folder.path):
            before = self._read(run_id, folder.manifest, RunManifest)
            after = change(before)
            if after != before:
                mode = 0o644 if after.seal is None else 0o444
                content = _bytes(after) if before.seal is None else _edited(folder.manifest.read_bytes(), after)
                durable.write_atomic(folder.manifest, content, mode=mode)
            return after

    def claim(self, claim: Claim) -> bool:
        attempt = self._existing(claim.run_id).attempt(claim.attempt)
        durable.make_folder(attempt.path)
        # The token is a credential of the owner: nobody else needs to read it.
        return durable.create_exclusive(attempt.claim, _bytes(claim), mode=0o600)

    def read_claim(self, run_id: str, attempt: int) -> Claim | None:
        return self._read_optional(run_id, self.folder(run_id).attempt(attempt).claim, Claim)

    def request_cancel(self, run_id: str, request: CancelRequest) -> bool:
        folder = self._existing(run_id)
        with durable.locked(folder.path):
            if self.read_manifest(run_id).seal is not None:
                raise Conflict(f"run `{run_id}` has ended", code="already-ended")
            return durable.create_exclusive(folder.cancel, _bytes(request))

    def read_cancel(self, run_id: str) -> CancelRequest | None:
        return self._read_optional(run_id, self.folder(run_id).cancel, CancelRequest)

    def folder(self, run_id: str) -> RunFolder:
        if not is_run_id(run_id):
            raise NotFound(f"`{run_id[:60]}` is not a run id", hint="`fetchml status` lists runs")
        return RunFolder(self.runs / run_id)

    def _existing(self, run_id: str) -> RunFolder:
        folder = self.folder(run_id)
        if not durable.exists(folder.manifest):
            raise _no_such_run(run_id)
        return folder

    def _read(self, run_id: str, path: Path, model: type[M]) -> M:
        found = self._read_optional(run_id, path, model)
        if found is None:
            if durable.exists(path.parent):
                raise Corrupt(f"`{path.name}` of run `{run_id}` is missing", code="record-damaged")
            raise _no_such_run(run_id)
        return found

    def _read_optional(self, run_id: str, path: Path, model: type[M]) -> M | None:
        return read_model(path, model, lambda: f"run `{run_id}`")


def _edited(stored: bytes, manifest: RunManifest) -> bytes:
    """Returns a sealed manifest with its editable sections replaced, and every other as it was written."""
    document = json.loads(stored)
    document.update(manifest.model_dump(mode="json", include=set(EDITABLE_SECTIONS)))
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def read_model(path: Path, model: type[M], owner: Callable[[], str]) -> M | None:
    """Reads a saved model.

    Args:
        path: The file.
        model: Its shape.
        owner: Names what it belongs to, for the error.

    Returns:
        The value, or None if the file does not exist.

    Raises:
        Corrupt: The file is no valid record of that shape.
    """
    try:
        with durable.translated("read", path):
            content = path.read_bytes()
    except NotFound:
        return None
    return parse_model(content, path, model, owner)


def parse_model(content: bytes, path: Path, model: type[M], owner: Callable[[], str]) -> M:
    """Reads the bytes of a saved model; see `read_model`."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise Corrupt(
            f"`{path.name}` of {owner()} is damaged",
            detail=f"{where}: {first['msg']}",
            hint=f"look at `{path}`; `fetchml validate` names everything that is wrong with the run",
            code="record-damaged",
        ) from error


def _bytes(value: Model) -> bytes:
    return value.model_dump_json(indent=2).encode() + b"\n"


def _plan_bytes(plan: Plan) -> bytes:
    return _bytes(plan)


def _no_such_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run `{run_id}`", hint="`fetchml status` lists runs", code="no-such-run")
