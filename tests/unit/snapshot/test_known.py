"""Files that are unchanged are not read again, and nothing but time is lost without that memory."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.errors import FetchmlError
from fetchml.objects.directory import DirectoryObjects
from fetchml.snapshot import capture as capturing
from fetchml.snapshot.capture import Progress, Snapshot, capture
from fetchml.snapshot.known import KnownFiles, is_settled
from unit.snapshot.projects import LIMITS, Write

Again = Callable[[], tuple[Snapshot, int]]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryObjects:
    return DirectoryObjects(tmp_path / "objects")


@pytest.fixture
def known(tmp_path: Path) -> KnownFiles:
    return KnownFiles(tmp_path / "cache" / "trees")


@pytest.fixture
def again(project: Path, store: DirectoryObjects, known: KnownFiles, monkeypatch: pytest.MonkeyPatch) -> Again:
    """Captures the project as if its files had been there for a while; returns how many files were read, too."""
    monkeypatch.setattr(time, "time_ns", lambda: 2**62)

    def run() -> tuple[Snapshot, int]:
        told = [Progress(0, 0, 0, 0)]
        snapshot = capture(project, store, LIMITS, None, known, told.append)
        return snapshot, told[-1].files

    return run


def test_an_unchanged_tree_is_not_read(write: Write, again: Again, project: Path) -> None:
    write({"a.py": "a", "deep/b.py": "b", "run.sh": "c"})
    (project / "run.sh").chmod(0o755)
    (project / "link").symlink_to("a.py")
    first, read = again()
    assert read == 3
    assert again() == (first, 0)


def test_what_changed_is_read_and_nothing_else(write: Write, again: Again, project: Path) -> None:
    write({"a.py": "a", "b.py": "b", "c.py": "c"})
    again()
    write({"a.py": "A", "d.py": "d"})
    (project / "c.py").unlink()
    snapshot, read = again()
    assert read == 2
    assert [item.path for item in snapshot.tree.entries] == [b"a.py", b"b.py", b"d.py"]
    assert again() == (snapshot, 0)


def test_a_file_with_another_content_and_the_old_time_is_read(write: Write, again: Again, project: Path) -> None:
    write({"a.py": "old"})
    status = (project / "a.py").stat()
    first, _ = again()
    write({"a.py": "new"})
    os.utime(project / "a.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    second, read = again()
    assert read == 1
    assert first.commit_id != second.commit_id


def test_a_file_that_became_executable_is_seen(write: Write, again: Again, project: Path) -> None:
    write({"a.py": "a"})
    first, _ = again()
    (project / "a.py").chmod(0o755)
    second, _ = again()
    assert first.commit_id != second.commit_id
    assert again() == (second, 0)


def test_a_file_whose_object_is_gone_is_read(write: Write, again: Again, store: DirectoryObjects) -> None:
    write({"a.py": "a", "b.py": "b"})
    snapshot, _ = again()
    digest = snapshot.tree.files[0].sha256
    store.path(digest).unlink()
    assert again() == (snapshot, 1)
    assert store.read(digest) == b"a"


def test_a_file_whose_object_was_found_damaged_is_read_and_mends_it(
    write: Write, again: Again, store: DirectoryObjects
) -> None:
    write({"a.py": "a"})
    snapshot, _ = again()
    digest = snapshot.tree.files[0].sha256
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"x")
    with pytest.raises(FetchmlError):
        store.read(digest)
    assert again() == (snapshot, 1)
    assert store.read(digest) == b"a"


def test_a_file_that_was_just_written_is_not_trusted(
    project: Path, write: Write, store: DirectoryObjects, known: KnownFiles
) -> None:
    write({"a.py": "a"})
    capture(project, store, LIMITS, None, known)
    assert known.load(project) == {}


@pytest.mark.parametrize(("age_ns", "settled"), [(0, False), (2_000_000_000, False), (2_000_000_001, True)])
def test_time_stamps_are_believed_after_two_seconds(tmp_path: Path, age_ns: int, settled: bool) -> None:
    status = tmp_path.stat()
    newest = max(status.st_mtime_ns, status.st_ctime_ns)
    assert is_settled(status, newest + age_ns) is settled
    assert not is_settled(status, newest - 10**12)  # a clock that went back, or a time in the future


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "folder", "other"])
def test_a_damaged_memory_is_none(
    write: Write, again: Again, known: KnownFiles, project: Path, damage: str, tmp_path: Path
) -> None:
    write({"a.py": "a", "b.py": "b"})
    snapshot, _ = again()
    (file,) = known.folder.iterdir()
    content = file.read_bytes()
    match damage:
        case "flip":
            place = content.rindex(b'"') - 5
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "empty":
            file.write_bytes(b"")
        case "other":
            KnownFiles(tmp_path / "other").save(tmp_path, {})
            (other,) = (tmp_path / "other").iterdir()
            other.rename(file)
        case _:
            file.unlink()
            if damage == "folder":
                file.mkdir()
    assert known.load(project) == {}
    assert again() == (snapshot, 2)
    if damage != "folder":
        assert again() == (snapshot, 0)


def test_names_that_are_no_text_are_remembered(again: Again, project: Path) -> None:
    (project / os.fsdecode(b"\xff.py")).write_text("a")
    snapshot, _ = again()
    assert again() == (snapshot, 0)


def test_many_files_are_read_by_several_threads(
    write: Write, again: Again, monkeypatch: pytest.MonkeyPatch, store: DirectoryObjects
) -> None:
    monkeypatch.setattr(capturing, "_WORTH_BYTES", 0)
    monkeypatch.setattr(capturing, "_READERS", 4)
    write({f"{number}.py": str(number % 30) for number in range(99)})
    snapshot, read = again()
    assert read == 99
    assert {store.read(item.sha256) for item in snapshot.tree.files} == {str(number).encode() for number in range(30)}
    assert os.listdir(store.root / "incoming") == []


def test_a_large_tree_is_stored_in_parts(
    project: Path, write: Write, monkeypatch: pytest.MonkeyPatch, store: DirectoryObjects
) -> None:
    monkeypatch.setattr(capturing, "_PART_BYTES", 10)
    write({f"{number}.py": str(number) * 4 for number in range(9)} | {"large": "x" * 30})

    def stop(progress: Progress) -> None:
        if progress.files >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(project, store, LIMITS, observe=stop)
    assert len(list(store.digests())) >= 2
    snapshot = capture(project, store, LIMITS)
    assert {len(store.read(item.sha256)) for item in snapshot.tree.files} == {4, 30}
    assert snapshot == capture(project, store, LIMITS)
