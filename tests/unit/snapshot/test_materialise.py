"""Laying a snapshot out: exactly what was captured, read-only, verified every time, shared by everyone."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.racing import in_processes, in_threads
from fetchml.durable import TEMPORARY_PREFIX
from fetchml.errors import Corrupt, NotFound
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.capture import Snapshot, capture
from fetchml.snapshot.materialise import SnapshotCache, remove_tree
from fetchml.snapshot.tree import Entry, FileEntry, LinkEntry, make_tree
from unit.snapshot.projects import LIMITS, Capture, Write


@pytest.fixture
def cache(tmp_path: Path, objects: MemoryObjects) -> SnapshotCache:
    return SnapshotCache(tmp_path / "snapshots", objects)


@pytest.fixture
def snapshot(project: Path, write: Write, captured: Capture) -> Snapshot:
    """A project with a bit of everything."""
    write({"a.py": "a", "run.sh": "run", "sub/deep/b.py": "b", "empty": ""})
    (project / "run.sh").chmod(0o755)
    (project / "link").symlink_to("sub")
    (project / "sub" / "up").symlink_to("../a.py")
    Path(project, os.fsdecode(b"odd\xff\n")).write_bytes(b"odd")
    return captured()


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What is in a folder: mode and content or target, by path."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[str(path.relative_to(folder))] = (0, os.readlink(os.fsencode(path)))
        else:
            found[str(path.relative_to(folder))] = (mode, b"" if path.is_dir() else path.read_bytes())
    return found


WHOLE = {
    "a.py": (0o444, b"a"),
    "empty": (0o444, b""),
    "link": (0, b"sub"),
    "odd\udcff\n": (0o444, b"odd"),
    "run.sh": (0o555, b"run"),
    "sub": (0o555, b""),
    "sub/deep": (0o555, b""),
    "sub/deep/b.py": (0o444, b"b"),
    "sub/up": (0, b"../a.py"),
}


def test_a_snapshot_is_laid_out_as_it_was_captured(cache: SnapshotCache, snapshot: Snapshot) -> None:
    folder = cache.ensure(snapshot.commit_id)
    assert folder == cache.root / snapshot.commit_id
    assert contents(folder) == WHOLE
    assert stat.S_IMODE(folder.stat().st_mode) == 0o555
    assert os.listdir(cache.root) == [snapshot.commit_id]


def test_what_is_laid_out_captures_to_the_same_id(cache: SnapshotCache, snapshot: Snapshot) -> None:
    folder = cache.ensure(snapshot.commit_id)
    assert capture(folder, MemoryObjects(), LIMITS) == snapshot


def test_an_empty_snapshot_is_a_folder(cache: SnapshotCache, captured: Capture) -> None:
    assert contents(cache.ensure(captured().commit_id)) == {}


def test_a_snapshot_that_is_there_is_used_again(cache: SnapshotCache, snapshot: Snapshot) -> None:
    inode = (cache.ensure(snapshot.commit_id) / "a.py").stat().st_ino
    assert (cache.ensure(snapshot.commit_id) / "a.py").stat().st_ino == inode


def test_a_snapshot_may_be_as_deep_as_a_tree(
    cache: SnapshotCache, project: Path, captured: Capture, deep_folder: Callable[[Path, str, int], int]
) -> None:
    inner = deep_folder(project, "d", 200)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
    folder = cache.ensure(captured().commit_id)
    assert Path(folder, "d/" * 200, "file").exists()
    assert cache.ensure(captured().commit_id) == folder
    remove_tree(folder)
    assert not folder.exists()


# Damage in the cache


def _edit(folder: Path) -> None:
    (folder / "a.py").chmod(0o644)
    (folder / "a.py").write_text("A")


def _grow(folder: Path) -> None:
    (folder / "empty").chmod(0o644)
    (folder / "empty").write_text("x")


def _remove(folder: Path) -> None:
    (folder / "a.py").unlink()


def _add(folder: Path) -> None:
    (folder / "sub" / "sitecustomize.py").write_text("import os")


def _relink(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("/etc")


def _file_to_link(folder: Path) -> None:
    (folder / "a.py").unlink()
    (folder / "a.py").symlink_to("run.sh")


def _file_to_folder(folder: Path) -> None:
    (folder / "a.py").unlink()
    (folder / "a.py").mkdir()


def _link_to_folder(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").mkdir()


def _not_executable(folder: Path) -> None:
    (folder / "run.sh").chmod(0o444)


def _fifo(folder: Path) -> None:
    (folder / "a.py").unlink()
    os.mkfifo(folder / "a.py")


def _empty_all(folder: Path) -> None:
    remove_tree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        *(_edit, _grow, _remove, _add, _relink, _file_to_link, _file_to_folder, _link_to_folder),
        *(_not_executable, _fifo, _empty_all),
    ],
)
def test_a_damaged_snapshot_is_laid_out_anew(
    cache: SnapshotCache, snapshot: Snapshot, damage: Callable[[Path], None]
) -> None:
    folder = cache.ensure(snapshot.commit_id)
    for path in (folder, folder / "sub"):
        path.chmod(0o755)
    damage(folder)
    for path in (folder, folder / "sub"):
        if path.exists():
            path.chmod(0o555)
    assert contents(cache.ensure(snapshot.commit_id)) == WHOLE
    assert os.listdir(cache.root) == [snapshot.commit_id]


def test_an_added_folder_is_noticed(cache: SnapshotCache, snapshot: Snapshot) -> None:
    """Python takes an empty folder for a namespace package."""
    folder = cache.ensure(snapshot.commit_id)
    folder.chmod(0o755)
    (folder / "numpy").mkdir(mode=0o555)
    folder.chmod(0o555)
    assert contents(cache.ensure(snapshot.commit_id)) == WHOLE


def test_a_file_that_can_be_written_is_noticed(cache: SnapshotCache, snapshot: Snapshot) -> None:
    folder = cache.ensure(snapshot.commit_id)
    (folder / "a.py").chmod(0o666)
    assert contents(cache.ensure(snapshot.commit_id)) == WHOLE


@pytest.mark.parametrize("inside", [".", "sub", "sub/deep"])
@pytest.mark.parametrize("mode", [0o755, 0o777, 0o500, 0o1555])
def test_a_folder_with_another_mode_is_noticed(
    cache: SnapshotCache, snapshot: Snapshot, inside: str, mode: int
) -> None:
    folder = cache.ensure(snapshot.commit_id)
    (folder / inside).chmod(mode)
    assert contents(cache.ensure(snapshot.commit_id)) == WHOLE
    assert stat.S_IMODE(folder.stat().st_mode) == 0o555


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "fifo", "socket"])
def test_what_is_no_folder_gives_way(cache: SnapshotCache, snapshot: Snapshot, kind: str, tmp_path: Path) -> None:
    cache.root.mkdir()
    place = cache.root / snapshot.commit_id
    match kind:
        case "file":
            place.write_text("in the way")
        case "fifo":
            os.mkfifo(place)
        case "socket":
            os.mknod(place, stat.S_IFSOCK | 0o600)
        case _:
            place.symlink_to(tmp_path / "elsewhere")
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
    assert contents(cache.ensure(snapshot.commit_id)) == WHOLE
    assert not place.is_symlink()


# Damage in the store


def test_a_file_whose_object_is_damaged_is_not_laid_out(
    cache: SnapshotCache, snapshot: Snapshot, objects: MemoryObjects
) -> None:
    objects.damage(hashlib.sha256(b"b").hexdigest(), b"B")
    with pytest.raises(Corrupt):
        cache.ensure(snapshot.commit_id)
    assert os.listdir(cache.root) == []


def test_a_tree_that_is_damaged_is_not_laid_out(
    cache: SnapshotCache, snapshot: Snapshot, objects: MemoryObjects
) -> None:
    cache.ensure(snapshot.commit_id)
    objects.damage(snapshot.commit_id, b"{}")
    with pytest.raises(Corrupt):
        cache.ensure(snapshot.commit_id)


def test_a_snapshot_that_is_in_no_store_is_not_found(cache: SnapshotCache, snapshot: Snapshot) -> None:
    with pytest.raises(NotFound):
        cache.ensure("ab" * 32)


@pytest.mark.parametrize("commit_id", ["", "..", "../../etc", "AB" * 32, "ab" * 31, "x" * 10_000])
def test_what_is_no_commit_id_is_no_path(cache: SnapshotCache, commit_id: str) -> None:
    with pytest.raises(Corrupt):
        cache.ensure(commit_id)
    assert not cache.root.exists()


def test_an_object_that_is_no_tree_is_not_laid_out(cache: SnapshotCache, objects: MemoryObjects) -> None:
    with objects.batch() as batch:
        digest = batch.put_bytes(b'{"entries": []}')
    with pytest.raises(Corrupt):
        cache.ensure(digest)


def test_nothing_is_written_outside_the_cache(cache: SnapshotCache, objects: MemoryObjects, tmp_path: Path) -> None:
    """A tree in a store that others write to may say `out -> /elsewhere` and `out/file`."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with objects.batch() as batch:
        digest = batch.put_bytes(b"planted")
        entries: list[Entry] = [
            LinkEntry(b"out", os.fsencode(elsewhere)),
            FileEntry(b"out/file", 7, digest, executable=False),
        ]
        commit_id = batch.put_bytes(make_tree(entries).canonical)
    with pytest.raises(Corrupt):
        cache.ensure(commit_id)
    assert os.listdir(elsewhere) == []


# Together with others


def test_what_a_killed_driver_left_does_not_matter(cache: SnapshotCache, snapshot: Snapshot) -> None:
    half = cache.root / f"{TEMPORARY_PREFIX}0123"
    half.mkdir(parents=True)
    (half / "a.py").touch()
    assert contents(cache.ensure(snapshot.commit_id)) == WHOLE


def test_many_threads_get_one_folder(cache: SnapshotCache, snapshot: Snapshot) -> None:
    folders = in_threads(8, lambda _: cache.ensure(snapshot.commit_id))
    assert set(folders) == {cache.root / snapshot.commit_id}
    assert contents(folders[0]) == WHOLE
    assert os.listdir(cache.root) == [snapshot.commit_id]


def test_many_processes_get_one_folder(project: Path, write: Write, tmp_path: Path) -> None:
    write({f"{number}.py": "x" * number for number in range(50)})
    commit_id = capture(project, DirectoryObjects(tmp_path / "objects"), LIMITS).commit_id
    program = """
from pathlib import Path
from fetchml.objects.directory import DirectoryObjects
from fetchml.snapshot.materialise import SnapshotCache

root = Path(sys.argv[2])
cache = SnapshotCache(root / "snapshots", DirectoryObjects(root / "objects"))
gate()
folder = cache.ensure(sys.argv[3])
print(folder.stat().st_ino, len(list(folder.iterdir())))
"""
    printed = in_processes(4, program, tmp_path, commit_id)
    assert len(set(printed)) == 1
    assert printed[0].split()[1] == "50"
    assert os.listdir(tmp_path / "snapshots") == [commit_id]


def test_a_read_only_tree_is_removed_whole(cache: SnapshotCache, snapshot: Snapshot) -> None:
    folder = cache.ensure(snapshot.commit_id)
    remove_tree(folder)
    remove_tree(folder)
    assert os.listdir(cache.root) == []


def test_removing_a_tree_leaves_what_its_links_lead_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o555)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(outside)
    remove_tree(tmp_path / "tree")
    assert stat.S_IMODE(outside.stat().st_mode) == 0o555
