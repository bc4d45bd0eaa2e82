"""Sealing: the end of a record, the same however often it is written, and it covers everything."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fetchml.diagnosis import EndFacts
from fetchml.errors import Bug, Conflict
from fetchml.execution.cancel import cancel_unstarted
from fetchml.execution.ended import Ended
from fetchml.execution.sealing import clean, seal_run
from fetchml.keys.ed25519 import verify
from fetchml.keys.ring import KeyRing
from fetchml.models.manifest import Metadata, RunManifest, seal_message
from fetchml.models.status import Preparing, Running, State
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.folder import AttemptFolder, RunFolder
from fetchml.testing.builders import MOMENT, RUN_ID, make_claim, make_manifest, make_plan

STARTED = MOMENT + timedelta(seconds=10)
ENDED = MOMENT + timedelta(seconds=70)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryRunStore:
    """A store with one run whose payload runs."""
    made = DirectoryRunStore(tmp_path)
    made.create(make_plan(), make_manifest())
    made.claim(make_claim())
    made.update(RUN_ID, lambda manifest: manifest.with_status(Preparing(since=MOMENT, attempt=1, host="here")))
    return made


@pytest.fixture
def running(store: DirectoryRunStore) -> DirectoryRunStore:
    status = Running(started_at=STARTED, attempt=1, host="here", container="c")
    store.update(RUN_ID, lambda manifest: manifest.with_status(status))
    attempt(store).inbox.mkdir()
    run(store).results.mkdir()
    return store


def run(store: DirectoryRunStore) -> RunFolder:
    return store.folder(RUN_ID)


def attempt(store: DirectoryRunStore) -> AttemptFolder:
    return run(store).attempt(1)


def ended(**facts: Any) -> Ended:
    return Ended(facts=EndFacts(**facts), started_at=STARTED, ended_at=ENDED, cpu_s=1.23456)


def seal(store: DirectoryRunStore, end: Ended, now: datetime = ENDED) -> RunManifest:
    return seal_run(store, run(store), 1, end, lambda: now)


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


def asked_to_sign(store: DirectoryRunStore) -> DirectoryRunStore:
    metadata = Metadata(sign=True)
    store.update(RUN_ID, lambda manifest: manifest.with_sections(metadata=metadata))
    return store


def signed_by(store: DirectoryRunStore, ring: KeyRing) -> RunManifest:
    return seal_run(store, run(store), 1, ended(exit_code=0), lambda: ENDED, ring.signer)


@pytest.mark.parametrize(
    ("facts", "state", "reason"),
    [
        ({"exit_code": 0}, State.COMPLETED, "ok"),
        ({"exit_code": 1}, State.FAILED, "code_error"),
        ({"exit_code": 143, "cancelled_by": "ada"}, State.CANCELLED, "cancelled"),
        ({"exit_code": 0, "cancelled_by": "ada"}, State.CANCELLED, "cancelled"),
        ({"exit_code": 143, "timed_out": True, "max_runtime_s": 60}, State.FAILED, "timeout"),
        ({"lost": True}, State.FAILED, "host_lost"),
        ({"exit_code": 0, "storage_full": True}, State.FAILED, "storage_full"),
    ],
)
def test_an_end_decides_state_and_reason(
    running: DirectoryRunStore, facts: dict[str, Any], state: State, reason: str
) -> None:
    manifest = seal(running, ended(**facts))
    assert (manifest.status.state, manifest.end_reason) == (state, reason)
    assert manifest.exit_code == facts.get("exit_code")
    assert (manifest.times.started_at, manifest.times.ended_at) == (STARTED, ENDED)
    assert manifest == running.read_manifest(RUN_ID)
    manifest.check_seal()


def test_a_refusal_goes_past_finalizing(store: DirectoryRunStore) -> None:
    manifest = seal(store, Ended(facts=EndFacts(refused=("gpus: too many",)), ended_at=ENDED))
    assert manifest.status.model_dump() == {
        "state": "refused",
        "ended_at": ENDED,
        "attempt": 1,
        "end_reason": "preflight_refused",
        "faults": ("gpus: too many",),
    }
    manifest.check_seal()


def test_what_it_used_is_recorded(running: DirectoryRunStore) -> None:
    attempt(running).output.write_bytes(b"hello\n")
    used = seal(running, ended(exit_code=0, memory_peak_bytes=77)).resources.actual
    assert used is not None
    assert (used.wall_s, used.cpu_s, used.memory_peak_bytes, used.output_bytes) == (60.0, 1.235, 77, 6)


def test_a_run_that_never_started_used_nothing(store: DirectoryRunStore) -> None:
    used = seal(store, Ended(facts=EndFacts(start_error="no such program"), ended_at=ENDED)).resources.actual
    assert used is not None
    assert (used.wall_s, used.cpu_s, used.memory_peak_bytes, used.output_bytes) == (None, None, None, None)


def test_everything_that_is_there_is_listed_and_protected(running: DirectoryRunStore) -> None:
    folder = attempt(running)
    folder.output.write_bytes(b"FETCHML_METRIC loss=0.5\n")
    (folder.inbox / "metrics.jsonl").write_bytes(b'{"name": "accuracy", "value": 0.9}\n')
    (run(running).results / "model.bin").write_bytes(b"weights")
    manifest = seal(running, ended(exit_code=0))
    assert [item.path for item in manifest.record_files] == [
        *("plan.json", "attempts/1/claim.json", "attempts/1/output.log", "attempts/1/metrics.jsonl"),
    ]
    assert list(manifest.metrics) == ["accuracy", "loss"]
    assert manifest.artifacts is not None
    assert [item.path for item in manifest.artifacts.files] == ["model.bin"]
    protected = [run(running).path / item.path for item in manifest.record_files]
    protected += [run(running).results, run(running).results / "model.bin", run(running).manifest]
    assert [path.stat().st_mode & 0o222 for path in protected] == [0] * len(protected)


def test_a_seal_covers_what_was_listed(running: DirectoryRunStore) -> None:
    """Each section of a sealed manifest makes another digest."""
    manifest = seal(running, ended(exit_code=0))
    assert manifest.seal is not None
    for section in ("metrics", "artifacts", "record_files", "diagnosis", "warnings", "resources"):
        other = RunManifest.model_construct(**{**dict(manifest), section: None})
        assert other.sealed_digest() != manifest.seal.digest, section


def test_the_claims_token_is_readable_by_its_owner_only(running: DirectoryRunStore) -> None:
    before = attempt(running).claim.stat().st_mode & 0o777
    seal(running, ended(exit_code=0))
    assert before == 0o600
    assert attempt(running).claim.stat().st_mode & 0o077 == 0


def test_sealing_twice_changes_nothing(running: DirectoryRunStore) -> None:
    attempt(running).output.write_bytes(b"hello\n")
    first = seal(running, ended(exit_code=0))
    assert seal(running, ended(exit_code=1), ENDED + timedelta(days=1)) == first
    clean(run(running), 1)
    assert seal(running, ended(exit_code=1), ENDED + timedelta(days=1)) == first


def test_an_end_is_never_before_the_start(running: DirectoryRunStore) -> None:
    """The clock of an engine may be another than ours."""
    manifest = seal(running, Ended(facts=EndFacts(exit_code=0), started_at=STARTED, ended_at=MOMENT))
    assert manifest.times.ended_at == STARTED
    used = manifest.resources.actual
    assert used is not None
    assert used.wall_s == 0


def test_a_run_that_was_never_begun_is_not_sealed(tmp_path: Path) -> None:
    store = DirectoryRunStore(tmp_path / "other")
    store.create(make_plan(), make_manifest())
    with pytest.raises((Bug, Conflict)):
        seal(store, ended(exit_code=0))
    assert store.read_manifest(RUN_ID).status.state is State.QUEUED


def test_a_seal_is_signed_if_that_was_asked_for(running: DirectoryRunStore, ring: KeyRing) -> None:
    key = ring.create(MOMENT)
    found = signed_by(asked_to_sign(running), ring).seal
    assert found is not None
    assert (found.key_id, found.public_key) == (key.key_id, key.public_key)
    assert found.signature is not None
    assert verify(key.public_key, seal_message(found.digest), found.signature)
    assert running.read_manifest(RUN_ID).warnings == ()


def test_a_seal_is_not_signed_unless_that_was_asked_for(running: DirectoryRunStore, ring: KeyRing) -> None:
    ring.create(MOMENT)
    found = signed_by(running, ring)
    assert found.seal is not None
    assert (found.seal.signature, found.warnings) == (None, ())


@pytest.mark.parametrize("fault", ["gone", "exposed", "damaged", "halves", "nobody"])
def test_a_key_that_cannot_be_used_costs_the_signature_and_not_the_run(
    running: DirectoryRunStore, ring: KeyRing, fault: str
) -> None:
    path = ring.root / f"{ring.create(MOMENT).key_id}.json"
    match fault:
        case "gone":
            path.unlink()
        case "exposed":
            path.chmod(0o644)
        case "damaged":
            path.write_bytes(b"{")
        case _:
            path.write_text(re.sub(r'("private_key": ")..', r"\g<1>00", path.read_text()))
    store = asked_to_sign(running)
    found = seal(store, ended(exit_code=0)) if fault == "nobody" else signed_by(store, ring)
    assert found.status.state is State.COMPLETED
    assert found.seal is not None
    assert found.seal.signature is None
    assert [warning.partition(":")[0] for warning in found.warnings] == ["the seal is not signed"]
    found.check_seal()
    assert store.read_manifest(RUN_ID) == found


def test_a_run_that_is_cancelled_before_it_starts_is_signed_too(tmp_path: Path, ring: KeyRing) -> None:
    store = DirectoryRunStore(tmp_path / "other")
    store.create(make_plan(), make_manifest(metadata=Metadata(sign=True)))
    key = ring.create(MOMENT)
    found = cancel_unstarted(store, RUN_ID, "ada", lambda: ENDED, ring.signer)
    assert found is not None
    assert found.seal is not None
    assert found.seal.key_id == key.key_id


def test_cleaning_removes_what_only_a_live_attempt_needs(running: DirectoryRunStore) -> None:
    folder = attempt(running)
    (folder.inbox / "metrics.jsonl").touch()
    folder.stop.touch()
    seal(running, ended(exit_code=0))
    for _ in range(2):
        clean(run(running), 1)
        assert sorted(path.name for path in folder.path.iterdir()) == ["claim.json", "metrics.jsonl"]
