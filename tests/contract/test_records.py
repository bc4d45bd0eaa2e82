"""Records of runs beside objects: one suite over the twin in memory and buckets in two S3 servers."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.s3_servers import S3Server
from fetchml.archive import copier
from fetchml.archive.bucket import Bucket
from fetchml.archive.copier import Copier, copy_waiting
from fetchml.archive.notes import read_fault, read_note
from fetchml.errors import Conflict, Corrupt, Unavailable
from fetchml.execution.cancel import cancel_unstarted
from fetchml.home import Home
from fetchml.models.claim import CancelRequest
from fetchml.objects.memory import MemoryObjects
from fetchml.objects.records import MANIFEST, PLAN, MemoryRecords, Records
from fetchml.objects.s3_records import S3Records
from fetchml.snapshot.capture import Limits, capture
from fetchml.testing.builders import MOMENT, make_manifest, make_plan

RUN_IDS = ("2026-11-20_aaaaaa", "2026-11-20_bbbbbb", "2026-11-21_cccccc")


@pytest.fixture(params=["memory", "moto_server", "rclone_server"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Records:
    """Records of each kind, none yet."""
    if request.param == "memory":
        return MemoryRecords()
    server: S3Server = request.getfixturevalue(request.param)
    return S3Records(server.objects(server.new_bucket(), tmp_path))


def test_a_record_is_read_as_it_was_written(records: Records) -> None:
    assert records.read(RUN_IDS[0], MANIFEST) is None
    for content in (b"{}", b"", b"x" * 3_000_000, b"{}"):
        records.write(RUN_IDS[0], MANIFEST, content)
        assert records.read(RUN_IDS[0], MANIFEST) == content
    assert records.read(RUN_IDS[0], PLAN) is None


def test_a_run_is_there_once_its_manifest_is(records: Records) -> None:
    assert list(records.run_ids()) == []
    for run_id in RUN_IDS:
        records.write(run_id, PLAN, b"{}")
    assert list(records.run_ids()) == []
    for run_id in RUN_IDS[1:]:
        records.write(run_id, MANIFEST, b"{}")
    assert sorted(records.run_ids()) == sorted(RUN_IDS[1:])


# Copying, on the twins


class FailingRecords(MemoryRecords):
    """Fails at a write, as told."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[str, str], Exception | None] = lambda *_: None

    def write(self, run_id: str, name: str, content: bytes) -> None:
        error = self.fault(run_id, name)
        if error is not None:
            raise error
        super().write(run_id, name, content)


@pytest.fixture
def copying(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FailingRecords:
    """A home with three sealed runs whose bucket is in memory."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/train.py").write_text("print(1)\n")
    plan = make_plan(snapshot_id=capture(tmp_path / "project", home.objects, Limits(1024, 10)).commit_id)
    for run_id in RUN_IDS:
        home.store.create(plan, make_manifest(plan, run_id))
        home.store.request_cancel(run_id, CancelRequest(by="ada", at=MOMENT))
        cancel_unstarted(home.store, run_id, "ada", lambda: MOMENT, home.keys.signer)
    records = FailingRecords()
    bucket = Bucket("memory", MemoryObjects(), records)
    monkeypatch.setattr(copier, "open_bucket", lambda *_: bucket)
    return records


def test_everything_that_waits_is_copied_once(home: Home, copying: FailingRecords) -> None:
    assert copy_waiting(home, print)
    assert sorted(copying.run_ids()) == sorted(RUN_IDS)
    for run_id in RUN_IDS:
        assert copying.read(run_id, MANIFEST) == home.store.folder(run_id).manifest.read_bytes()
        assert copying.read(run_id, PLAN) == home.store.folder(run_id).plan.read_bytes()
    copying.fault = lambda *_: AssertionError("written again")
    assert copy_waiting(home, print)
    assert Copier(home).waiting() == []


def test_a_bucket_that_does_not_answer_is_noted_once_and_asked_again(home: Home, copying: FailingRecords) -> None:
    copying.fault = lambda run_id, name: Unavailable("gone fishing", code="s3-unavailable")
    told: list[str] = []
    assert not copy_waiting(home, told.append)
    assert told == ["3 runs not copied: gone fishing"]
    fault = read_fault(home.services)
    assert fault is not None
    assert fault.reason == "gone fishing"
    assert Copier(home).waiting() == list(RUN_IDS)
    copying.fault = lambda *_: None
    assert copy_waiting(home, told.append)
    assert read_fault(home.services) is None
    assert sorted(copying.run_ids()) == sorted(RUN_IDS)


@pytest.mark.parametrize("error", [Corrupt("rotten"), Conflict("another")])
def test_one_run_that_cannot_be_copied_keeps_no_other_and_is_tried_again_in_an_hour(
    home: Home, copying: FailingRecords, error: Exception
) -> None:
    copying.fault = lambda run_id, _: error if run_id == RUN_IDS[0] else None
    assert copy_waiting(home, lambda _: None)
    assert sorted(copying.run_ids()) == sorted(RUN_IDS[1:])
    note = read_note(home.store.folder(RUN_IDS[0]))
    assert note is not None
    assert note.fault is not None
    assert note.fault.reason == str(error)
    tried_s = note.fault.at.timestamp()
    assert Copier(home, clock=lambda: tried_s + 60).waiting() == []
    assert Copier(home, clock=lambda: tried_s + 3601).waiting() == [RUN_IDS[0]]
    manifest = home.store.folder(RUN_IDS[0]).manifest
    os.utime(manifest, (tried_s + 30, tried_s + 30))
    assert Copier(home, clock=lambda: tried_s + 60).waiting() == [RUN_IDS[0]]


def test_an_edit_is_copied_by_the_same_copier_and_a_lost_note_costs_one_look(
    home: Home, copying: FailingRecords
) -> None:
    watcher = Copier(home)
    assert copy_waiting(home, print)
    assert watcher.waiting() == []
    path = home.store.folder(RUN_IDS[1]).manifest
    document = json.loads(path.read_bytes())
    document["narrative"]["intent"] = "to see"
    path.chmod(0o644)
    path.write_text(json.dumps(document, indent=2))
    assert watcher.waiting() == [RUN_IDS[1]]
    assert copy_waiting(home, print)
    assert (
        hashlib.sha256(copying.read(RUN_IDS[1], MANIFEST) or b"").digest() == hashlib.sha256(path.read_bytes()).digest()
    )
    home.store.folder(RUN_IDS[2]).copy_note.unlink()
    copying.fault = lambda *_: AssertionError("written again")
    assert copy_waiting(home, print)
    assert read_note(home.store.folder(RUN_IDS[2])) is not None
