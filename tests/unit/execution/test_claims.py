"""Claims: the one gate in front of every start and of every cancellation before a start."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from contract.racing import in_threads
from fetchml.errors import NotFound
from fetchml.execution.cancel import cancel_unstarted
from fetchml.execution.claims import cancel_claim, run_claim
from fetchml.models.claim import Claim, ClaimKind
from fetchml.models.host import boot_id, host_name
from fetchml.models.resources import DeviceShare, ResourceRequest
from fetchml.models.status import Preparing, State
from fetchml.models.units import GIB
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import MOMENT, RUN_ID, make_manifest, make_plan

PLAN = make_plan(resources=ResourceRequest(cpus=3, memory_bytes=2 * GIB, gpus=1))


@pytest.fixture
def store(tmp_path: Path) -> DirectoryRunStore:
    """A store with one run that is queued."""
    made = DirectoryRunStore(tmp_path)
    made.create(PLAN, make_manifest(PLAN))
    return made


def claim(**changes: object) -> Claim:
    return run_claim(PLAN, RUN_ID, 1, worker="w1", now=MOMENT).model_copy(update=changes)


def now() -> datetime:
    return MOMENT + timedelta(minutes=1)


def test_a_claim_to_run_reserves_what_the_plan_asks_for() -> None:
    half = DeviceShare(device_id="GPU-a", share=0.5, memory_bytes=GIB)
    made = run_claim(PLAN, RUN_ID, 2, worker="w1", now=MOMENT, shares=(half,), flow_run_id="f", waited_for=("a GPU",))
    assert made == Claim(
        run_id=RUN_ID,
        attempt=2,
        kind=ClaimKind.RUN,
        host=host_name(),
        worker="w1",
        boot_id=boot_id(),
        token=made.token,
        claimed_at=MOMENT,
        cpus=3,
        memory_bytes=2 * GIB,
        device_ids=("GPU-a",),
        shares=(half,),
        flow_run_id="f",
        waited_for=("a GPU",),
    )


def test_a_claim_to_cancel_reserves_nothing() -> None:
    made = cancel_claim(RUN_ID, 1, by="ada", now=MOMENT)
    assert (made.kind, made.worker, made.cpus, made.memory_bytes) == (ClaimKind.CANCEL, "ada", 0, 0)
    assert made.device_ids == ()


def test_no_two_claims_have_the_same_token() -> None:
    tokens = {claim().token for _ in range(50)} | {
        cancel_claim(RUN_ID, 1, by="ada", now=MOMENT).token for _ in range(50)
    }
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {64}


# Cancelling a run that nobody has started


def test_a_run_that_nobody_has_is_cancelled_at_once(store: DirectoryRunStore) -> None:
    manifest = cancel_unstarted(store, RUN_ID, "ada", now)
    assert manifest == store.read_manifest(RUN_ID)
    assert manifest is not None
    assert (manifest.status.state, manifest.end_reason, manifest.exit_code) == ("cancelled", "cancelled", None)
    assert (manifest.times.started_at, manifest.times.ended_at) == (None, now())
    assert manifest.status.model_dump()["by"] == "ada"
    manifest.check_seal()
    assert not store.claim(claim())


def test_a_run_that_a_worker_has_is_left_to_it(store: DirectoryRunStore) -> None:
    store.claim(claim())
    before = store.read_manifest(RUN_ID)
    assert cancel_unstarted(store, RUN_ID, "ada", now) is None
    assert store.read_manifest(RUN_ID) == before


def test_the_first_who_cancels_is_named(store: DirectoryRunStore) -> None:
    first = cancel_unstarted(store, RUN_ID, "ada", now)
    assert cancel_unstarted(store, RUN_ID, "bob", now) == first
    assert store.read_manifest(RUN_ID) == first


def test_what_a_killed_canceller_began_is_finished(store: DirectoryRunStore) -> None:
    """It had the claim and died; nobody else can ever start the run."""
    store.claim(cancel_claim(RUN_ID, 1, by="ada", now=MOMENT))
    manifest = cancel_unstarted(store, RUN_ID, "bob", now)
    assert manifest is not None
    assert manifest.status.model_dump()["by"] == "ada"
    assert manifest.seal is not None


def test_a_run_that_is_not_there_is_not_found(store: DirectoryRunStore) -> None:
    with pytest.raises(NotFound):
        cancel_unstarted(store, "2026-11-20_aaaaaa", "ada", now)


def test_either_it_is_cancelled_or_it_is_started(tmp_path: Path) -> None:
    winners: set[str] = set()
    for number in range(8):
        store = DirectoryRunStore(tmp_path / str(number))
        store.create(PLAN, make_manifest(PLAN))

        def act(caller: int, store: DirectoryRunStore = store) -> bool:
            if caller % 2:
                return cancel_unstarted(store, RUN_ID, f"user{caller}", now) is not None
            return store.claim(claim(worker=f"w{caller}"))

        answers = in_threads(6, act)
        started, cancelled = answers[::2].count(True), answers[1::2].count(True)
        assert (started, cancelled) in ((1, 0), (0, 3))
        state = store.read_manifest(RUN_ID).status.state
        assert state == (State.QUEUED if started else State.CANCELLED)
        winners.add(str(state))
    assert winners <= {"queued", "cancelled"}


def test_a_run_that_was_begun_is_not_cancelled_as_unstarted(store: DirectoryRunStore) -> None:
    store.claim(claim())
    store.update(RUN_ID, lambda manifest: manifest.with_status(Preparing(since=MOMENT, attempt=1, host="here")))
    assert cancel_unstarted(store, RUN_ID, "ada", now) is None
    assert store.read_manifest(RUN_ID).status.state is State.PREPARING
