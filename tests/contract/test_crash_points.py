"""Death and disk faults at every system call that changes a file: what is on disk is old or new, never torn."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.striking import DONE, INJECTIONS, Struck, strike
from fetchml.errors import Conflict
from fetchml.objects.directory import DirectoryObjects
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import RUN_ID, make_claim, make_manifest, make_plan

OLD, NEW = b"old" * 10_000, b"new" * 20_000

ACTS = ("replace", "create", "accept", "update", "claim", "store")
PROGRAM = """
from fetchml import durable
from fetchml.models.manifest import Narrative
from fetchml.objects.directory import DirectoryObjects
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import RUN_ID, make_claim, make_manifest, make_plan

NEW = b"new" * 20_000

def replace(folder):
    durable.write_atomic(folder / "file", NEW)

def create(folder):
    durable.create_exclusive(folder / "file", NEW)

def accept(folder):
    DirectoryRunStore(folder).create(make_plan(), make_manifest())

def update(folder):
    narrative = Narrative(context=NEW.decode())
    DirectoryRunStore(folder).update(RUN_ID, lambda manifest: manifest.with_sections(narrative=narrative))

def claim(folder):
    DirectoryRunStore(folder).claim(make_claim())

def store(folder):
    with DirectoryObjects(folder).batch() as batch:
        batch.put_bytes(NEW)
"""


@pytest.fixture(scope="module", params=INJECTIONS)
def struck(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[Struck]]]:
    """Each act, struck at its first, second, ... call, each time in a folder of its own."""
    root = tmp_path_factory.mktemp("struck")
    yield strike(root, request.param, PROGRAM, ACTS, 12, prepare)
    shutil.rmtree(root)


def prepare(act: str, folder: Path) -> None:
    if act == "replace":
        (folder / "file").write_bytes(OLD)
    elif act in ("update", "claim"):
        DirectoryRunStore(folder).create(make_plan(), make_manifest())


def test_a_replaced_file_is_old_or_new(struck: dict[str, list[Struck]]) -> None:
    for one in struck["replace"]:
        found = (one.folder / "file").read_bytes()
        assert found == NEW if one.answer == DONE else found in (OLD, NEW)


def test_a_created_file_is_whole_or_absent(struck: dict[str, list[Struck]]) -> None:
    for one in struck["create"]:
        path = one.folder / "file"
        assert path.exists() or one.answer != DONE
        assert not path.exists() or path.read_bytes() == NEW


def test_a_run_is_whole_or_absent_and_can_be_queued_again(struck: dict[str, list[Struck]]) -> None:
    for one in struck["accept"]:
        store = DirectoryRunStore(one.folder)
        accepted = store.exists(RUN_ID)
        assert accepted or one.answer != DONE
        assert store.run_ids() == ([RUN_ID] if accepted else [])
        if accepted:
            with pytest.raises(Conflict):
                store.create(make_plan(), make_manifest())
        else:
            store.create(make_plan(), make_manifest())
        assert store.read_plan(RUN_ID) == make_plan()
        assert store.read_manifest(RUN_ID) == make_manifest()


def test_a_changed_manifest_is_old_or_new(struck: dict[str, list[Struck]]) -> None:
    for one in struck["update"]:
        found = DirectoryRunStore(one.folder).read_manifest(RUN_ID).narrative.context
        assert found == NEW.decode() if one.answer == DONE else found in (None, NEW.decode())


def test_a_claim_has_one_owner_or_none(struck: dict[str, list[Struck]]) -> None:
    ours, theirs = make_claim(), make_claim(worker="another")
    for one in struck["claim"]:
        store = DirectoryRunStore(one.folder)
        found = store.read_claim(RUN_ID, 1)
        assert found == ours if one.answer == DONE else found in (None, ours)
        assert store.claim(theirs) == (found is None)
        assert store.read_claim(RUN_ID, 1) == (found or theirs)


def test_an_object_is_whole_or_absent_and_can_be_stored_again(struck: dict[str, list[Struck]]) -> None:
    digest = hashlib.sha256(NEW).hexdigest()
    for one in struck["store"]:
        objects = DirectoryObjects(one.folder)
        assert objects.has(digest) or one.answer != DONE
        with objects.batch() as batch:
            batch.put_bytes(NEW)
        assert objects.read(digest) == NEW
