"""A store full of sealed runs, made with the product's own parts: real folders, valid manifests."""

import os
from datetime import timedelta
from pathlib import Path

from bench.waiting import Failed
from bench.workspace import PAYLOADS, copy_payload
from fetchml.config.settings import Settings
from fetchml.diagnosis import EndFacts
from fetchml.execution.ended import Ended
from fetchml.execution.sealing import seal_run
from fetchml.home import Home
from fetchml.models.host import host_name
from fetchml.models.ids import container_name, new_run_id
from fetchml.models.manifest import Identity, Placement, RunManifest, Sandbox
from fetchml.models.plan import Network, Plan
from fetchml.models.status import Preparing, Running
from fetchml.service.validate import validate
from fetchml.snapshot.capture import Limits, capture
from fetchml.testing.builders import MOMENT, make_claim, make_manifest, make_plan

ATTEMPT = 1


def fill(home_path: Path, count: int) -> None:
    """Makes a home folder with that many sealed runs.

    Raises:
        Failed: What was made does not pass `fetchml validate`.
    """
    home = Home(Settings(home=home_path))
    home.create()
    project = copy_payload("stamp.py", home_path.with_name("archive-project")).parent
    settings = home.settings
    snapshot = capture(project, home.objects, Limits(settings.snapshot_max_bytes, settings.snapshot_max_files))
    plan = make_plan(snapshot_id=snapshot.commit_id)
    run_ids = [_add(home, plan, number) for number in range(count)]
    for run_id in {run_ids[0], run_ids[-1]}:
        report = validate(settings, run_id)
        if not report.ok:
            wrong = ", ".join(check.name for check in report.checks if not check.ok)
            raise Failed(f"the bench made a run that is not valid: {wrong}")


def _add(home: Home, plan: Plan, number: int) -> str:
    queued_at = MOMENT + timedelta(minutes=number)
    started_at, ended_at = queued_at + timedelta(seconds=2), queued_at + timedelta(seconds=50)
    run_id = new_run_id(queued_at)
    identity = Identity(
        run_id=run_id, name=f"train-{number % 7}", user="ada", host=host_name(), commit_id=plan.snapshot_id
    )
    queued = make_manifest(plan, run_id)
    queued = queued.with_sections(
        identity=identity,
        status=queued.status.model_copy(update={"since": queued_at}),
        times=queued.times.model_copy(update={"queued_at": queued_at}),
    )
    home.store.create(plan, queued)
    home.store.claim(make_claim(run_id, ATTEMPT, claimed_at=started_at))
    folder = home.store.folder(run_id)
    folder.code.symlink_to(os.path.relpath(home.snapshots.root / plan.snapshot_id, folder.path))
    folder.results.mkdir()
    (folder.results / "note.txt").write_bytes((PAYLOADS / "stamp.py").read_bytes())
    folder.attempt(ATTEMPT).output.write_bytes(b"epoch 1\nFETCHML_METRIC loss 0.5\n")

    def run(manifest: RunManifest) -> RunManifest:
        name = container_name(run_id, ATTEMPT)
        placement = Placement(host=host_name(), worker="bench", waited_s=2)
        sandbox = Sandbox(engine=plan.engine, container=name, network=Network.BRIDGE, read_only_code=True)
        preparing = Preparing(since=started_at, attempt=ATTEMPT, host=host_name())
        running = Running(started_at=started_at, attempt=ATTEMPT, host=host_name(), container=name)
        return manifest.with_status(preparing, placement=placement).with_status(running, sandbox=sandbox)

    home.store.update(run_id, run)
    facts = EndFacts(exit_code=0 if number % 10 else 1, memory_limit_bytes=plan.resources.memory_bytes)
    ended = Ended(facts=facts, started_at=started_at, ended_at=ended_at, cpu_s=40)
    seal_run(home.store, folder, ATTEMPT, ended, lambda: ended_at)
    return run_id
