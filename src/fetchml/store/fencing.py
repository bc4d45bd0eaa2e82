"""What may follow a manifest, and who may say so: what the store's owner asks of writes that come from elsewhere."""

import hashlib
import hmac

from fetchml.canonical import canonical_sha256
from fetchml.errors import Conflict, Refused
from fetchml.models.claim import Claim
from fetchml.models.manifest import EDITABLE_SECTIONS, RunManifest
from fetchml.models.status import Running, Status, Unreachable, transition
from fetchml.store.port import RunStore

_FIXED = ("identity", "command", "metadata")
"""Sections that are what they were when the run was accepted."""


def etag_of(content: bytes) -> str:
    """Returns the tag of a file as it is stored."""
    return f'"{hashlib.sha256(content).hexdigest()}"'


def core_tag(manifest: RunManifest) -> str:
    """Returns a tag of what only the owner of an attempt writes.

    Sections that people edit do not count, and neither does that the owner was not heard of for a while.
    """
    core = reached(manifest).model_dump(mode="json", exclude=set(EDITABLE_SECTIONS))
    return f'"core-{canonical_sha256(core)}"'


def reached(manifest: RunManifest) -> RunManifest:
    """Returns a manifest as it is when its host is heard of."""
    status = manifest.status
    if not isinstance(status, Unreachable):
        return manifest
    running = Running(
        started_at=status.started_at, attempt=status.attempt, host=status.host, container=status.container
    )
    return manifest.with_sections(status=running)


def with_edits_of(manifest: RunManifest, current: RunManifest) -> RunManifest:
    """Returns what an owner wrote, with what people have edited meanwhile."""
    edits = {name: getattr(current, name) for name in EDITABLE_SECTIONS if name in RunManifest.model_fields}
    return manifest.model_copy(update=edits)


def latest_claim(store: RunStore, run_id: str) -> Claim | None:
    """Returns the claim of the latest attempt that has one."""
    found: Claim | None = None
    number = 1
    while (claim := store.read_claim(run_id, number)) is not None:
        found, number = claim, number + 1
    return found


def check_token(claim: Claim | None, token: str | None) -> None:
    """Refuses a write that does not come from the owner of the latest attempt.

    Raises:
        Conflict: The attempt is owned, and the token is another, an older one, or missing.
    """
    if claim is None:
        return
    if token is None or not hmac.compare_digest(claim.token.encode(), token.encode("utf-8", "replace")):
        raise Conflict(
            f"attempt {claim.attempt} of run `{claim.run_id}` belongs to `{claim.worker}` on `{claim.host}`",
            detail="the write carries no token, or one that does not count any more",
            code="stale-token",
        )


def check_step(before: RunManifest, after: RunManifest) -> None:
    """Refuses what cannot follow.

    Raises:
        Conflict: The record is sealed, or its life cycle has no such step.
        Refused: A section would change that never does, or the seal is not that of the record.
        Corrupt: The seal does not fit.
    """
    changed = [name for name in RunManifest.model_fields if getattr(before, name) != getattr(after, name)]
    if before.seal is not None:
        if not set(changed) <= EDITABLE_SECTIONS:
            raise Conflict(f"run `{before.identity.run_id}` is sealed", detail="sealed sections never change")
        return
    if any(name in changed for name in _FIXED) or before.plan.plan_sha256 != after.plan.plan_sha256:
        raise Refused("what was queued does not change", code="fixed-section")
    if before.times.queued_at != after.times.queued_at:
        raise Refused("when a run was queued does not change", code="fixed-section")
    old: Status = reached(before).status
    if after.status not in (old, before.status):
        transition(old, after.status)
    if after.seal is not None:
        after.check_seal()
