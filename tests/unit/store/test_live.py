"""The rows in memory: what a look finds is what the index would, whatever has happened in between."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.status import Cancelled, EndReason, Preparing
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.index import RunIndex
from fetchml.store.live import LiveRuns
from fetchml.testing.builders import MOMENT, make_manifest, make_plan

IDS = tuple(f"2026-11-20_{letter * 6}" for letter in "abcdef")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryRunStore:
    return DirectoryRunStore(tmp_path / "store")


def add(store: DirectoryRunStore, number: int) -> None:
    at = MOMENT + timedelta(minutes=number)
    manifest = make_manifest(run_id=IDS[number])
    times = manifest.times.model_copy(update={"queued_at": at})
    store.create(make_plan(), manifest.with_sections(times=times))


def begin(manifest: RunManifest) -> RunManifest:
    return manifest.with_status(Preparing(since=MOMENT, attempt=1, host="here"))


def cancel(manifest: RunManifest) -> RunManifest:
    status = Cancelled(started_at=None, ended_at=MOMENT, attempt=None, exit_code=None, by="ada")
    diagnosis = Diagnosis(category=EndReason.CANCELLED, summary="cancelled by ada")
    return manifest.with_status(status, diagnosis=diagnosis).sealed(MOMENT)


def test_the_first_look_finds_all_and_the_next_what_has_changed(store: DirectoryRunStore) -> None:
    for number in range(3):
        add(store, number)
    store.update(IDS[2], cancel)
    live = LiveRuns(store.root)
    first = live.look()
    assert ([row.run_id for row in first.unfinished], [row.run_id for row in first.ended]) == ([*IDS[:2]], [IDS[2]])
    store.update(IDS[0], begin)
    store.update(IDS[1], cancel)
    add(store, 3)
    second = live.look()
    assert [(row.run_id, row.state) for row in second.unfinished] == [(IDS[0], "preparing"), (IDS[3], "queued")]
    assert [row.run_id for row in second.ended] == [IDS[1]]
    assert live.look().ended == ()


def test_a_store_without_a_run_is_empty_until_there_is_one(store: DirectoryRunStore) -> None:
    live = LiveRuns(store.root)
    assert live.look().unfinished == ()
    add(store, 0)
    assert [row.run_id for row in live.look().unfinished] == [IDS[0]]


def test_a_run_whose_record_was_lost_is_shown_as_damaged(store: DirectoryRunStore) -> None:
    add(store, 0)
    live = LiveRuns(store.root)
    live.look()
    store.folder(IDS[0]).manifest.unlink()
    assert [row.state for row in live.look().unfinished] == ["damaged"]


STEPS = st.lists(st.tuples(st.sampled_from(["add", "begin", "cancel", "remove", "look"]), st.integers(0, 5)))


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_a_look_finds_what_the_index_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    root = tmp_path_factory.mktemp("live")
    store = DirectoryRunStore(root)
    live, told = LiveRuns(root), set[str]()
    for what, number in steps:
        run_id = IDS[number]
        if what == "look":
            told |= {row.run_id for row in live.look().ended}
        elif what == "add" and not store.exists(run_id):
            add(store, number)
        elif store.exists(run_id) and what == "remove":
            shutil.rmtree(store.folder(run_id).path)
        elif store.exists(run_id) and store.read_manifest(run_id).status.state == "queued":
            store.update(run_id, {"begin": begin, "cancel": cancel}.get(what, lambda manifest: manifest))
    rows = RunIndex(root).rows()
    found = live.look()
    assert sorted(found.unfinished, key=lambda row: row.run_id) == sorted(
        (row for row in rows if not row.is_final), key=lambda row: row.run_id
    )
    told |= {row.run_id for row in found.ended}
    assert told >= {row.run_id for row in rows if row.is_final}
    shutil.rmtree(root)
