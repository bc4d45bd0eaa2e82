"""Runs over HTTP: accepted, read, claimed, and changed by whoever may."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from fetchml import durable
from fetchml.errors import ConfigError, Conflict, Forbidden, NotFound, Refused
from fetchml.gateway.lab import Lab
from fetchml.gateway.received import check_arrived, settle_files
from fetchml.gateway.rules import Answer, Call, Permission, Rule, json_answer
from fetchml.keys.access import AccessKind
from fetchml.link.wire import HIDDEN_TOKEN, MAX_MANIFEST_BYTES, WRITE_HEADER
from fetchml.models.base import Model
from fetchml.models.claim import CancelRequest, Claim
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.models.status import State
from fetchml.store.fencing import check_step, check_token, core_tag, etag_of, latest_claim, with_edits_of

M = TypeVar("M", bound=Model)
Dispatch = Callable[[str, Plan], None]
_WRITES = 4096


def rules(lab: Lab, dispatch: Dispatch) -> list[Rule]:
    """Returns the routes of runs.

    Args:
        lab: What is served.
        dispatch: Called with each run that was accepted, once it is durable.
    """
    runs = _Runs(lab, dispatch)
    return [
        Rule("GET", "/v1/runs", Permission.READ, runs.ids),
        Rule("POST", "/v1/runs", Permission.QUEUE, runs.create, MAX_MANIFEST_BYTES),
        Rule("GET", "/v1/runs/{run_id}/plan", Permission.READ, runs.plan),
        Rule("GET", "/v1/runs/{run_id}/manifest", Permission.READ, runs.manifest),
        Rule("PUT", "/v1/runs/{run_id}/manifest", Permission.WORK, runs.change, MAX_MANIFEST_BYTES),
        Rule("GET", "/v1/runs/{run_id}/cancel", Permission.READ, runs.read_cancel),
        Rule("POST", "/v1/runs/{run_id}/cancel", Permission.QUEUE, runs.request_cancel),
        Rule("GET", "/v1/runs/{run_id}/attempts/{attempt:int}/claim", Permission.READ, runs.read_claim),
        Rule("POST", "/v1/runs/{run_id}/attempts/{attempt:int}/claim", Permission.WORK, runs.claim),
    ]


class _Runs:
    def __init__(self, lab: Lab, dispatch: Dispatch) -> None:
        self._lab = lab
        self._store = lab.store
        self._dispatch = dispatch
        self._writes: OrderedDict[str, Answer] = OrderedDict()
        """What the latest changes were answered; their answers may have been lost."""

    def ids(self, call: Call) -> Answer:
        return json_answer({"run_ids": self._store.run_ids()})

    def create(self, call: Call) -> Answer:
        plan, manifest = _plan_and_manifest(call.body)
        self._check_new(call, plan, manifest)
        run_id = manifest.identity.run_id
        try:
            self._store.create(plan, manifest)
        except Conflict:
            # Repeated after an answer that was lost; the run may have begun meanwhile.
            if self._store.read_plan(run_id) != plan or not _is_same_request(
                self._store.read_manifest(run_id), manifest
            ):
                raise
            return json_answer({"run_id": run_id}, was_done=True)
        self._dispatch(run_id, plan)
        return json_answer({"run_id": run_id}, status=201)

    def plan(self, call: Call) -> Answer:
        run_id = call.params["run_id"]
        return self._file(run_id, self._store.folder(run_id).plan, lambda: self._store.read_plan(run_id))

    def manifest(self, call: Call) -> Answer:
        run_id = call.params["run_id"]
        return self._file(run_id, self._store.folder(run_id).manifest, lambda: self._store.read_manifest(run_id))

    def change(self, call: Call) -> Answer:
        """Replaces a manifest if it is still what the caller has seen, and the caller may."""
        run_id, wanted = call.params["run_id"], call.headers.get("If-Match")
        if not wanted:
            raise ConfigError("`If-Match` has to say what is replaced", code="no-condition")
        write = call.headers.get(WRITE_HEADER, "")
        if (known := self._writes.get(f"{call.key.kind} {call.key.name} {run_id} {write}")) is not None:
            return known
        new = _parsed(call.body, RunManifest)
        file = self._store.folder(run_id).manifest
        if new.identity.run_id != run_id:
            raise ConfigError(f"the manifest is that of `{new.identity.run_id}`")
        if new.seal is not None and self._store.read_manifest(run_id).seal is None:
            check_arrived(self._store.folder(run_id), new)

        def change(current: RunManifest) -> RunManifest:
            is_owner = wanted.startswith('"core-')
            tag = core_tag(current) if is_owner else etag_of(file.read_bytes())
            if tag != wanted:
                raise Conflict("the manifest has changed meanwhile", code="changed-meanwhile")
            after = with_edits_of(new, current) if is_owner else new
            check_step(current, after)
            if current.seal is None:
                check_token(latest_claim(self._store, run_id), call.token)
            if after.seal is not None and current.seal is None:
                settle_files(self._store.folder(run_id), after, self._lab.home.path / "snapshots")
            return after

        after = self._store.update(run_id, change)
        answer = json_answer({"core": core_tag(after)})
        if write:
            self._writes[f"{call.key.kind} {call.key.name} {run_id} {write}"] = answer
            while len(self._writes) > _WRITES:
                self._writes.popitem(last=False)
        return answer

    def read_cancel(self, call: Call) -> Answer:
        run_id = call.params["run_id"]
        file = self._store.folder(run_id).cancel
        if not durable.exists(file):
            raise NotFound("nobody asked for the run to stop", code="not-asked")
        return Answer(file.read_bytes())

    def request_cancel(self, call: Call) -> Answer:
        run_id, request = call.params["run_id"], _parsed(call.body, CancelRequest)
        if call.key.kind is AccessKind.USER and request.by != call.key.name:
            raise Forbidden(f"the key is that of `{call.key.name}`, not of `{request.by}`", code="not-you")
        if self._store.request_cancel(run_id, request):
            return json_answer({"is_first": True}, status=201)
        return json_answer({"is_first": False}, was_done=self._store.read_cancel(run_id) == request)

    def read_claim(self, call: Call) -> Answer:
        claim = self._store.read_claim(call.params["run_id"], cast("Any", call.params["attempt"]))
        if claim is None:
            raise NotFound("nobody has claimed it", code="not-claimed")
        return Answer(_hidden(claim))

    def claim(self, call: Call) -> Answer:
        run_id, attempt = call.params["run_id"], cast("int", call.params["attempt"])
        claim = _parsed(call.body, Claim)
        if (claim.run_id, claim.attempt) != (run_id, attempt):
            raise ConfigError(f"the claim is for attempt {claim.attempt} of `{claim.run_id}`")
        if call.key.kind is AccessKind.HOST and claim.host != call.key.name:
            raise Forbidden(f"the key is that of host `{call.key.name}`, not of `{claim.host}`", code="not-your-host")
        folder = self._store.folder(run_id)
        is_new = self._store.claim(claim)
        if not is_new and self._store.read_claim(run_id, attempt) != claim:
            raise Conflict(f"attempt {attempt} of run `{run_id}` is taken", code="claimed")
        content = {"plan": folder.plan.read_text("utf-8"), "manifest": folder.manifest.read_text("utf-8")}
        return json_answer(content, status=201 if is_new else 200, was_done=not is_new)

    def _check_new(self, call: Call, plan: Plan, manifest: RunManifest) -> None:
        status = manifest.status
        if status.state is not State.QUEUED or manifest.seal is not None or manifest.placement is not None:
            raise Refused("only a run that waits can be queued", code="not-queued")
        if manifest.plan.plan_sha256 != plan.sha256:
            raise Refused("the plan is not the one that the manifest names", code="other-plan")
        if call.key.kind is not AccessKind.USER:
            return
        if manifest.identity.user != call.key.name:
            raise Forbidden(f"the key is that of `{call.key.name}`, not of `{manifest.identity.user}`", code="not-you")
        if not self._lab.home.objects.has(plan.snapshot_id):
            raise NotFound("the code of the run has not arrived", code="no-such-object")

    def _file(self, run_id: str, file: Path, read: Callable[[], object]) -> Answer:
        try:
            content = file.read_bytes()
        except OSError:
            read()  # says what is wrong
            raise
        return Answer(content, etag=etag_of(content))


def _is_same_request(stored: RunManifest, asked: RunManifest) -> bool:
    return (stored.identity, stored.command, stored.times.queued_at, stored.metadata) == (
        asked.identity,
        asked.command,
        asked.times.queued_at,
        asked.metadata,
    )


def _plan_and_manifest(body: bytes) -> tuple[Plan, RunManifest]:
    import json

    try:
        parts = cast("dict[str, Any]", json.loads(body))
        plan, manifest = str(parts["plan"]).encode(), str(parts["manifest"]).encode()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError("expected a plan and a manifest", code="bad-body") from error
    return _parsed(plan, Plan), _parsed(manifest, RunManifest)


def _parsed(content: bytes, model: type[M]) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise ConfigError(
            f"what was sent is no {model.__name__} as this gateway knows it",
            detail=f"{where}: {first['msg']}",
            hint="another version of fetchml may have sent it",
            code="bad-body",
        ) from error


def _hidden(claim: Claim) -> bytes:
    return claim.model_copy(update={"token": HIDDEN_TOKEN}).model_dump_json().encode()
