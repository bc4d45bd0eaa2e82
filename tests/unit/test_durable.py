"""Durable files: whole or not at all, and on the disk when the call returns."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.full_disk import file_size_limit
from contract.racing import in_processes, in_threads
from fetchml import durable
from fetchml.errors import Corrupt, FetchmlError, Forbidden, NotFound, Unavailable


class Calls:
    """Notes the system calls that decide what survives a crash, in order, and lets one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.failing: tuple[str, int, int] | None = None
        """Name, which call of that name, errno."""
        for name in ("fsync", "replace", "link", "rename", "mkdir"):
            monkeypatch.setattr(os, name, self._noting(name, getattr(os, name)))

    def _noting(self, name: str, really: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            what = name
            if name == "fsync":
                assert isinstance(arguments[0], int)
                what = "sync folder" if os.path.isdir(f"/proc/self/fd/{arguments[0]}") else "sync file"
            self.seen.append(what)
            if self.failing and self.failing[:2] == (what, self.seen.count(what)):
                raise OSError(self.failing[2], os.strerror(self.failing[2]))
            return really(*arguments, **options)

        return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet, in a folder of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "file"


# exists


def test_a_thing_exists_whatever_it_is(path: Path) -> None:
    path.write_bytes(b"")
    (path.parent / "link").symlink_to(path)
    assert durable.exists(path)
    assert durable.exists(path.parent)
    assert durable.exists(path.parent / "link")


def test_what_is_not_there_or_leads_nowhere_does_not_exist(path: Path) -> None:
    path.write_bytes(b"")
    (path.parent / "dangling").symlink_to("nowhere")
    (path.parent / "loop").symlink_to("loop")
    for missing in ("nothing", "nothing/below", "file/below", "dangling", "loop"):
        assert not durable.exists(path.parent / missing)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, Forbidden), (errno.EIO, Corrupt), (errno.ESTALE, Unavailable)]
)
def test_what_cannot_be_told_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[FetchmlError]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(kind, match="cannot look for"):
        durable.exists(path)


# write_atomic


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"x" * 3_000_000])
def test_a_file_is_written_whole(path: Path, content: bytes) -> None:
    durable.write_atomic(path, content)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["file"]


def test_a_file_is_replaced_and_takes_its_new_mode(path: Path) -> None:
    durable.write_atomic(path, b"old", mode=0o444)
    with path.open("rb") as reader:
        durable.write_atomic(path, b"new", mode=0o600)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_replaced_and_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"target")
    path.symlink_to(tmp_path / "target")
    durable.write_atomic(path, b"new")
    assert not path.is_symlink()
    assert (tmp_path / "target").read_bytes() == b"target"


def test_content_is_synced_before_the_name_and_the_name_after(path: Path, calls: Calls) -> None:
    durable.write_atomic(path, b"x")
    assert calls.seen == ["sync file", "replace", "sync folder"]


def test_a_short_write_is_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: really(descriptor, content[:7]))
    durable.write_atomic(path, b"more than seven bytes")
    assert path.read_bytes() == b"more than seven bytes"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    durable.write_atomic(path, b"old")
    with file_size_limit(100_000), pytest.raises(Unavailable) as caught:
        durable.write_atomic(path, b"x" * 200_000)
    assert caught.value.code == durable.STORAGE_FULL
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_a_failed_sync_is_final(path: Path, calls: Calls) -> None:
    durable.write_atomic(path, b"old")
    calls.seen.clear()
    calls.failing = ("sync file", 1, errno.EIO)
    with pytest.raises(Corrupt) as caught:
        durable.write_atomic(path, b"new")
    assert caught.value.code == "disk-fault"
    assert calls.seen == ["sync file"]
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_a_failed_rename_leaves_the_old_file(path: Path, calls: Calls) -> None:
    durable.write_atomic(path, b"old")
    calls.seen.clear()
    calls.failing = ("replace", 1, errno.ENOSPC)
    with pytest.raises(Unavailable):
        durable.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_a_folder_in_the_way_stays(path: Path) -> None:
    path.mkdir()
    with pytest.raises(FetchmlError):
        durable.write_atomic(path, b"x")
    assert path.is_dir()
    assert os.listdir(path.parent) == ["file"]


def test_readers_see_one_content_or_the_other(path: Path) -> None:
    contents = [bytes([number]) * 300_000 for number in range(2)]
    durable.write_atomic(path, contents[0])

    def read_or_write(number: int) -> None:
        for step in range(30):
            if number == 0:
                durable.write_atomic(path, contents[step % 2])
            else:
                assert path.read_bytes() in contents

    in_threads(4, read_or_write)


# create_exclusive


def test_a_file_is_created_once(path: Path) -> None:
    assert durable.create_exclusive(path, b"first", mode=0o600)
    assert not durable.create_exclusive(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["file"]


def test_of_many_creators_one_wins(path: Path) -> None:
    won = in_threads(16, lambda number: durable.create_exclusive(path, b"%d" % number))
    assert won.count(True) == 1
    assert path.read_bytes() == b"%d" % won.index(True)
    assert os.listdir(path.parent) == ["file"]


def test_a_dangling_link_takes_the_name(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "nowhere")
    assert not durable.create_exclusive(path, b"x")
    assert not (tmp_path / "nowhere").exists()


def test_a_created_file_is_synced_before_it_has_its_name(path: Path, calls: Calls) -> None:
    durable.create_exclusive(path, b"x")
    assert calls.seen == ["sync file", "link", "sync folder"]


@pytest.mark.parametrize(
    "failing",
    [
        ("sync file", 1, errno.EIO),
        ("link", 1, errno.ENOSPC),
        (
            "sync folder",
            1,
            errno.EIO,
        ),
    ],
    ids=lambda failing: failing[0],
)
def test_a_creation_that_failed_left_no_file(path: Path, calls: Calls, failing: tuple[str, int, int]) -> None:
    calls.failing = failing
    with pytest.raises(FetchmlError):
        durable.create_exclusive(path, b"x")
    assert os.listdir(path.parent) == []


# publish_folder and make_folder


def unfinished(path: Path, content: bytes = b"x") -> Path:
    """Makes a folder to publish, beside `path`."""
    folder = path.parent / f"{durable.TEMPORARY_PREFIX}{threading.get_ident()}-{content.decode()}"
    folder.mkdir()
    (folder / "inside").write_bytes(content)
    return folder


def test_a_folder_is_published(path: Path, calls: Calls) -> None:
    temporary = unfinished(path)
    calls.seen.clear()
    assert durable.publish_folder(temporary, path)
    assert (path / "inside").read_bytes() == b"x"
    assert os.listdir(path.parent) == ["file"]
    assert calls.seen == ["sync folder", "rename", "sync folder"]


def test_a_published_folder_is_not_replaced(path: Path) -> None:
    assert durable.publish_folder(unfinished(path, b"1"), path)
    second = unfinished(path, b"2")
    assert not durable.publish_folder(second, path)
    assert (path / "inside").read_bytes() == b"1"
    assert second.exists()  # it is the caller's


def test_of_many_publishers_one_wins(path: Path) -> None:
    won = in_threads(12, lambda number: durable.publish_folder(unfinished(path, b"%d" % number), path))
    assert won.count(True) == 1
    assert (path / "inside").read_bytes() == b"%d" % won.index(True)


def test_a_file_takes_the_name_of_a_folder(path: Path) -> None:
    path.write_bytes(b"mine")
    assert not durable.publish_folder(unfinished(path), path)
    assert path.read_bytes() == b"mine"


def test_an_empty_folder_takes_the_name_too(path: Path) -> None:
    path.mkdir()
    assert not durable.publish_folder(unfinished(path), path)


def test_folders_are_made_with_their_parents_and_synced(tmp_path: Path, calls: Calls) -> None:
    folder = tmp_path / "a" / "b" / "c"
    durable.make_folder(folder, mode=0o700)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert calls.seen == ["mkdir", "sync folder"] * 3
    durable.make_folder(folder)
    assert len(calls.seen) == 6


def test_many_may_make_a_folder(tmp_path: Path) -> None:
    in_threads(16, lambda _: durable.make_folder(tmp_path / "a" / "b" / "c"))
    assert (tmp_path / "a" / "b" / "c").is_dir()


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_in_the_way_of_a_folder_is_an_error(path: Path, below: str) -> None:
    path.write_bytes(b"mine")
    with pytest.raises(NotFound):
        durable.make_folder(path / below)
    assert path.read_bytes() == b"mine"


# Locks and space


def test_a_lock_lets_one_in_at_a_time(path: Path) -> None:
    durable.make_folder(path)
    inside: list[int] = []

    def enter(_: int) -> None:
        for _ in range(20):
            with durable.locked(path):
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    in_threads(8, enter)


def test_a_lock_is_free_after_an_error(path: Path) -> None:
    path.touch()
    with pytest.raises(KeyError), durable.locked(path):
        raise KeyError
    with durable.locked(path):
        pass


def test_a_lock_is_free_when_its_holder_has_died(path: Path) -> None:
    path.touch()
    program = """
import os
from pathlib import Path
from fetchml import durable

gate()
with durable.locked(Path(sys.argv[2])):
    print("held", flush=True)
    os._exit(0)
"""
    assert in_processes(1, program, path) == ["held\n"]
    with durable.locked(path):
        pass


def test_a_lock_on_what_is_not_there_is_not_found(path: Path) -> None:
    with pytest.raises(NotFound), durable.locked(path):
        pass


def test_space_is_held_back(path: Path) -> None:
    durable.reserve_space(path, 1_000_000)
    assert path.stat().st_blocks * 512 >= 1_000_000


def test_space_that_is_not_there_is_not_held_back(path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        durable.reserve_space(path, 1 << 60)
    assert caught.value.code == durable.STORAGE_FULL
    assert not path.exists()


# translate


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, Unavailable, durable.STORAGE_FULL),
        (errno.EDQUOT, Unavailable, durable.STORAGE_FULL),
        (errno.EFBIG, Unavailable, durable.STORAGE_FULL),
        (errno.EACCES, Forbidden, "not-writable"),
        (errno.EPERM, Forbidden, "not-writable"),
        (errno.EROFS, Forbidden, "not-writable"),
        (errno.ENOENT, NotFound, "not-found"),
        (errno.ENOTDIR, NotFound, "not-found"),
        (errno.EIO, Corrupt, "disk-fault"),
        (errno.EMFILE, Unavailable, "io-error"),
        (errno.ESTALE, Unavailable, "io-error"),
    ],
    ids=lambda value: errno.errorcode.get(value) if isinstance(value, int) else None,
)
def test_an_error_of_the_system_says_what_to_do(number: int, kind: type[FetchmlError], code: str) -> None:
    error = durable.translate(OSError(number, os.strerror(number)), "write", Path("/some/file"))
    assert type(error) is kind
    assert error.code == code
    assert error.summary == "cannot write `/some/file`"
    assert os.strerror(number) in (error.detail or "")


def test_a_read_only_disk_hints_at_another_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Forbidden) as caught:
        durable.write_atomic(path, b"x")
    monkeypatch.undo()
    assert "FETCHML_HOME" in (caught.value.hint or "")


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    for write in (durable.write_atomic, durable.create_exclusive):
        with pytest.raises(NotFound):
            write(tmp_path / "missing" / "file", b"x")


def test_the_cause_is_kept(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        durable.write_atomic(tmp_path / "missing" / "file", b"x")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
