"""Placing runs from the store: what waits, what is held and what hosts have said, over several hosts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fetchml.config.settings import Settings
from fetchml.execution.claims import run_claim
from fetchml.home import Home
from fetchml.models.host import host_name
from fetchml.models.lab_host import PublishedHost
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.plan import Plan
from fetchml.models.queueing import Queueing
from fetchml.models.resources import Device, DeviceShare, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.status import Cancelled, EndReason, Preparing, Queued
from fetchml.models.units import GIB
from fetchml.queueing.look import PoolLimits, Queue
from fetchml.store.hosts import Clock, DirectoryHosts
from fetchml.testing.builders import make_manifest, make_plan
from fetchml.worker.placement import Placer

HERE = host_name()
IDS = tuple(f"2026-11-20_{letter * 6}" for letter in "abcdefgh")
NOW = datetime.now(UTC)


class Lab:
    """This host and another one, each with two GPUs."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        fields: dict[str, Any] = {"home": folder, **settings}
        self.home = Home(Settings(**fields))
        self.home.create()
        self.placer = Placer(self.home, "here")
        self.publish(HERE)
        self.publish("other")

    def publish(self, host: str, hosts: DirectoryHosts | None = None) -> None:
        devices = tuple(Device(id=f"{host}-{n}", vendor=GpuVendor.NVIDIA, memory_bytes=24 * GIB) for n in range(2))
        capacity = HostCapacity(host=host, cpus=8, memory_bytes=32 * GIB, devices=devices)
        published = PublishedHost(
            capacity=capacity,
            worker=host,
            pid=1,
            version="0.1.0",
            boot_id="boot",
            started_at=NOW,
            published_at=NOW,
        )
        (hosts or self.home.hosts).publish(published)

    def queue(self, number: int, queueing: Queueing | None = None, status: Queued | None = None, **asked: Any) -> str:
        request = ResourceRequest(**{"cpus": 1, "memory_bytes": GIB, **asked})
        plan: Plan = make_plan(resources=request)
        changes: dict[str, Any] = {"queueing": queueing or Queueing()}
        if status is not None:
            changes["status"] = status
        self.home.store.create(plan, make_manifest(plan, IDS[number], **changes))
        return IDS[number]

    def begin(self, run_id: str, host: str, *device_ids: str) -> None:
        store = self.home.store
        shares = tuple(DeviceShare(device_id=name, share=1, memory_bytes=24 * GIB) for name in device_ids)
        claim = run_claim(store.read_plan(run_id), run_id, 1, worker="w", now=NOW, shares=shares)
        assert store.claim(claim.model_copy(update={"host": host}))
        store.update(run_id, lambda found: found.with_status(Preparing(since=NOW, attempt=1, host=host)))

    def starts(self, limits: PoolLimits | None = None) -> list[str]:
        return [start.run_id for start in self.placer.place(limits or PoolLimits()).starts]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_worker_starts_what_is_decided_for_its_own_host_only(lab: Lab) -> None:
    mine, theirs = lab.queue(0, Queueing(host=HERE), gpus=2.0), lab.queue(1, Queueing(host="other"), gpus=2.0)
    assert lab.starts() == [mine]
    assert theirs not in lab.placer.waiting


def test_what_another_host_holds_is_known_from_its_claims(lab: Lab) -> None:
    lab.begin(lab.queue(0, gpus=2.0), "other", "other-0", "other-1")
    waits = lab.queue(1, Queueing(host="other"), gpus=1.0)
    assert lab.starts() == []
    assert lab.placer.waiting[waits].position == 1
    assert "needs 1 gpu" in lab.placer.waiting[waits].reasons[0]


def test_what_was_just_claimed_is_held_though_its_record_still_says_queued(lab: Lab) -> None:
    lab.queue(0, Queueing(host=HERE), gpus=2.0)
    (start,) = lab.placer.place(PoolLimits()).starts
    claim = lab.placer.claim(start, "flow-run")
    assert claim is not None
    assert [share.device_id for share in claim.held] == [f"{HERE}-0", f"{HERE}-1"]
    assert lab.starts() == []
    assert lab.placer.claim(start, "flow-run") is None


def test_limits_and_pauses_of_prefect_keep_runs_waiting(lab: Lab) -> None:
    first = lab.queue(0, Queueing(host=HERE))
    lab.queue(1, Queueing(host=HERE))
    assert lab.starts(PoolLimits(runs=1)) == [first]
    assert lab.starts(PoolLimits(runs=0)) == []
    assert lab.starts(PoolLimits(by_priority={5: 0})) == []
    assert "priority 5" in lab.placer.waiting[first].reasons[0]


def test_a_run_whose_next_attempt_is_not_due_rests_behind_all_others(lab: Lab) -> None:
    later = Queued(since=NOW, attempt=2, not_before=datetime.now(UTC) + timedelta(hours=1))
    rests, due = lab.queue(0, status=later), lab.queue(1, Queueing(host="nowhere"))
    assert lab.starts() == [due]  # refused by its own preflight, with a record
    assert "its next attempt is due" in lab.placer.waiting[rests].reasons[0]


def test_a_host_that_is_silent_or_drained_gets_nothing(lab: Lab) -> None:
    run_id = lab.queue(0, Queueing(host="other"), gpus=1.0)
    lab.home.hosts.mark("other", lambda marks: marks.model_copy(update={"is_drained": True}))
    moment = Queue(lab.home).look()
    assert [host.is_drained for host in moment.lab.hosts if host.name == "other"] == [True]
    assert lab.starts() == []
    long_ago = Clock(monotonic=lambda: -1e6)
    lab.publish("other", DirectoryHosts(lab.home.settings.store, long_ago))
    assert [host.is_silent for host in Queue(lab.home).look().lab.hosts if host.name == "other"] == [True]
    lab.home.hosts.mark("other", lambda marks: marks.model_copy(update={"is_drained": False}))
    assert lab.starts() == []
    assert "silent" in lab.placer.waiting[run_id].reasons[0]


def test_one_damaged_record_keeps_nobody_else_waiting(lab: Lab) -> None:
    held, damaged, good = lab.queue(0), lab.queue(1), lab.queue(2, Queueing(host=HERE))
    lab.begin(held, HERE)
    lab.begin(damaged, HERE)
    assert {claim.run_id for claim in lab.placer.recover()} == {held, damaged}
    for run_id in (held, damaged):
        folder = lab.home.store.folder(run_id)
        folder.manifest.write_text("{")
    lab.home.store.folder(damaged).attempt(1).claim.write_text("{")
    assert good in lab.starts()
    assert lab.starts() == [good]


def test_durations_are_learned_from_runs_that_have_ended(lab: Lab) -> None:
    def ended(seconds: int) -> Any:
        def change(manifest: RunManifest) -> RunManifest:
            status = Cancelled(
                started_at=NOW, ended_at=NOW + timedelta(seconds=seconds), attempt=1, exit_code=1, by="ada"
            )
            times = manifest.times.model_copy(update={"started_at": NOW, "ended_at": status.ended_at})
            return manifest.with_sections(
                status=status,
                times=times,
                exit_code=1,
                end_reason=EndReason.CANCELLED,
                diagnosis=Diagnosis(category=EndReason.CANCELLED, summary="stopped"),
            ).sealed(NOW)

        return change

    queue = Queue(lab.home)
    run_id = lab.queue(0)
    assert queue.look().pending[0].forecast is None
    for number, seconds in ((1, 60), (2, 120), (3, 180)):
        lab.home.store.update(lab.queue(number), ended(seconds))
    (pending,) = queue.look().pending
    assert pending.run_id == run_id
    assert pending.forecast is not None
    assert pending.forecast.expected_s == 120
    assert "3 runs" in pending.forecast.basis


def test_the_rules_of_the_queue_are_settings(tmp_path: Path) -> None:
    lab = Lab(tmp_path, queue_user_gpus=1.0, queue_policy="fifo")
    policy = Queue(lab.home).look().policy
    assert (policy.name, policy.user_limit.gpus) == ("fifo", 1.0)
    lab.queue(0, Queueing(host=HERE), gpus=1.0)
    second = lab.queue(1, Queueing(host=HERE), gpus=1.0)
    assert lab.starts() == [IDS[0]]
    assert "limit of user ada" in lab.placer.waiting[second].reasons[0]
