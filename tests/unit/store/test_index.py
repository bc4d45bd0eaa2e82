"""The index: a cache of the run folders that may be deleted, damaged or stale at any moment."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from contract.racing import in_processes, in_threads
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.status import Cancelled, EndReason, Preparing
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.index import RunIndex, RunRow
from fetchml.testing.builders import MOMENT, RUN_ID, make_manifest, make_plan

IDS = ("2026-11-20_aaaaaa", "2026-11-20_bbbbbb", "2026-11-20_cccccc")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryRunStore:
    return DirectoryRunStore(tmp_path / "store")


@pytest.fixture
def index(store: DirectoryRunStore) -> RunIndex:
    return RunIndex(store.root)


def add(store: DirectoryRunStore, run_id: str, minutes: int = 0, **identity: object) -> None:
    """Queues a run, some minutes after `MOMENT`."""
    at = MOMENT + timedelta(minutes=minutes)
    manifest = make_manifest(run_id=run_id)
    manifest = manifest.with_sections(
        identity=manifest.identity.model_copy(update=identity),
        status=manifest.status.model_copy(update={"since": at}),
        times=manifest.times.model_copy(update={"queued_at": at}),
    )
    store.create(make_plan(), manifest)


@pytest.fixture
def three(store: DirectoryRunStore) -> None:
    for minutes, run_id in enumerate(IDS):
        add(store, run_id, minutes)


def begin(manifest: RunManifest) -> RunManifest:
    return manifest.with_status(Preparing(since=MOMENT, attempt=1, host="here"))


def cancel(manifest: RunManifest) -> RunManifest:
    status = Cancelled(started_at=None, ended_at=MOMENT, attempt=None, exit_code=None, by="ada")
    diagnosis = Diagnosis(category=EndReason.CANCELLED, summary="cancelled by ada")
    return manifest.with_status(status, diagnosis=diagnosis).sealed(MOMENT)


def states(index: RunIndex) -> dict[str, str]:
    return {row.run_id: row.state for row in index.rows()}


QUEUED = dict.fromkeys(reversed(IDS), "queued")


def test_a_store_that_is_not_there_has_no_rows(index: RunIndex, store: DirectoryRunStore) -> None:
    assert index.rows() == []
    assert index.unfinished() == []
    assert not store.root.exists()


def test_a_row_says_what_lists_show(index: RunIndex, store: DirectoryRunStore) -> None:
    add(store, RUN_ID, name="n\u00e4me", group="g", tags=("a", "b"), priority=7, user="bob")
    (row,) = index.rows()
    assert row == RunRow(
        run_id=RUN_ID,
        stamp=row.stamp,
        name="n\u00e4me",
        state="queued",
        user="bob",
        priority=7,
        queued_at="2026-11-20T12:00:00Z",
        started_at=None,
        ended_at=None,
        end_reason=None,
        exit_code=None,
        engine=None,
        host=None,
        group="g",
        tags='["a", "b"]',
        command='["python", "train.py", "--lr", "0.1"]',
        gpus=0.0,
    )


@pytest.mark.usefixtures("three")
def test_rows_are_the_latest_first_and_the_unfinished_the_earliest(index: RunIndex, store: DirectoryRunStore) -> None:
    store.update(IDS[1], cancel)
    assert [row.run_id for row in index.rows()] == list(reversed(IDS))
    assert [row.run_id for row in index.unfinished()] == [IDS[0], IDS[2]]


def test_runs_of_one_moment_are_ordered_by_id(index: RunIndex, store: DirectoryRunStore) -> None:
    for run_id in IDS:
        add(store, run_id)
    assert [row.run_id for row in index.rows()] == list(reversed(IDS))


# It follows the folders


@pytest.mark.usefixtures("three")
def test_a_change_of_a_run_is_seen_by_every_reader(index: RunIndex, store: DirectoryRunStore) -> None:
    other = RunIndex(store.root)
    assert states(index) == states(other) == QUEUED
    store.update(IDS[0], begin)
    assert states(index) == states(other) == {**QUEUED, IDS[0]: "preparing"}
    store.update(IDS[1], cancel)
    assert states(other) == states(index) == {**QUEUED, IDS[0]: "preparing", IDS[1]: "cancelled"}
    (row,) = (row for row in index.rows() if row.run_id == IDS[1])
    assert (row.is_final, row.end_reason, row.ended_at) == (True, "cancelled", "2026-11-20T12:00:00Z")


@pytest.mark.usefixtures("three")
def test_runs_that_come_and_go_are_seen(index: RunIndex, store: DirectoryRunStore) -> None:
    states(index)
    store.folder(IDS[0]).path.rename(store.root / "moved")
    add(store, RUN_ID, 9)
    assert list(states(index)) == [RUN_ID, IDS[2], IDS[1]]
    (store.root / "moved").rename(store.folder(IDS[0]).path)
    assert list(states(index)) == [RUN_ID, *reversed(IDS)]


@pytest.mark.usefixtures("three")
def test_what_is_no_run_is_no_row(index: RunIndex, store: DirectoryRunStore) -> None:
    for name in (".tmp-0123-2026-11-20_k3f9q2", "notes", "2026-11-20_K3F9Q2", "lost+found"):
        (store.runs / name).mkdir()
    assert states(index) == QUEUED


@pytest.mark.usefixtures("three")
def test_a_run_that_lost_its_manifest_is_listed_as_damaged(index: RunIndex, store: DirectoryRunStore) -> None:
    """A folder appears with its manifest in it."""
    (store.runs / RUN_ID).mkdir()
    assert states(index) == {**QUEUED, RUN_ID: "damaged"}


@pytest.mark.usefixtures("three")
def test_an_ended_run_is_not_read_again(index: RunIndex, store: DirectoryRunStore) -> None:
    store.update(IDS[0], cancel)
    first = index.rows()
    store.folder(IDS[0]).manifest.write_text("damaged since")
    assert index.rows() == first


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"{}", b"\xff", b'{"identity": {}}', b'{"identity": 7, "times": 8}'],
)
def test_a_damaged_manifest_is_listed_so_that_someone_looks(
    index: RunIndex, store: DirectoryRunStore, content: bytes
) -> None:
    add(store, IDS[0])
    add(store, IDS[1], 1)
    store.folder(IDS[0]).manifest.write_bytes(content)
    rows = {row.run_id: row for row in index.rows()}
    assert (rows[IDS[0]].state, rows[IDS[0]].name, rows[IDS[1]].state) == ("damaged", "?", "queued")
    assert not rows[IDS[0]].is_final


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        make_manifest(run_id=IDS[0]).model_dump_json().replace('"queued_at":"2026-11-20T12:00:00Z"', '"queued_at":7'),
        make_manifest(run_id=IDS[0]).model_dump_json().replace('"state":"queued"', '"state":["queued"]'),
    ],
    ids=["too deep", "a number for a time", "a list for a state"],
)
def test_one_damaged_manifest_does_not_hide_the_others(
    index: RunIndex, store: DirectoryRunStore, content: bytes | str
) -> None:
    add(store, IDS[0])
    add(store, IDS[1], 1)
    store.folder(IDS[0]).manifest.write_bytes(content.encode() if isinstance(content, str) else content)
    assert states(index) == {IDS[0]: "damaged", IDS[1]: "queued"}


def test_a_damaged_manifest_that_was_mended_is_read_again(index: RunIndex, store: DirectoryRunStore) -> None:
    add(store, RUN_ID)
    path = store.folder(RUN_ID).manifest
    whole = path.read_bytes()
    path.write_bytes(b"{")
    assert states(index) == {RUN_ID: "damaged"}
    path.write_bytes(whole)
    assert states(index) == {RUN_ID: "queued"}


def test_a_manifest_of_another_run_is_damage(index: RunIndex, store: DirectoryRunStore) -> None:
    add(store, IDS[0])
    add(store, IDS[1], 1)
    store.folder(IDS[1]).manifest.write_bytes(store.folder(IDS[0]).manifest.read_bytes())
    assert states(index) == {IDS[0]: "queued", IDS[1]: "damaged"}


# It is a cache


def _delete(file: Path) -> None:
    file.unlink()


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _overwrite(file: Path) -> None:
    file.write_bytes(b"no database " * 1000)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for position in range(4096, len(content)):
        content[position] ^= 0xFF
    file.write_bytes(content)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _execute(statement: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(statement)

    return change


DAMAGES = {
    "deleted": _delete,
    "truncated": _truncate,
    "empty": _empty,
    "no database": _overwrite,
    "flipped bits": _flip,
    "a folder": _folder,
    "another version": _execute("PRAGMA user_version = 99"),
    "no table": _execute("DROP TABLE runs"),
    "a missing column": _execute('ALTER TABLE runs DROP COLUMN "host"'),
    "no rows": _execute("DELETE FROM runs"),
    "a row too many": _execute("INSERT INTO runs (run_id) VALUES ('2026-11-20_zzzzzz')"),
    "old stamps": _execute("UPDATE runs SET stamp = 'old', state = 'running'"),
}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    "damage",
    DAMAGES.values(),
    ids=DAMAGES.keys(),
)
def test_an_index_in_any_state_loses_nothing(
    index: RunIndex, store: DirectoryRunStore, damage: Callable[[Path], None]
) -> None:
    expected = index.rows()
    damage(store.root / "index.sqlite")
    assert index.rows() == expected
    assert index.rows() == expected
    store.update(IDS[0], begin)
    assert states(index) == {**QUEUED, IDS[0]: "preparing"}


@pytest.mark.usefixtures("three")
def test_an_index_of_another_version_is_made_anew(index: RunIndex, store: DirectoryRunStore) -> None:
    index.rows()
    DAMAGES["another version"](store.root / "index.sqlite")
    index.rows()
    with closing(sqlite3.connect(store.root / "index.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (3,)
        assert database.execute("PRAGMA user_version").fetchone() != (99,)


@pytest.mark.usefixtures("three", "mode_bits_count")
def test_a_store_that_can_only_be_read_is_read(index: RunIndex, store: DirectoryRunStore) -> None:
    store.root.chmod(0o555)
    try:
        assert states(index) == states(index) == QUEUED
        assert not (store.root / "index.sqlite").exists()
    finally:
        store.root.chmod(0o755)


@pytest.mark.usefixtures("three")
def test_an_index_that_another_holds_is_not_waited_for(index: RunIndex, store: DirectoryRunStore) -> None:
    index.rows()
    store.update(IDS[0], begin)
    with closing(sqlite3.connect(store.root / "index.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert states(index) == {**QUEUED, IDS[0]: "preparing"}


def test_many_readers_and_writers_at_once_see_everything_in_the_end(store: DirectoryRunStore) -> None:
    ids = [f"2026-11-20_{'abcdefgh'[n] * 6}" for n in range(8)]

    def work(number: int) -> set[str]:
        if number < 4:
            for run_id in ids[2 * number : 2 * number + 2]:
                add(store, run_id)
                store.update(run_id, begin if number % 2 else cancel)
        return set(states(RunIndex(store.root)))

    seen = in_threads(8, work)
    assert all(set(ids[2 * number : 2 * number + 2]) <= seen[number] for number in range(4))
    expected = {run_id: "preparing" if n // 2 % 2 else "cancelled" for n, run_id in enumerate(ids)}
    assert states(RunIndex(store.root)) == expected


@pytest.mark.usefixtures("three")
def test_many_processes_may_build_it(store: DirectoryRunStore) -> None:
    program = """
from pathlib import Path
from fetchml.store.index import RunIndex

index = RunIndex(Path(sys.argv[2]))
gate()
print([row.state for row in index.rows()])
"""
    assert in_processes(4, program, store.root) == ["['queued', 'queued', 'queued']\n"] * 4
    assert states(RunIndex(store.root)) == QUEUED
