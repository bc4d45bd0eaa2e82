"""Claims an attempt: the one gate in front of every start and of every cancellation before a start."""

import secrets
from datetime import datetime

from fetchml.models.claim import Claim, ClaimKind
from fetchml.models.host import boot_id, host_name
from fetchml.models.plan import Plan
from fetchml.models.resources import DeviceShare


def run_claim(
    plan: Plan,
    run_id: str,
    attempt: int,
    *,
    worker: str,
    now: datetime,
    shares: tuple[DeviceShare, ...] = (),
    flow_run_id: str | None = None,
    waited_for: tuple[str, ...] = (),
) -> Claim:
    """Returns a claim to run an attempt on this host; it counts once the store has taken it."""
    return Claim(
        run_id=run_id,
        attempt=attempt,
        kind=ClaimKind.RUN,
        host=host_name(),
        worker=worker,
        boot_id=boot_id(),
        token=secrets.token_hex(32),
        claimed_at=now,
        cpus=plan.resources.cpus,
        memory_bytes=plan.resources.memory_bytes,
        disk_bytes=plan.resources.disk_bytes or 0,
        device_ids=tuple(share.device_id for share in shares),
        shares=shares,
        flow_run_id=flow_run_id,
        waited_for=waited_for,
    )


def cancel_claim(run_id: str, attempt: int, *, by: str, now: datetime) -> Claim:
    """Returns a claim to end an attempt that nobody has started."""
    return Claim(
        run_id=run_id,
        attempt=attempt,
        kind=ClaimKind.CANCEL,
        host=host_name(),
        worker=by,
        boot_id=boot_id(),
        token=secrets.token_hex(32),
        claimed_at=now,
        cpus=0,
        memory_bytes=0,
    )
