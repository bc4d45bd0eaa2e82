"""Queues runs once more: the same plan, a new run."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import fetchml
from fetchml.config.settings import Settings
from fetchml.errors import Conflict, NotFound, Refused
from fetchml.home import Home
from fetchml.models.host import host_name, user_name
from fetchml.models.ids import new_run_id
from fetchml.models.manifest import Environment, Metadata, RunManifest, Times
from fetchml.models.plan import Plan
from fetchml.models.queueing import Queueing
from fetchml.models.status import Queued
from fetchml.service.dead import dead_runs
from fetchml.service.queue import check_space
from fetchml.service.select import select
from fetchml.store.index import RunIndex
from fetchml.store.turns import adding


def requeue(
    settings: Settings,
    targets: Sequence[str],
    *,
    dead: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[tuple[RunManifest, Plan]]:
    """Accepts a new run for each of some runs that have ended, with the plan of the old one.

    Args:
        settings: The settings of this call.
        targets: Runs as `select` understands them.
        dead: All runs of mine that are out of retries, too.
        now: The clock.

    Returns:
        The new manifests with their plans, in the order asked for; they still have to be dispatched.

    Raises:
        NotFound: One of them does not exist, or its code is not in the store any more; nothing is queued.
        Conflict: One of them has not ended; nothing is queued.
        Unavailable: The disk is full; what was queued before stays queued.
    """
    home = Home(settings)
    rows = RunIndex(settings.store).rows()
    chosen = [select(rows, target) for target in targets]
    if dead:
        chosen += [row for row in dead_runs(rows) if row.user == user_name()]
    found: list[tuple[RunManifest, Plan]] = []
    for row in dict.fromkeys(chosen):
        manifest, plan = home.store.read_manifest(row.run_id), home.store.read_plan(row.run_id)
        if manifest.seal is None:
            raise Conflict(
                f"run `{row.run_id}` has not ended: it is `{row.state}`",
                hint="`fetchml queue` queues another run of the same script",
                code="not-ended",
            )
        if plan.sha256 != manifest.plan.plan_sha256:
            raise Refused(
                f"the plan of run `{row.run_id}` is not the one its record names",
                hint=f"`fetchml validate {row.run_id}` says what was changed",
                code="plan-changed",
            )
        found.append((manifest, plan))
    check_space(home)
    with adding(settings.store):
        for _, plan in found:
            if not home.objects.has(plan.snapshot_id):
                raise NotFound(
                    f"the code of the run, snapshot `{plan.snapshot_id[:12]}`, is not in the store any more",
                    hint="queue it from the project again",
                    code="no-such-object",
                )
        return [(_accept(home, manifest, plan, now), plan) for manifest, plan in found]


def _accept(home: Home, old: RunManifest, plan: Plan, now: Callable[[], datetime]) -> RunManifest:
    while True:
        moment = now()
        manifest = _again(old, new_run_id(moment), moment)
        try:
            home.store.create(plan, manifest)
        except Conflict:
            continue  # one in a billion: the id is taken
        return manifest


def _again(old: RunManifest, run_id: str, moment: datetime) -> RunManifest:
    identity = old.identity.model_copy(
        update={"run_id": run_id, "user": user_name(), "host": host_name(), "parent_run": old.identity.run_id}
    )
    kept = ("mode", "dependencies_name", "dependencies_sha256", "image", "image_digest", "git", "settings")
    environment = Environment(**{name: getattr(old.environment, name) for name in kept}, fetchml=fetchml.__version__)
    queueing = old.queueing or Queueing()
    return RunManifest(
        identity=identity,
        command=old.command,
        status=Queued(since=moment),
        times=Times(queued_at=moment),
        plan=old.plan,
        environment=environment,
        queueing=queueing.model_copy(update={"moved_up_at": None, "moved_up_by": None}),
        resources=old.resources.model_copy(update={"actual": None}),
        metadata=Metadata(note=old.metadata.note, engine_reason=old.metadata.engine_reason, sign=old.metadata.sign),
        narrative=old.narrative,
    )
