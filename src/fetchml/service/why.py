"""Says why a run is where it is: what it waits for, when it may start, and what would start now."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.admission.decide import Refuse, Wait, decide
from fetchml.admission.outlook import Start, smaller_that_start, start_of
from fetchml.admission.reasons import Reason
from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon
from fetchml.execution.stall import read_stall
from fetchml.home import Home
from fetchml.models.manifest import RunManifest
from fetchml.models.status import Queued
from fetchml.queueing.look import Moment, PoolLimits, Queue
from fetchml.service.far import find
from fetchml.service.pool import pool_limits
from fetchml.service.select import select
from fetchml.store.index import RunIndex


@dataclass(frozen=True, slots=True)
class Why:
    """Why a run is where it is."""

    manifest: RunManifest
    position: int | None = None
    """Place among those that wait, from 1; None if it does not wait for its turn."""
    waiting: int = 0
    """How many wait."""
    reasons: tuple[Reason, ...] = ()
    """What keeps it from starting."""
    start: Start | None = None
    """When it may start; None if that cannot be told."""
    smaller: tuple[str, ...] = ()
    """What could be asked for instead, to start now."""
    due: datetime | None = None
    """When its next attempt may start, if that is what it waits for."""
    is_impossible: bool = False
    """No host of the lab can ever run it."""
    stall: str | None = None
    """Why it cannot go on although it has begun."""
    notes: tuple[str, ...] = ()
    """What else stands in the way."""


def why(settings: Settings, target: str) -> Why:
    """Returns why a run is where it is; for one that waits, by the very decision that its worker makes.

    Args:
        settings: The settings of this call.
        target: A run as `select` understands it.

    Raises:
        NotFound: There is no such run.
        Corrupt: Its record is damaged.
    """
    home = Home(settings)
    row = find(home, target) if home.link is not None else select(RunIndex(settings.store).rows(), target)
    manifest = home.store.read_manifest(row.run_id)
    if not isinstance(manifest.status, Queued):
        stall = None if manifest.seal is not None else read_stall(home.store.folder(row.run_id))
        return Why(manifest, stall=stall)
    limits, notes = pool_limits(settings)
    if not Daemon(home.services, "worker").is_alive():
        notes = (*notes, "no worker runs on this host; `fetchml up` starts one")
    return _waiting(manifest, Queue(home, lambda: datetime.now(UTC)).look(limits or PoolLimits()), notes)


def _waiting(manifest: RunManifest, moment: Moment, notes: tuple[str, ...]) -> Why:
    run_id = manifest.identity.run_id
    due = moment.resting.get(run_id)
    if due is not None:
        return Why(manifest, due=due, notes=notes)
    arguments = (moment.pending, moment.lab, moment.policy, moment.now)
    decisions = decide(*arguments)
    found = next((item for item in decisions if item.run_id == run_id), None)
    waiting = sum(isinstance(item, Wait) for item in decisions)
    if isinstance(found, Refuse):
        return Why(manifest, reasons=found.reasons, is_impossible=True, waiting=waiting, notes=notes)
    if not isinstance(found, Wait):
        return Why(manifest, waiting=waiting, notes=notes)
    return Why(
        manifest,
        position=found.position,
        waiting=waiting,
        reasons=found.reasons,
        start=start_of(run_id, *arguments),
        smaller=smaller_that_start(run_id, *arguments),
        notes=notes,
    )
