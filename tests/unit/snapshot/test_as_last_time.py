"""A project that is as it was is the snapshot it was, and only if every object of that is still there."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchml.errors import FetchmlError
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.capture import Snapshot, capture
from fetchml.snapshot.known import KnownFiles
from unit.snapshot.projects import LIMITS, Write


def tick(folder: Path) -> None:
    """Waits until what is changed now gets another time stamp than what was changed before."""
    probe = folder / "probe"
    probe.touch()
    before = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == before:
        probe.touch()


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders count as if they had been there for a while."""
    monkeypatch.setattr(time, "time_ns", lambda: 2**62)
    monkeypatch.setattr("fetchml.objects.directory._COARSE_S", -1.0)


@pytest.fixture
def known(tmp_path: Path) -> KnownFiles:
    return KnownFiles(tmp_path / "cache")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryObjects:
    return DirectoryObjects(tmp_path / "objects")


Again = Callable[[], Snapshot]


@pytest.fixture
def again(project: Path, store: DirectoryObjects, known: KnownFiles, write: Write, tmp_path: Path) -> Again:
    """Captures a project whose memory is complete: it was captured twice before."""
    write({"a.py": "a", "deep/b.py": "b", "run.sh": "c", "A.py": "twin"})
    (project / "run.sh").chmod(0o755)
    (project / "link").symlink_to("a.py")
    for _ in range(2):
        tick(tmp_path)
        capture(project, store, LIMITS, None, known)
    assert known.open(project).last.seen is not None
    return lambda: capture(project, store, LIMITS, None, known)


def without_memory(project: Path) -> Snapshot:
    return capture(project, MemoryObjects(), LIMITS)


def is_whole(store: DirectoryObjects, snapshot: Snapshot) -> bool:
    """Tells whether every object of a snapshot is there and sound."""
    return store.read(snapshot.commit_id) == snapshot.tree.canonical and all(
        len(store.read(item.sha256)) == item.size_bytes for item in snapshot.tree.files
    )


def test_it_is_the_same_in_every_part(again: Again, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchml.snapshot.capture._unread", None)  # not even asked which files are known
    found, fresh = again(), None
    monkeypatch.undo()
    fresh = without_memory(project)
    assert found == fresh
    assert found.tree == fresh.tree
    assert (found.file_count, found.size_bytes) == (4, 7)
    assert "differ in case" in found.notes[0]


def test_neither_an_object_is_looked_at_nor_a_file_opened(
    again: Again, project: Path, store: DirectoryObjects, known: KnownFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    plain = os.lstat

    def lstat(path: "str | Path") -> os.stat_result:
        looked.append(path)
        return plain(path)

    monkeypatch.setattr(os, "lstat", lstat)
    capture(project, store, LIMITS, None, known)
    monkeypatch.undo()
    names = {os.path.basename(str(path)) for path in looked if str(store.root) in str(path)}
    assert {len(name) for name in names} <= {2, 62}
    assert len([name for name in names if len(name) == 62]) == 1, "the tree"


def remove_a_file(store: DirectoryObjects, snapshot: Snapshot) -> None:
    store.path(snapshot.tree.files[1].sha256).unlink()


def remove_the_tree(store: DirectoryObjects, snapshot: Snapshot) -> None:
    store.path(snapshot.commit_id).unlink()


def remove_a_group(store: DirectoryObjects, snapshot: Snapshot) -> None:
    shutil.rmtree(store.path(snapshot.tree.files[0].sha256).parent)


def remove_all(store: DirectoryObjects, _: Snapshot) -> None:
    shutil.rmtree(store.root)


def damage_a_file(store: DirectoryObjects, snapshot: Snapshot) -> None:
    path = store.path(snapshot.tree.files[0].sha256)
    path.chmod(0o644)
    path.write_bytes(b"x")
    path.chmod(0o444)
    with pytest.raises(FetchmlError):
        store.read(snapshot.tree.files[0].sha256)


def damage_the_tree(store: DirectoryObjects, snapshot: Snapshot) -> None:
    path = store.path(snapshot.commit_id)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    path.chmod(0o444)


def replace_a_group(store: DirectoryObjects, snapshot: Snapshot) -> None:
    """Puts a folder in its place that is as old."""
    folder = store.path(snapshot.tree.files[0].sha256).parent
    status = folder.stat()
    folder.rename(store.root / "away")
    folder.mkdir()
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


def set_the_time_back(store: DirectoryObjects, snapshot: Snapshot) -> None:
    folder = store.path(snapshot.tree.files[0].sha256).parent
    status = folder.stat()
    store.path(snapshot.tree.files[0].sha256).unlink()
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


HARM = [
    remove_a_file,
    remove_the_tree,
    remove_a_group,
    remove_all,
    damage_a_file,
    damage_the_tree,
    replace_a_group,
    set_the_time_back,
]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_what_happened_to_the_store_is_mended(
    again: Again,
    project: Path,
    store: DirectoryObjects,
    tmp_path: Path,
    harm: Callable[[DirectoryObjects, Snapshot], None],
) -> None:
    snapshot = without_memory(project)
    tick(tmp_path)
    harm(store, snapshot)
    assert again() == snapshot
    assert is_whole(store, snapshot)
    assert again() == snapshot


def test_another_store_is_asked_for_everything(again: Again, project: Path, known: KnownFiles, tmp_path: Path) -> None:
    again()
    other = DirectoryObjects(tmp_path / "other")
    snapshot = capture(project, other, LIMITS, None, known)
    assert is_whole(other, snapshot)
    bucket = MemoryObjects()
    assert capture(project, bucket, LIMITS, None, known) == snapshot
    assert all(bucket.has(item.sha256) for item in snapshot.tree.files)


_names = st.sampled_from(["a.py", "A.py", "d/b.py", "d/e/c.sh", ".gitignore", "x.log"])
_contents = st.sampled_from(["one", "two", "*.log\n", "d/\n", ""])
_steps = st.one_of(
    st.tuples(st.just("write"), _names, _contents),
    st.tuples(st.just("remove"), _names),
    st.tuples(st.just("mode"), _names),
    st.tuples(st.just("link"), st.sampled_from(["l", "d/l"]), st.sampled_from(["a.py", "../a.py", "none"])),
    st.tuples(st.just("capture")),
    st.tuples(st.just("prune"), st.integers(0, 9)),
    st.tuples(st.just("damage"), st.integers(0, 9)),
    st.tuples(st.just("forget")),
)


def _edit(project: Path, step: tuple[object, ...]) -> None:
    path = project / str(step[1])
    if step[0] == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(step[2]))
    elif step[0] == "remove":
        path.unlink(missing_ok=True)
    elif step[0] == "mode" and path.exists():
        path.chmod(path.stat().st_mode ^ 0o100)
    elif step[0] == "link":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(str(step[2]) if step[1] == "d/l" else str(step[2]).removeprefix("../"))


@settings(max_examples=60, deadline=None)
@given(st.lists(_steps, max_size=12))
def test_memory_changes_nothing_but_the_time_it_takes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    root = tmp_path_factory.mktemp("model")
    project, store, known = root / "project", DirectoryObjects(root / "objects"), KnownFiles(root / "cache")
    project.mkdir()
    for step in (*steps, ("capture",), ("capture",), ("capture",)):
        tick(root)
        stored = sorted(store.digests())
        match step:
            case ("capture",):
                snapshot = capture(project, store, LIMITS, None, known)
                fresh = without_memory(project)
                assert snapshot == fresh
                assert snapshot.tree == fresh.tree
                assert (snapshot.file_count, snapshot.size_bytes) == (fresh.file_count, fresh.size_bytes)
                assert is_whole(store, snapshot)
            case ("prune", int(number)) if stored:
                store.path(stored[number % len(stored)]).unlink()
            case ("damage", int(number)) if stored:
                path = store.path(stored[number % len(stored)])
                path.chmod(0o644)
                path.write_bytes(path.read_bytes()[:-1] + b"!")
                path.chmod(0o444)
                with pytest.raises(FetchmlError):
                    store.read(stored[number % len(stored)])
            case ("forget",):
                shutil.rmtree(known.folder, ignore_errors=True)
            case ("prune" | "damage", _):
                pass
            case _:
                _edit(project, step)
