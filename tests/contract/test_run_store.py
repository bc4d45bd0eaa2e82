"""The run store: one suite over the directory, its twin in memory, and the directory of another host."""

import errno
import gc
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contract.racing import in_processes, in_threads
from fetchml import durable
from fetchml.errors import Conflict, Corrupt, FetchmlError, NotFound, Unavailable
from fetchml.models.claim import CancelRequest
from fetchml.models.host import host_name
from fetchml.models.manifest import EDITABLE_SECTIONS, Annotation, Diagnosis, Narrative, RunManifest
from fetchml.models.plan import Plan
from fetchml.models.status import Cancelled, EndReason, Preparing
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.memory import MemoryRunStore
from fetchml.store.port import RunStore
from fetchml.store.remote import RemoteRunStore
from fetchml.testing.builders import MOMENT, RUN_ID, make_claim, make_manifest, make_plan
from gateways import EVERYTHING, gateway

OTHER_ID = "2026-11-19_abcdef"
NO_IDS = (
    "",
    ".",
    "..",
    "../2026-11-20_k3f9q2",
    "2026-11-20_k3f9q2/..",
    "/2026-11-20_k3f9q2",
    "2026-11-20_k3f9q2\n",
    "2026-11-20_k3f9q2\0",
    "2026-11-20_K3F9Q2",
    "2026-11-20_k3f9q",
    "2026-11-20_k3f9q22",
    "2026-13-40_k3f9q2",
    "2026-02-30_k3f9q2",
    "2026-11-20_k3f9ql",
    "٢026-11-20_k3f9q2",
    "x" * 10_000,
)


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryRunStore:
    return DirectoryRunStore(tmp_path / "store")


@pytest.fixture
def memory() -> MemoryRunStore:
    return MemoryRunStore()


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteRunStore]:
    with gateway(tmp_path / "lab", EVERYTHING) as lab:
        yield RemoteRunStore(lab.link(name=host_name()), tmp_path / "cache")


@pytest.fixture(params=["directory", "memory", "remote"])
def store(request: pytest.FixtureRequest) -> RunStore:
    """A store of each kind, empty."""
    made: RunStore = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def run(store: RunStore) -> str:
    """A run in the store, queued."""
    store.create(make_plan(), make_manifest())
    return RUN_ID


def noted(text: str) -> Callable[[RunManifest], RunManifest]:
    """A change that adds an annotation."""

    def change(manifest: RunManifest) -> RunManifest:
        return manifest.with_sections(annotations=(*manifest.annotations, Annotation(timestamp=MOMENT, note=text)))

    return change


def begun(manifest: RunManifest) -> RunManifest:
    """The change to `preparing`."""
    return manifest.with_status(Preparing(since=MOMENT, attempt=1, host="here"))


def ended(manifest: RunManifest) -> RunManifest:
    """The change to `cancelled`, sealed."""
    status = Cancelled(started_at=None, ended_at=MOMENT, attempt=None, exit_code=None, by="ada")
    diagnosis = Diagnosis(category=EndReason.CANCELLED, summary="cancelled by ada")
    return manifest.with_status(status, diagnosis=diagnosis).sealed(MOMENT)


def cancel(by: str = "ada") -> CancelRequest:
    return CancelRequest(by=by, at=MOMENT)


# Accepting


def test_what_was_created_is_read_back_equal(store: RunStore) -> None:
    plan, manifest = make_plan(), make_manifest()
    store.create(plan, manifest)
    assert store.read_plan(RUN_ID) == plan
    assert store.read_manifest(RUN_ID) == manifest


def test_an_empty_store_has_no_runs(store: RunStore) -> None:
    assert store.run_ids() == []
    assert not store.exists(RUN_ID)


def test_runs_are_listed_by_day(store: RunStore) -> None:
    for run_id in (RUN_ID, OTHER_ID, "2027-01-01_aaaaaa"):
        store.create(make_plan(), make_manifest(run_id=run_id))
    assert store.run_ids() == [OTHER_ID, RUN_ID, "2027-01-01_aaaaaa"]
    assert store.exists(OTHER_ID)


def test_a_second_run_of_an_id_is_refused_and_the_first_stays(store: RunStore, run: str) -> None:
    other = make_plan(env={"A": "2"})
    with pytest.raises(Conflict) as caught:
        store.create(other, make_manifest(other))
    assert caught.value.code == "run-exists"
    assert store.read_plan(run) == make_plan()
    assert store.run_ids() == [run]


def test_of_many_who_create_one_id_one_wins(store: RunStore) -> None:
    plans = [make_plan(env={"CALLER": str(number)}) for number in range(16)]

    def create(number: int) -> bool:
        try:
            store.create(plans[number], make_manifest(plans[number]))
        except Conflict:
            return False
        return True

    won = in_threads(16, create)
    assert won.count(True) == 1
    assert store.read_plan(RUN_ID) == plans[won.index(True)]
    assert store.read_manifest(RUN_ID).plan.plan_sha256 == plans[won.index(True)].sha256


def test_a_refused_create_leaves_nothing_behind(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    with pytest.raises(Conflict):
        directory.create(make_plan(), make_manifest())
    assert os.listdir(directory.runs) == [RUN_ID]


@pytest.mark.parametrize("call", ["write_atomic", "publish_folder"])
def test_a_full_disk_accepts_nothing(directory: DirectoryRunStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fails(path: Path, *_: object, **__: object) -> None:
        raise durable.translate(OSError(errno.ENOSPC, "No space left on device"), "write", path)

    monkeypatch.setattr(durable, call, fails)
    with pytest.raises(Unavailable) as caught:
        directory.create(make_plan(), make_manifest())
    assert caught.value.code == durable.STORAGE_FULL
    assert os.listdir(directory.runs) == []


def test_a_run_that_was_refused_for_a_failed_sync_does_not_exist(
    directory: DirectoryRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.make_folder(directory.runs)
    really = durable.sync_folder

    def fails_on_runs(path: Path) -> None:
        if path == directory.runs:
            raise OSError(errno.EIO, "Input/output error")
        really(path)

    monkeypatch.setattr(durable, "sync_folder", fails_on_runs)
    with pytest.raises(FetchmlError):
        directory.create(make_plan(), make_manifest())
    assert not directory.exists(RUN_ID)


def test_what_a_killed_create_left_is_no_run(directory: DirectoryRunStore) -> None:
    (directory.runs / f"{durable.TEMPORARY_PREFIX}0123-{RUN_ID}").mkdir(parents=True)
    assert directory.run_ids() == []
    directory.create(make_plan(), make_manifest())
    assert directory.run_ids() == [RUN_ID]


def test_a_plan_can_only_be_read(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    assert directory.folder(RUN_ID).plan.stat().st_mode & 0o777 == 0o444


# Changing


def test_a_change_is_stored_and_returned(store: RunStore, run: str) -> None:
    after = store.update(run, begun)
    assert after.status == Preparing(since=MOMENT, attempt=1, host="here")
    assert store.read_manifest(run) == after


def test_a_change_that_raises_writes_nothing(store: RunStore, run: str) -> None:
    before = store.read_manifest(run)

    def change(manifest: RunManifest) -> RunManifest:
        raise KeyError(manifest.identity.run_id)

    with pytest.raises(KeyError):
        store.update(run, change)
    assert store.read_manifest(run) == before
    assert store.update(run, begun)  # and the lock is free again


def test_a_step_the_life_cycle_lacks_is_refused(store: RunStore, run: str) -> None:
    store.update(run, ended)
    with pytest.raises(Conflict):
        store.update(run, begun)
    assert store.read_manifest(run).status.state == "cancelled"


def test_of_many_changes_none_is_lost(store: RunStore, run: str) -> None:
    def write(number: int) -> None:
        for step in range(10):
            store.update(run, noted(f"{number}-{step}"))

    in_threads(8, write)
    notes = [item.note for item in store.read_manifest(run).annotations]
    assert sorted(notes) == sorted(f"{number}-{step}" for number in range(8) for step in range(10))


def test_of_the_changes_of_many_processes_none_is_lost(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    program = """
from pathlib import Path
from fetchml.models.manifest import Annotation
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import MOMENT

number, root, run_id = sys.argv[1:]
store = DirectoryRunStore(Path(root))
gate()
for step in range(10):
    note = Annotation(timestamp=MOMENT, note=f"{number}-{step}")
    store.update(run_id, lambda m: m.with_sections(annotations=(*m.annotations, note)))
"""
    in_processes(4, program, directory.root, RUN_ID)
    notes = [item.note for item in directory.read_manifest(RUN_ID).annotations]
    assert sorted(notes) == sorted(f"{number}-{step}" for number in range(4) for step in range(10))


def test_readers_see_the_old_or_the_new_manifest_and_never_a_part(store: RunStore, run: str) -> None:
    texts = ["x" * 50_000, "y" * 10]

    def read_or_write(number: int) -> None:
        for step in range(40):
            if number == 0:
                store.update(run, lambda m, text=texts[step % 2]: m.with_sections(narrative=Narrative(context=text)))
            else:
                assert store.read_manifest(run).narrative.context in (None, *texts)

    in_threads(4, read_or_write)


def test_a_sealed_manifest_is_read_only_and_stays_so_when_edited(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    directory.update(RUN_ID, ended)
    directory.update(RUN_ID, noted("looked at it again"))
    assert directory.folder(RUN_ID).manifest.stat().st_mode & 0o777 == 0o444
    directory.read_manifest(RUN_ID).check_seal()


def test_a_note_on_a_record_of_an_older_version_changes_nothing_else_in_it(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    directory.update(RUN_ID, ended)
    file = directory.folder(RUN_ID).manifest
    # A field that came later: the old record, and so what was sealed, is without it.
    old = json.loads(file.read_bytes())
    del old["warnings"]
    old["seal"]["digest"] = directory.read_manifest(RUN_ID).sealed_digest(old)
    file.chmod(0o644)
    file.write_text(json.dumps(old))
    edited = directory.update(RUN_ID, noted("looked at it again"))
    new = json.loads(file.read_bytes())
    edited.check_seal(new)
    assert {name for name in new if new[name] != old.get(name)} <= EDITABLE_SECTIONS


def test_a_change_that_changes_nothing_writes_nothing(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    before = directory.folder(RUN_ID).manifest.stat()
    directory.update(RUN_ID, lambda manifest: manifest)
    assert directory.folder(RUN_ID).manifest.stat().st_ino == before.st_ino


# Claims


def test_a_claim_is_taken_once(store: RunStore, run: str) -> None:
    first, second = make_claim(worker="one"), make_claim(worker="two")
    assert store.read_claim(run, 1) is None
    assert store.claim(first)
    assert not store.claim(second)
    assert store.read_claim(run, 1) == first


def test_each_attempt_has_its_own_claim(store: RunStore, run: str) -> None:
    assert store.claim(make_claim(attempt=1))
    assert store.claim(make_claim(attempt=2))
    assert store.read_claim(run, 3) is None


def test_a_claim_repeated_by_its_owner_was_taken_already(store: RunStore, run: str) -> None:
    claim = make_claim()
    assert store.claim(claim)
    assert not store.claim(claim)


def test_of_many_threads_that_claim_one_wins(store: RunStore, run: str) -> None:
    won = in_threads(16, lambda number: store.claim(make_claim(worker=str(number))))
    assert won.count(True) == 1
    claim = store.read_claim(run, 1)
    assert claim is not None
    assert claim.worker == str(won.index(True))


def test_of_many_processes_that_claim_one_wins(directory: DirectoryRunStore) -> None:
    for run_id in (RUN_ID, OTHER_ID):
        directory.create(make_plan(), make_manifest(run_id=run_id))
    program = """
from pathlib import Path
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import make_claim

number, root, *run_ids = sys.argv[1:]
store = DirectoryRunStore(Path(root))
claims = [make_claim(run_id, attempt, worker=number) for run_id in run_ids for attempt in (1, 2, 3, 4, 5)]
gate()
print(*[claim.attempt for claim in claims if store.claim(claim)])
"""
    won = " ".join(in_processes(8, program, directory.root, RUN_ID, OTHER_ID)).split()
    assert sorted(won) == sorted([*"12345"] * 2)


def test_the_token_of_a_claim_is_for_its_owner_only(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    directory.claim(make_claim())
    assert directory.folder(RUN_ID).attempt(1).claim.stat().st_mode & 0o777 == 0o600


# Cancelling


def test_the_first_request_to_stop_counts(store: RunStore, run: str) -> None:
    assert store.read_cancel(run) is None
    assert store.request_cancel(run, cancel("ada"))
    assert not store.request_cancel(run, cancel("bob"))
    assert store.read_cancel(run) == cancel("ada")


def test_of_many_requests_to_stop_one_is_the_first(store: RunStore, run: str) -> None:
    first = in_threads(16, lambda number: store.request_cancel(run, cancel(str(number))))
    assert first.count(True) == 1
    assert store.read_cancel(run) == cancel(str(first.index(True)))


def test_a_request_to_stop_that_is_repeated_is_not_the_first(store: RunStore, run: str) -> None:
    again = cancel()
    assert store.request_cancel(run, again)
    assert not store.request_cancel(run, again)


def test_a_run_that_has_ended_cannot_be_stopped(store: RunStore, run: str) -> None:
    store.update(run, ended)
    with pytest.raises(Conflict) as caught:
        store.request_cancel(run, cancel())
    assert caught.value.code == "already-ended"
    assert store.read_cancel(run) is None


def test_a_run_ends_before_a_request_to_stop_or_after_it(store: RunStore, run: str) -> None:
    """Whoever is second sees what the first did."""

    def either(number: int) -> bool:
        if number == 0:
            return store.update(run, ended).seal is not None
        with suppress(Conflict):
            return store.request_cancel(run, cancel())
        return False

    _, asked = in_threads(2, either)
    assert (store.read_cancel(run) is not None) == asked


# What is not there, and what is damaged


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.read_plan(RUN_ID),
        lambda store: store.read_manifest(RUN_ID),
        lambda store: store.update(RUN_ID, begun),
        lambda store: store.claim(make_claim()),
        lambda store: store.request_cancel(RUN_ID, cancel()),
    ],
    ids=["read_plan", "read_manifest", "update", "claim", "request_cancel"],
)
def test_a_run_that_is_not_there_is_not_found(store: RunStore, call: Callable[[RunStore], object]) -> None:
    with pytest.raises(NotFound) as caught:
        call(store)
    assert caught.value.code == "no-such-run"
    assert not store.folder(RUN_ID).path.exists()


def test_a_run_that_is_not_there_has_neither_claim_nor_request(store: RunStore) -> None:
    assert store.read_claim(RUN_ID, 1) is None
    assert store.read_cancel(RUN_ID) is None


@pytest.mark.parametrize("text", NO_IDS, ids=lambda text: repr(text)[:30])
def test_what_is_no_id_names_no_run(store: RunStore, text: str) -> None:
    assert not store.exists(text)
    for call in (
        store.folder,
        store.read_plan,
        store.read_manifest,
        store.read_cancel,
        lambda run_id: store.read_claim(run_id, 1),
        lambda run_id: store.update(run_id, begun),
        lambda run_id: store.request_cancel(run_id, cancel()),
        lambda run_id: store.claim(make_claim(run_id)),
    ):
        with pytest.raises(NotFound):
            call(text)


DAMAGE = {
    "empty": b"",
    "zeros": bytes(4096),
    "not JSON": b"hello\n",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "not UTF-8": b'{"schema_version": "\xff"}',
    "of a later version": b'{"schema_version": 99}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_corrupt_and_named(directory: DirectoryRunStore, content: bytes) -> None:
    directory.create(make_plan(), make_manifest())
    directory.claim(make_claim())
    directory.request_cancel(RUN_ID, cancel())
    folder = directory.folder(RUN_ID)
    for path, read in (
        (folder.plan, directory.read_plan),
        (folder.manifest, directory.read_manifest),
        (folder.cancel, directory.read_cancel),
        (folder.attempt(1).claim, lambda run_id: directory.read_claim(run_id, 1)),
    ):
        path.chmod(0o644)
        path.write_bytes(content)
        with pytest.raises(Corrupt) as caught:
            read(RUN_ID)
        assert caught.value.code == "record-damaged"
        assert path.name in caught.value.summary


def test_every_manifest_that_was_cut_short_is_corrupt(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    path = directory.folder(RUN_ID).manifest
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        with pytest.raises(Corrupt):
            directory.read_manifest(RUN_ID)


def test_an_unknown_field_is_corrupt(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    path = directory.folder(RUN_ID).manifest
    path.write_bytes(path.read_bytes().replace(b"{", b'{"extra": 1,', 1))
    with pytest.raises(Corrupt):
        directory.read_manifest(RUN_ID)


def test_a_damaged_manifest_is_not_overwritten(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    path = directory.folder(RUN_ID).manifest
    path.write_bytes(b"damaged")
    with pytest.raises(Corrupt):
        directory.update(RUN_ID, begun)
    assert path.read_bytes() == b"damaged"


def test_a_run_whose_plan_is_gone_is_corrupt(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    directory.folder(RUN_ID).plan.unlink()
    with pytest.raises(Corrupt):
        directory.read_plan(RUN_ID)


def test_a_folder_in_place_of_a_file_is_corrupt(directory: DirectoryRunStore) -> None:
    directory.create(make_plan(), make_manifest())
    directory.folder(RUN_ID).plan.unlink()
    directory.folder(RUN_ID).plan.mkdir()
    with pytest.raises(Corrupt):
        directory.read_plan(RUN_ID)


# Both stores, driven alike

IDS = st.sampled_from([RUN_ID, OTHER_ID, "2027-01-01_aaaaaa", "no-id"])
ATTEMPTS = st.integers(1, 2)


class BothStores(RuleBasedStateMachine):
    """Does the same with both stores and expects the same answers."""

    def __init__(self) -> None:
        super().__init__()
        self._files = TemporaryDirectory()
        self._directory = DirectoryRunStore(Path(self._files.name))
        self._memory = MemoryRunStore()
        self._calls = 0

    def teardown(self) -> None:
        self._files.cleanup()

    def same(self, call: Callable[[RunStore], object]) -> None:
        """Calls both and compares what they return or raise."""
        assert _outcome(call, self._directory) == _outcome(call, self._memory)

    def text(self) -> str:
        """A text that no other call used."""
        self._calls += 1
        return str(self._calls)

    @rule(run_id=IDS)
    def create(self, run_id: str) -> None:
        plan = make_plan(env={"CALL": self.text()})
        manifest = make_manifest(plan, run_id)
        if run_id != "no-id":
            self.same(lambda store: store.create(plan, manifest))

    @rule(run_id=IDS, change=st.sampled_from([begun, ended]))
    def step(self, run_id: str, change: Callable[[RunManifest], RunManifest]) -> None:
        self.same(lambda store: store.update(run_id, change))

    @rule(run_id=IDS)
    def note(self, run_id: str) -> None:
        change = noted(self.text())
        self.same(lambda store: store.update(run_id, change))

    @rule(run_id=IDS)
    def edit_what_is_sealed(self, run_id: str) -> None:
        warning = self.text()
        self.same(lambda store: store.update(run_id, lambda m: m.with_sections(warnings=(*m.warnings, warning))))

    @rule(run_id=IDS, attempt=ATTEMPTS)
    def claim(self, run_id: str, attempt: int) -> None:
        worker = self.text()
        self.same(lambda store: store.claim(make_claim(run_id, attempt, worker=worker)))

    @rule(run_id=IDS)
    def request_cancel(self, run_id: str) -> None:
        by = self.text()
        later = MOMENT + timedelta(seconds=self._calls)
        self.same(lambda store: store.request_cancel(run_id, CancelRequest(by=by, at=later)))

    @rule(run_id=IDS, attempt=ATTEMPTS)
    def read(self, run_id: str, attempt: int) -> None:
        for call in (
            lambda store: store.exists(run_id),
            lambda store: store.read_plan(run_id),
            lambda store: store.read_manifest(run_id),
            lambda store: store.read_claim(run_id, attempt),
            lambda store: store.read_cancel(run_id),
        ):
            self.same(call)

    @invariant()
    def lists_agree(self) -> None:
        assert self._directory.run_ids() == self._memory.run_ids()


def _outcome(call: Callable[[RunStore], object], store: RunStore) -> object:
    try:
        return call(store)
    except FetchmlError as error:
        return type(error), error.code, error.summary


TestBothStores = BothStores.TestCase
TestBothStores.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_store_in_memory_ends_in_silence() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        MemoryRunStore()
        gc.collect()
    assert seen == []


def test_a_plan_outlives_its_store(directory: DirectoryRunStore) -> None:
    plan: Plan = make_plan(env={"NAME": "Ada Lovelace", "LANG": "καλημέρα"})
    directory.create(plan, make_manifest(plan))
    assert DirectoryRunStore(directory.root).read_plan(RUN_ID).sha256 == plan.sha256
