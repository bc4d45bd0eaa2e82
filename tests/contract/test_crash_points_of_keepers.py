"""Death and disk faults in what keeps keys, datasets, seals and objects: old or new, and the next call goes on."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from contract.striking import DONE, INJECTIONS, Struck, strike
from fetchml.config.layers import load
from fetchml.datasets.catalogue import Catalogue
from fetchml.datasets.digest import Digest
from fetchml.diagnosis import EndFacts
from fetchml.errors import Conflict, NotFound
from fetchml.execution.ended import Ended
from fetchml.execution.sealing import seal_run
from fetchml.home import Home
from fetchml.keys.ed25519 import verify
from fetchml.keys.ring import KeyRing
from fetchml.models.dataset import parse_spec
from fetchml.models.manifest import Metadata, RunManifest, seal_message
from fetchml.models.status import Preparing, Running
from fetchml.objects.directory import DirectoryObjects
from fetchml.service.migrate import migrate
from fetchml.service.prune import PruneRequest, prune
from fetchml.snapshot.capture import Limits, capture
from fetchml.snapshot.known import KnownFiles
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import MOMENT, RUN_ID, make_claim, make_manifest, make_plan

LIMITS = Limits(1024 * 1024, 100)
LATER = MOMENT + timedelta(days=1)
KNOWN = {f"file-{number}".encode(): ((1, number, 3, 4, 5), hashlib.sha256(b"x").hexdigest()) for number in range(3)}
KEEPERS = ("make_key", "rotate_key", "add_data", "move_data", "forget_data", "remember")
LONG = ("seal", "remove_unused", "migrate_objects")

PROGRAM = """
import hashlib, time
from concurrent.futures import Future
from datetime import timedelta

from fetchml.config.layers import load
from fetchml.datasets.catalogue import Catalogue
from fetchml.datasets.digest import Digest
from fetchml.diagnosis import EndFacts
from fetchml.execution.ended import Ended
from fetchml.execution.sealing import seal_run
from fetchml.keys import ed25519
from fetchml.keys.ring import KeyRing
from fetchml.models.dataset import parse_spec
from fetchml.service import migrate
from fetchml.service.prune import PruneRequest, prune
from fetchml.snapshot.known import KnownFiles
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import MOMENT, RUN_ID

LATER = MOMENT + timedelta(days=1)
KNOWN = {f"file-{n}".encode(): ((1, n, 3, 4, 5), hashlib.sha256(b"x").hexdigest()) for n in range(3)}

def make_key(folder):
    KeyRing(folder / "keys").create(MOMENT)

def rotate_key(folder):
    KeyRing(folder / "keys").rotate(LATER)

def digest(text):
    return Digest(checksum="sha256:" + hashlib.sha256(text).hexdigest(), listing=text * 9999, size_bytes=1,
                  file_count=1, warnings=(), hashed_count=1)

def add(folder, path, text):
    Catalogue(folder / "data").add("set", path.as_uri(), digest(text), version=None, samples=None, by="ada", now=MOMENT)

def add_data(folder):
    add(folder, Path("/second"), b"second")

def move_data(folder):
    add(folder, Path("/moved"), b"first")

def forget_data(folder):
    catalogue = Catalogue(folder / "data")
    catalogue.remove(catalogue.find(parse_spec("set")))

def remember(folder):
    KnownFiles(folder / "known").save(Path("/project"), KNOWN)

def seal(folder):
    store = DirectoryRunStore(folder / "store")
    end = Ended(facts=EndFacts(exit_code=0), started_at=MOMENT, ended_at=MOMENT)
    seal_run(store, store.folder(RUN_ID), 1, end, lambda: LATER, KeyRing(folder / "keys").signer)

def settings(folder):
    return load({}, environ={"FETCHML_HOME": str(folder / "home"), "HOME": str(folder)}, cwd=folder).settings

def remove_unused(folder):
    prune(settings(folder), PruneRequest(older_than_s=0), now=lambda: time.time() + 1)

class OneAtATime:
    # Calls are counted for each thread.
    def __init__(self, *_):
        pass
    def submit(self, work, *arguments):
        future = Future()
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future
    def shutdown(self, **_):
        pass

migrate.ThreadPoolExecutor = OneAtATime

def migrate_objects(folder):
    if migrate.migrate(settings(folder), str(folder / "target"), None, lambda _: None).damaged:
        raise FetchmlError("damaged")  # exit 7, as the command has it: an error of the disk may be that of an object

# What is imported late is imported here, and not under a fault.
ed25519.make_signer(*ed25519.generate())
"""


def digest(text: bytes) -> Digest:
    return Digest(
        checksum="sha256:" + hashlib.sha256(text).hexdigest(),
        listing=text * 9999,
        size_bytes=1,
        file_count=1,
        warnings=(),
        hashed_count=1,
    )


def add(folder: Path, path: str, text: bytes) -> bool:
    catalogue = Catalogue(folder / "data")
    _, is_new = catalogue.add(
        "set", Path(path).as_uri(), digest(text), version=None, samples=None, by="ada", now=MOMENT
    )
    return is_new


def home_in(folder: Path) -> Home:
    return Home(load({}, environ={"FETCHML_HOME": str(folder / "home"), "HOME": str(folder)}, cwd=folder).settings)


def captured(folder: Path, home: Home, files: dict[str, str]) -> str:
    project = folder / "project"
    project.mkdir()
    for name, text in files.items():
        (project / name).write_text(text)
    commit_id = capture(project, home.objects, LIMITS).commit_id
    shutil.rmtree(project)
    return commit_id


def prepare(act: str, folder: Path) -> None:
    if act in ("rotate_key", "seal"):
        KeyRing(folder / "keys").create(MOMENT)
    if act in ("add_data", "move_data", "forget_data"):
        add(folder, "/first", b"first")
    if act == "remember":
        KnownFiles(folder / "known").save(Path("/project"), {b"old": KNOWN[b"file-0"]})
    if act == "seal":
        prepare_run(folder)
    if act in ("remove_unused", "migrate_objects"):
        home = home_in(folder)
        home.create()
        home.release_reserve()  # it is large, and there are many
        used = captured(folder, home, {"a.py": "a", "both.py": "b"})
        plan = make_plan(snapshot_id=used)
        home.store.create(plan, make_manifest(plan))
        captured(folder, home, {"c.py": "c", "both.py": "b"})


def prepare_run(folder: Path) -> None:
    store = DirectoryRunStore(folder / "store")
    store.create(make_plan(), make_manifest(metadata=Metadata(sign=True)))
    store.claim(make_claim())
    running = Running(started_at=MOMENT, attempt=1, host="here", container="c")
    store.update(RUN_ID, lambda found: found.with_status(Preparing(since=MOMENT, attempt=1, host="here")))
    store.update(RUN_ID, lambda found: found.with_status(running))
    run = store.folder(RUN_ID)
    run.attempt(1).inbox.mkdir()
    run.results.mkdir()
    (run.results / "model").write_text("weights")
    run.attempt(1).output.write_text("FETCHML_METRIC loss=0.5 step=1\n")


@pytest.fixture(scope="module", params=INJECTIONS)
def struck(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[Struck]]]:
    root = tmp_path_factory.mktemp("struck")
    yield {
        **strike(root / "short", request.param, PROGRAM, KEEPERS, 12, prepare),
        **strike(root / "long", request.param, PROGRAM, LONG, 30, prepare),
    }
    shutil.rmtree(root)  # it has a home, with the space that it keeps back, for each point


def test_a_first_key_is_whole_or_absent_and_never_open_to_others(struck: dict[str, list[Struck]]) -> None:
    for one in struck["make_key"]:
        ring = KeyRing(one.folder / "keys")
        made = ring.listed() if ring.root.exists() else []
        assert len(made) == 1 if one.answer == DONE else len(made) <= 1
        assert not any(key.exposed for key in made)
        if made:
            with pytest.raises(Conflict):
                ring.create(LATER)
        else:
            ring.create(LATER)
        assert ring.signer()(b"x")


def test_while_a_key_is_replaced_one_signs_and_what_it_signed_before_is_known(struck: dict[str, list[Struck]]) -> None:
    for one in struck["rotate_key"]:
        ring = KeyRing(one.folder / "keys")
        keys = ring.listed()
        assert len(keys) == 2 if one.answer == DONE else len(keys) in (1, 2)
        assert ring.signer()(b"x").key_id == keys[-1].key_id
        before = keys[0].public_key
        assert before in ring.trust().own
        if one.answer == DONE:
            assert ring.trust().own[before] is not None
        ring.rotate(LATER + timedelta(days=1))  # retires whatever an unfinished one left able to sign
        retired = [at for key, at in ring.trust().own.items() if key != ring.listed()[-1].public_key]
        assert all(at is not None for at in retired)


def test_a_dataset_is_in_the_catalogue_whole_or_not_at_all(struck: dict[str, list[Struck]]) -> None:
    for one in struck["add_data"]:
        catalogue = Catalogue(one.folder / "data")
        versions = catalogue.versions("set")
        assert [item.uri for item in versions][:1] == ["file:///first"]
        assert len(versions) == 2 if one.answer == DONE else len(versions) in (1, 2)
        assert add(one.folder, "/second", b"second") is (len(versions) == 1)
        latest = catalogue.find(parse_spec("set"))
        assert (latest.uri, catalogue.listing(latest)) == ("file:///second", b"second" * 9999)
        assert len(catalogue.versions("set")) == 2


def test_a_dataset_that_moves_is_at_the_old_or_the_new_place(struck: dict[str, list[Struck]]) -> None:
    for one in struck["move_data"]:
        (found,) = Catalogue(one.folder / "data").versions("set")
        assert found.uri == "file:///moved" if one.answer == DONE else found.uri in ("file:///first", "file:///moved")


def test_a_dataset_that_is_forgotten_is_there_or_gone_and_can_be_added_again(struck: dict[str, list[Struck]]) -> None:
    for one in struck["forget_data"]:
        catalogue = Catalogue(one.folder / "data")
        known = catalogue.versions("set")
        if one.answer == DONE:
            with pytest.raises(NotFound):
                catalogue.find(parse_spec("set"))
        assert len(known) <= 1
        add(one.folder, "/first", b"first")
        found = catalogue.find(parse_spec("set"))
        assert catalogue.listing(found) == b"first" * 9999


def test_what_is_remembered_of_files_is_old_or_new(struck: dict[str, list[Struck]]) -> None:
    for one in struck["remember"]:
        found = KnownFiles(one.folder / "known").load(Path("/project"))
        assert found in ({b"old": KNOWN[b"file-0"]}, KNOWN)


def sealed(folder: Path) -> RunManifest:
    store = DirectoryRunStore(folder / "store")
    end = Ended(facts=EndFacts(exit_code=0), started_at=MOMENT, ended_at=MOMENT)
    return seal_run(store, store.folder(RUN_ID), 1, end, lambda: LATER, KeyRing(folder / "keys").signer)


def test_a_signed_record_is_whole_or_not_there_and_the_next_driver_ends_it(struck: dict[str, list[Struck]]) -> None:
    for one in struck["seal"]:
        store = DirectoryRunStore(one.folder / "store")
        before = store.read_manifest(RUN_ID)
        assert before.seal is not None or one.answer != DONE
        before.check_seal()
        manifest = sealed(one.folder)
        manifest.check_seal()
        assert before.seal in (None, manifest.seal)
        assert manifest.seal is not None
        assert manifest.seal.public_key is not None
        assert manifest.seal.signature is not None
        assert verify(manifest.seal.public_key, seal_message(manifest.seal.digest), manifest.seal.signature)
        assert manifest.artifacts is not None
        # What cannot be protected is not vouched for: it, or the folder, is named with the reason.
        assert {item.path for item in (*manifest.artifacts.files, *manifest.artifacts.exclusions)} & {"model", "."}
        assert manifest.artifacts.files or one.folder.name.startswith(("fchmod", "chmod", "fsync")), one.folder
        assert manifest.metrics["loss"].last == 0.5


def test_a_pruning_that_dies_has_removed_nothing_a_run_needs_and_can_go_on(struck: dict[str, list[Struck]]) -> None:
    for one in struck["remove_unused"]:
        home = home_in(one.folder)
        plan = home.store.read_plan(RUN_ID)
        laid_out = home.snapshots.ensure(plan.snapshot_id)  # reads and checks every byte
        assert sorted(os.listdir(laid_out)) == ["a.py", "both.py"]
        if one.answer == DONE:
            assert len(list(home.objects.digests())) == 3
        prune(home.settings, PruneRequest(older_than_s=0), now=lambda: MOMENT.timestamp() + 10**9)
        assert len(list(home.objects.digests())) == 3
        home.snapshots.ensure(plan.snapshot_id)


def test_a_migration_that_dies_leaves_whole_objects_and_goes_on(struck: dict[str, list[Struck]]) -> None:
    for one in struck["migrate_objects"]:
        home = home_in(one.folder)
        source, target = home.objects, DirectoryObjects(one.folder / "target")
        for digest_ in target.digests() if target.root.exists() else ():
            assert hashlib.sha256(target.read(digest_)).hexdigest() == digest_
        if one.answer == DONE:
            assert set(target.digests()) == set(source.digests())
        done = migrate(home.settings, str(target.root), None, lambda _: None)
        assert done.damaged == ()
        assert set(target.digests()) == set(source.digests())
        assert all(target.read(item) == source.read(item) for item in source.digests())
