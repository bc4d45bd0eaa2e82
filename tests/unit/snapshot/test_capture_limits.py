"""Capturing a project that is too large, or that changes meanwhile: all of it or nothing."""

import hashlib
import os
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fetchml.errors import Refused
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.memory import MemoryObjects
from fetchml.objects.port import Added, ChangedWhileRead, ObjectBatch
from fetchml.snapshot.capture import Limits, capture
from fetchml.snapshot.scan import scan
from unit.snapshot.projects import LIMITS, Write

# Limits


def _too_large(project: Path, limits: Limits) -> tuple[str, list[str]]:
    with pytest.raises(Refused) as caught:
        scan(project, limits)
    assert caught.value.code == "snapshot-too-large"
    assert caught.value.detail is not None
    return caught.value.summary, caught.value.detail.splitlines()


def test_at_the_limits_a_project_is_taken(project: Path, write: Write) -> None:
    write({"a": "x" * 60, "b": "x" * 40})
    assert len(scan(project, Limits(100, 2))) == 2


def test_too_many_bytes_are_refused_with_the_largest_first(project: Path, write: Write) -> None:
    write({"data/train.bin": "x" * 5000, "old.ckpt": "x" * 6000, "src/a.py": "x", "src/b.py": "xx", "c.py": ""})
    summary, lines = _too_large(project, Limits(10_000, 100))
    assert summary == f"the code tree in `{project}` is too large: 10.7K in 5 files"
    assert lines == [
        "allowed: 9.8K in 100 files; the largest:",
        "- old.ckpt  5.9K in 1 file",
        "- data/train.bin  4.9K in 1 file",
        "- src  3B in 2 files",
        "- c.py  0B in 1 file",
    ]


def test_too_many_files_are_refused_with_the_fullest_folder_first(project: Path, write: Write) -> None:
    write(
        {f"many/{number}": "" for number in range(6)} | {f"few/{number}": "x" for number in range(2)} | {"a": "x" * 9}
    )
    summary, lines = _too_large(project, Limits(1000, 8))
    assert summary.endswith("is too large: 11B in 9 files")
    assert lines[1:] == ["- many  0B in 6 files", "- few  2B in 2 files", "- a  9B in 1 file"]


def test_ten_are_shown(project: Path, write: Write) -> None:
    write({f"{number:02}": "x" * (100 - number) for number in range(20)})
    _, lines = _too_large(project, Limits(1000, 100))
    assert lines[1:] == [f"- {number:02}  {100 - number}B in 1 file" for number in range(10)]


def test_an_endless_tree_is_not_counted_to_its_end(project: Path, write: Write) -> None:
    write({str(number): "" for number in range(50)})
    summary, _ = _too_large(project, Limits(1000, 10))
    assert summary.endswith("is too large: 0B in 41 files or more")


def test_what_is_too_large_is_not_read(project: Path) -> None:
    """A terabyte of holes would take an hour."""
    with (project / "huge").open("wb") as file:
        file.truncate(2**40)
    summary, _ = _too_large(project, LIMITS)
    assert summary.endswith("is too large: 1T in 1 files")


# While it is captured


class ChangingObjects(MemoryObjects):
    """Something writes to a file while it is captured: between its digest and its copy, a number of times."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__()
        self.path = path
        self.left = times

    @contextmanager
    def batch(self) -> Generator[ObjectBatch]:
        with super().batch() as batch:
            yield ChangingBatch(self, batch)


@dataclass
class ChangingBatch:
    """A batch of `ChangingObjects`."""

    owner: ChangingObjects
    batch: ObjectBatch

    def put_bytes(self, content: bytes) -> str:
        return self.batch.put_bytes(content)

    def put_file(self, path: Path, digest: str) -> None:
        self.batch.put_file(path, digest)

    def keep(self, digests: Collection[str]) -> set[str]:
        return self.batch.keep(digests)

    def add_file(self, path: Path) -> Added:
        if path == self.owner.path and self.owner.left:
            self.owner.left -= 1
            path.write_text(f"changed, {self.owner.left} to come")
            raise ChangedWhileRead(str(path))
        return self.batch.add_file(path)


def test_a_file_that_changes_is_read_again(project: Path, write: Write) -> None:
    write({"a.py": "a", "log": "x"})
    objects = ChangingObjects(project / "log", 2)
    snapshot = capture(project, objects, LIMITS)
    assert [objects.read(item.sha256) for item in snapshot.tree.files] == [b"a", b"changed, 0 to come"]
    assert snapshot.tree.size_bytes == len(b"a" + b"changed, 0 to come")


def test_a_file_that_keeps_changing_is_refused_and_nothing_is_kept(project: Path, write: Write) -> None:
    write({"a.py": "a", "log": "x"})
    objects = ChangingObjects(project / "log", 9)
    with pytest.raises(Refused) as caught:
        capture(project, objects, LIMITS)
    assert caught.value.detail == "- log: keeps changing while it is read"
    assert not objects.has(hashlib.sha256(b"a").hexdigest())


def test_a_refused_capture_leaves_no_object(project: Path, write: Write, tmp_path: Path) -> None:
    write({"a.py": "a", "b.py": "b"})
    os.mkfifo(project / "pipe")
    objects = DirectoryObjects(tmp_path / "objects")
    with pytest.raises(Refused):
        capture(project, objects, LIMITS)
    assert [path for path in objects.root.rglob("*") if path.is_file()] == []


def test_a_file_that_goes_away_while_the_project_is_listed_was_never_there(
    project: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"a.py": "a", "gone.py": "b"})
    really = os.scandir

    @contextmanager
    def losing(path: Path) -> Generator[Iterable[os.DirEntry[str]]]:
        with really(path) as listing:
            entries = list(listing)
        (project / "gone.py").unlink(missing_ok=True)
        yield entries

    monkeypatch.setattr(os, "scandir", losing)
    assert [item.path for item in scan(project, LIMITS)] == [b"a.py"]
