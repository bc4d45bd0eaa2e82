"""A host of a lab: what it has claimed and done reaches the control host, whichever request is the last one."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from fetchml import durable
from fetchml.errors import Corrupt, FetchmlError
from fetchml.execution.sealing import record_files
from fetchml.gateway.watchman import Watchman
from fetchml.keys.access import AccessKind
from fetchml.link.client import Link, Reply
from fetchml.models.claim import CancelRequest, Claim
from fetchml.models.lab_host import PublishedHost
from fetchml.models.manifest import Annotation, Artifact, Artifacts, Diagnosis, Placement, RunManifest
from fetchml.models.resources import HostCapacity
from fetchml.models.status import Completed, EndReason, Finalizing, Preparing, Running
from fetchml.models.units import GIB
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.fencing import core_tag
from fetchml.store.journal import Entry, Journal
from fetchml.store.outpost import OutpostRunStore
from fetchml.store.remote import RemoteRunStore
from fetchml.store.shipping import Shipping
from fetchml.testing.builders import MOMENT, RUN_ID, make_claim, make_manifest, make_plan
from gateways import Gateway, gateway

LATER = MOMENT + timedelta(seconds=5)


class Crash(BaseException):
    """The process is gone: nothing catches it."""


class Mortal(Link):
    """A link whose process dies at one request: before it was sent, or before its answer was heard."""

    requests = 0
    dies_at: tuple[int, str] | None = None

    def call(self, method: str, path: str, body: bytes | None = None, **options: object) -> Reply:  # type: ignore[override]
        self.requests += 1
        if self.dies_at == (self.requests, "before"):
            raise Crash
        reply = super().call(method, path, body, **options)  # type: ignore[arg-type]
        if self.dies_at == (self.requests, "after"):
            raise Crash
        return reply


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "lab") as made:
        made.lab.store.create(make_plan(), make_manifest())
        yield made


class Host:
    """A host of a lab; what it keeps in memory is lost whenever it is made anew."""

    def __init__(self, lab: Gateway, path: Path, name: str = "gpu1") -> None:
        self._login = lab.login(AccessKind.HOST, name)
        self._path = path
        self.name = name
        self.restart()

    def restart(self, dies_at: tuple[int, str] | None = None) -> None:
        self.link = Mortal(self._login)
        self.link.dies_at = dies_at
        far = RemoteRunStore(self.link, self._path / "cache")
        self.store = OutpostRunStore(DirectoryRunStore(self._path / "store"), far, self._path / "spool")
        self.shipping = Shipping(self.store, lambda *_: False, logging.getLogger("test"))

    def claim(self, **changes: object) -> Claim:
        return make_claim(host=self.name, token="a" * 64, **changes)


@pytest.fixture
def host(lab: Gateway, tmp_path: Path) -> Host:
    return Host(lab, tmp_path / "gpu1")


def prepare(store: OutpostRunStore) -> None:
    place = Placement(host="gpu1", worker="w", device_ids=(), waited_s=0, waited_for=())
    store.update(RUN_ID, lambda m: m.with_status(Preparing(since=MOMENT, attempt=1, host="gpu1"), placement=place))


def start(store: OutpostRunStore) -> None:
    store.update(RUN_ID, lambda m: m.with_status(Running(started_at=MOMENT, attempt=1, host="gpu1", container="c")))


def print_some(store: OutpostRunStore, text: bytes) -> None:
    attempt = store.folder(RUN_ID).attempt(1)
    for path, line in ((attempt.output, text), (attempt.metrics, b'{"name":"loss"}\n')):
        with path.open("ab") as file:
            file.write(line)


def end(store: OutpostRunStore) -> None:
    """Ends a run as sealing does: files first, the seal last."""
    folder = store.folder(RUN_ID)
    (folder.results / "deep").mkdir(parents=True)
    (folder.results / "deep" / "model.bin").write_bytes(b"weights" * 1000)
    durable.write_atomic(folder.attempt(1).metrics, b'{"name":"loss","rewritten":1}\n')
    durable.write_atomic(folder.attempt(1).ended, b"{}")
    ended = Finalizing(since=LATER, started_at=MOMENT, ended_at=LATER, attempt=1, exit_code=0)
    store.update(RUN_ID, lambda m: m.with_status(ended))
    digest = hashlib.sha256(b"weights" * 1000).hexdigest()
    artifact = Artifact(path="deep/model.bin", size_bytes=7000, sha256=digest, modified=LATER)
    artifacts = Artifacts(discovered_at=LATER, files=(artifact,), total_size_bytes=7000, exclusions=())
    record = record_files(folder, 1, LATER)
    diagnosis = Diagnosis(category=EndReason.OK, summary="completed")
    done = Completed(started_at=MOMENT, ended_at=LATER, attempt=1)
    store.update(
        RUN_ID,
        lambda m: m.with_status(done, diagnosis=diagnosis, artifacts=artifacts, record_files=record).sealed(LATER),
    )


def whole_life(store: OutpostRunStore) -> RunManifest:
    prepare(store)
    start(store)
    print_some(store, b"tick 0\n")
    end(store)
    return store.near.read_manifest(RUN_ID)


def check_whole(lab: Gateway, sealed: RunManifest) -> None:
    """Fails unless the control host has the record and each file that it names."""
    store = lab.lab.store
    assert store.read_manifest(RUN_ID) == sealed
    store.read_manifest(RUN_ID).check_seal()
    folder = store.folder(RUN_ID)
    named = [(item.path, item.size_bytes) for item in sealed.record_files]
    named += [(f"results/{item.path}", item.size_bytes) for item in sealed.artifacts.files if sealed.artifacts]  # type: ignore[union-attr]
    assert len(named) >= 5
    for path, size in named:
        assert (folder.path / path).stat().st_size == size
        assert (folder.path / path).stat().st_mode & 0o222 == 0
    assert (folder.path / "attempts/1/metrics.jsonl").read_bytes() == b'{"name":"loss","rewritten":1}\n'


def test_a_run_that_was_claimed_is_here(host: Host, lab: Gateway) -> None:
    assert host.store.claim(host.claim())
    assert host.store.near.read_plan(RUN_ID) == make_plan()
    assert host.store.near.read_manifest(RUN_ID) == make_manifest()
    assert lab.lab.store.read_claim(RUN_ID, 1) == host.store.read_claim(RUN_ID, 1) == host.claim()
    assert host.store.own() == [host.claim()]
    assert not list((host.store.spool / "claims").glob("*.json"))


def test_what_happens_here_is_there_after_a_turn(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    prepare(host.store)
    assert host.shipping.turn() == 1
    assert lab.lab.store.read_manifest(RUN_ID).status.state == "preparing"
    start(host.store)
    print_some(host.store, b"tick 0\n")
    host.shipping.turn()
    print_some(host.store, b"tick 1\n")
    host.shipping.turn()
    output = lab.lab.store.folder(RUN_ID).attempt(1).output
    assert (lab.lab.store.read_manifest(RUN_ID).status.state, output.read_bytes()) == ("running", b"tick 0\ntick 1\n")
    end(host.store)
    sealed = host.store.near.read_manifest(RUN_ID)
    assert host.shipping.turn() == 0
    check_whole(lab, sealed)
    assert not host.store.near.exists(RUN_ID)
    assert host.store.journals() == []
    assert host.store.read_manifest(RUN_ID) == sealed
    assert host.shipping.turn() == 0


def test_whichever_request_is_the_last_nothing_is_lost_or_doubled(lab: Gateway, tmp_path: Path) -> None:
    """Dies at each request in turn, before it and after it, with what is alive half way."""
    number = 0
    for when in ("before", "after"):
        for at in range(1, 60):
            number += 1
            run_id = f"2026-11-20_{'abcdefghjk'[number // 10]}aaaa{'abcdefghjk'[number % 10]}"
            lab.lab.store.create(make_plan(), make_manifest(run_id=run_id))
            if not _dies_once(lab, tmp_path / f"host-{number}", run_id, f"host-{number}", (at, when)):
                break
        else:
            raise AssertionError("it never came through")
    assert number > 20


def _dies_once(lab: Gateway, path: Path, run_id: str, name: str, dies_at: tuple[int, str]) -> bool:
    """Carries a run out with a crash at one request; returns whether there was that request."""
    host = Host(lab, path, name)
    died = False

    def step(work: Callable[[], object]) -> None:
        nonlocal died
        try:
            work()
        except Crash:
            died = True
            host.restart()

    claim = make_claim(run_id, host=name, token="a" * 64)
    host.restart(dies_at)
    step(lambda: host.store.claim(claim))
    step(host.store.settle)
    host.store.settle()
    assert host.store.own() == [claim] or not host.store.near.exists(run_id)
    if not host.store.near.exists(run_id):
        assert lab.lab.store.read_claim(run_id, 1) is None  # it died before it asked; another may
        assert host.store.claim(claim)
    store = _Renamed(host, run_id)
    prepare(store)
    step(host.shipping.turn)
    start(store)
    print_some(store, b"tick 0\n")
    step(host.shipping.turn)
    end(store)
    sealed = host.store.near.read_manifest(run_id)
    step(host.shipping.turn)
    step(host.shipping.turn)
    assert host.shipping.turn() == 0
    there = lab.lab.store
    assert there.read_manifest(run_id) == sealed
    for item in sealed.record_files:
        assert (there.folder(run_id).path / item.path).stat().st_size == item.size_bytes
    assert there.folder(run_id).attempt(1).output.read_bytes() == b"tick 0\n"
    assert not host.store.near.exists(run_id)
    return died


class _Renamed(OutpostRunStore):
    """The store of a host in which `RUN_ID` means another run."""

    def __init__(self, host: Host, run_id: str) -> None:
        self._host, self._id = host, run_id

    def update(self, run_id: str, change: Callable[[RunManifest], RunManifest]) -> RunManifest:
        return self._host.store.update(self._id, change)

    def folder(self, run_id: str):  # type: ignore[no-untyped-def]
        return self._host.store.folder(self._id)


def test_a_claim_whose_answer_never_came_is_settled_later(host: Host, lab: Gateway) -> None:
    host.restart((1, "after"))
    with pytest.raises(Crash):
        host.store.claim(host.claim())
    host.restart()
    assert host.store.own() == []
    assert not host.store.claim(host.claim(worker="another try"))
    assert host.store.settle() == [host.claim()]
    assert host.store.settle() == []
    assert lab.lab.store.read_claim(RUN_ID, 1) == host.claim()


def test_a_claim_that_another_host_has_is_given_up(host: Host, lab: Gateway) -> None:
    host.restart((1, "before"))
    with pytest.raises(Crash):
        host.store.claim(host.claim())
    assert lab.lab.store.claim(make_claim(host="gpu2", token="b" * 64))
    host.restart()
    assert host.store.settle() == []
    assert not host.store.near.exists(RUN_ID)
    assert not host.store.claim(host.claim())


@pytest.mark.parametrize("step", ["publish_folder", "write_atomic", "create_exclusive"])
def test_a_crash_between_the_claim_and_its_folder_is_settled(
    host: Host, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    really = getattr(durable, step)
    left = 3 if step == "create_exclusive" else 1  # the second one is the gateway's

    def dies(*words: object, **options: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash
        return really(*words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(durable, step, dies)
        with pytest.raises(Crash):
            host.store.claim(host.claim())
    host.restart()
    host.store.settle()
    assert host.store.own() == [host.claim()]
    assert whole_life(host.store)
    assert host.shipping.turn() == 0


def test_a_request_to_stop_reaches_the_host_and_is_in_its_record(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    prepare(host.store)
    lab.lab.store.request_cancel(RUN_ID, CancelRequest(by="ada", at=MOMENT, reason="enough"))
    assert host.store.read_cancel(RUN_ID) is None
    host.shipping.turn()
    request = host.store.read_cancel(RUN_ID)
    assert request is not None
    assert request.by == "ada"
    start(host.store)
    end(host.store)
    sealed = host.store.near.read_manifest(RUN_ID)
    assert "cancel.json" in {item.path for item in sealed.record_files}
    assert host.shipping.turn() == 0
    check_whole(lab, sealed)


def test_a_request_of_this_host_reaches_the_control_host(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    assert host.store.request_cancel(RUN_ID, CancelRequest(by="the Prefect UI", at=MOMENT))
    whole_life(host.store)
    sealed = host.store.near.read_manifest(RUN_ID)
    assert host.shipping.turn() == 0
    check_whole(lab, sealed)


def test_notes_that_people_wrote_meanwhile_stay(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    prepare(host.store)
    host.shipping.turn()
    note = Annotation(timestamp=MOMENT, note="looks odd")
    lab.lab.store.update(RUN_ID, lambda m: m.with_sections(annotations=(note,)))
    start(host.store)
    end(host.store)
    assert host.shipping.turn() == 0
    sealed = lab.lab.store.read_manifest(RUN_ID)
    assert sealed.annotations == (note,)
    sealed.check_seal()


def test_a_sealed_record_whose_files_have_not_arrived_is_refused(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    whole_life(host.store)
    host.shipping._send_files = lambda *_: None  # type: ignore[method-assign]
    assert host.shipping.turn() == 1
    assert lab.lab.store.read_manifest(RUN_ID).seal is None
    host.restart()
    assert host.shipping.turn() == 0


def test_a_file_that_changed_after_the_seal_is_not_taken(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    whole_life(host.store)
    model = host.store.folder(RUN_ID).results / "deep" / "model.bin"
    model.chmod(0o644)
    model.write_bytes(b"changed" * 1000)
    assert host.shipping.turn() == 1
    assert lab.lab.store.read_manifest(RUN_ID).seal is None


@pytest.mark.parametrize(
    "path",
    [
        "run_manifest.json",
        "plan.json",
        "attempts/1/claim.json",
        "attempts/1/owner.lock",
        "attempts/2/output.log",
        "attempts/01/output.log",
        "attempts/1/../../run_manifest.json",
        "results/../run_manifest.json",
        "/etc/passwd",
        "results//x",
        "results/\0",
        "code/train.py",
        "results",
        "",
        "results/" + "a" * 300,
        "results/" + "d/" * 100 + "x",
    ],
)
def test_a_host_writes_nothing_but_what_runs_leave(host: Host, lab: Gateway, path: str, tmp_path: Path) -> None:
    host.store.claim(host.claim())
    before = {item: item.read_bytes() for item in lab.lab.store.folder(RUN_ID).path.rglob("*") if item.is_file()}
    digest = hashlib.sha256(b"x").hexdigest()
    for more in ({"append": 1}, {"total": 1, "sha256": digest}):
        with pytest.raises(FetchmlError):
            host.link.call(
                "PUT",
                f"/v1/runs/{RUN_ID}/file",
                b"x",
                query={"path": path, "offset": 0, **more},
                headers={"Fetchml-Token": "a" * 64},
            )
    after = {item: item.read_bytes() for item in lab.lab.store.folder(RUN_ID).path.rglob("*") if item.is_file()}
    assert after == before


def test_a_link_in_a_run_folder_is_not_followed(host: Host, lab: Gateway, tmp_path: Path) -> None:
    host.store.claim(host.claim())
    folder = lab.lab.store.folder(RUN_ID).path
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (folder / "results").symlink_to(tmp_path / "outside")
    (folder / "attempts" / "1" / "output.log").symlink_to(tmp_path / "outside" / "secret")
    for path in ("results/secret", "attempts/1/output.log"):
        with pytest.raises(FetchmlError):
            host.store.far.read_part(RUN_ID, path, 0)
        for more in ({"append": 1}, {"total": 1, "sha256": hashlib.sha256(b"x").hexdigest()}):
            query = {"path": path, "offset": 0, **more}
            headers = {"Fetchml-Token": "a" * 64}
            with suppress(FetchmlError):
                host.link.call("PUT", f"/v1/runs/{RUN_ID}/file", b"x", query=query, headers=headers)
    assert (tmp_path / "outside" / "secret").read_text() == "secret"
    assert os.listdir(tmp_path / "outside") == ["secret"]


def test_a_host_that_lost_its_attempt_changes_nothing_any_more(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    prepare(host.store)
    host.shipping.turn()
    # The operator has said that the attempt is dead, and another host has the next one.
    lab.lab.store.claim(make_claim(attempt=2, host="gpu2", token="b" * 64))
    start(host.store)
    assert host.shipping.turn() == 1
    assert lab.lab.store.read_manifest(RUN_ID).status.state == "preparing"
    assert host.store.near.exists(RUN_ID)


def test_a_gateway_that_is_away_keeps_nothing_from_being_done(host: Host, lab: Gateway, tmp_path: Path) -> None:
    host.store.claim(host.claim())
    os.rename(tmp_path / "lab" / "gateway" / "keys.json", tmp_path / "keys.json")  # nobody is let in
    whole_life(host.store)
    with pytest.raises(FetchmlError):
        host.shipping.turn()
    os.rename(tmp_path / "keys.json", tmp_path / "lab" / "gateway" / "keys.json")
    sealed = host.store.near.read_manifest(RUN_ID)
    assert host.shipping.turn() == 0
    check_whole(lab, sealed)


def test_one_run_that_cannot_be_sent_keeps_no_other_back(host: Host, lab: Gateway) -> None:
    other = "2026-11-20_aaaaaa"
    lab.lab.store.create(make_plan(), make_manifest(run_id=other))
    host.store.claim(host.claim())
    host.store.claim(make_claim(other, host=host.name, token="a" * 64))
    journal = host.store.journal(other).path
    journal.write_bytes(b"damaged\n" + journal.read_bytes())
    whole_life(host.store)
    assert host.shipping.turn() == 1
    assert lab.lab.store.read_manifest(RUN_ID).seal is not None


# The journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "spool" / f"{RUN_ID}.jsonl")
    made.begin("one")
    made.append(Entry("two", '{"a": 1}'))
    made.append(Entry("three", '{"a": 2}'))
    return made


def test_a_torn_end_is_cut_off_wherever_it_is_torn(journal: Journal) -> None:
    content = journal.path.read_bytes()
    whole = content.index(b"\n", content.index(b"\n") + 1) + 1
    for length in range(whole, len(content)):
        journal.path.write_bytes(content[:length])
        assert [entry.tag for entry in journal.entries()] == ["one", "two"]
    journal.append(Entry("three", '{"a": 2}'))
    assert journal.path.read_bytes() == content


def test_damage_before_the_end_is_not_passed_over(journal: Journal) -> None:
    content = bytearray(journal.path.read_bytes())
    content[content.index(b'"a') + 1] ^= 1
    journal.path.write_bytes(content)
    with pytest.raises(Corrupt):
        journal.entries()


def test_a_state_that_was_written_but_not_noted_is_noted_by_the_next_one(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    journal = host.store.journal(RUN_ID)
    prepare(host.store)
    before = journal.path.read_bytes()
    start(host.store)
    journal.path.write_bytes(before)  # a crash came between the two
    host.restart()
    host.shipping.turn()
    assert lab.lab.store.read_manifest(RUN_ID).status.state == "running"
    assert journal.entries()[-1].tag == core_tag(host.store.near.read_manifest(RUN_ID))


# Silence


def published(name: str = "gpu1") -> PublishedHost:
    return PublishedHost(
        capacity=HostCapacity(host=name, cpus=8, memory_bytes=GIB),
        worker="w",
        pid=1,
        version="0.1.0",
        boot_id="b",
        started_at=MOMENT,
        published_at=MOMENT,
    )


def test_a_silent_host_has_its_runs_shown_as_unreachable_until_it_is_back(host: Host, lab: Gateway) -> None:
    host.store.claim(host.claim())
    prepare(host.store)
    start(host.store)
    host.shipping.turn()
    seconds = [0.0]
    lab.lab.hosts.publish(published())
    watchman = Watchman(lab.lab, silent_after_s=-1, monotonic=lambda: seconds[0])
    patient = Watchman(lab.lab, silent_after_s=3600, monotonic=lambda: seconds[0])
    assert patient.look() == 0
    assert watchman.look() == 1
    assert watchman.look() == 0
    assert lab.lab.store.read_manifest(RUN_ID).status.state == "unreachable"
    assert not lab.lab.store.claim(make_claim(host="gpu2", token="b" * 64))
    assert patient.look() == 1
    assert lab.lab.store.read_manifest(RUN_ID).status.state == "running"
    assert watchman.look() == 1
    end(host.store)
    sealed = host.store.near.read_manifest(RUN_ID)
    assert host.shipping.turn() == 0
    check_whole(lab, sealed)


def test_a_gateway_that_was_away_itself_blames_nobody_at_once(lab: Gateway) -> None:
    seconds = [1000.0]
    watchman = Watchman(lab.lab, silent_after_s=60, monotonic=lambda: seconds[0])
    lab.lab.store.claim(make_claim(host="gpu1"))
    assert watchman.look() == 0
