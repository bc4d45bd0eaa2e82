"""What a run left in its results: every file listed, hashed and read-only, whatever else lies there is named."""

import gc
import hashlib
import os
import socket
import stat
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fetchml.execution.artifacts import collect, protect_folders, record_file
from fetchml.models.manifest import Artifacts
from fetchml.testing.builders import MOMENT


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


def listed(artifacts: Artifacts) -> list[str]:
    return [item.path for item in artifacts.files]


def excluded(artifacts: Artifacts) -> dict[str, str]:
    return {item.path: item.reason for item in artifacts.exclusions}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_an_empty_folder_has_no_artifacts(results: Path) -> None:
    assert collect(results, MOMENT) == Artifacts(discovered_at=MOMENT, total_size_bytes=0)


def test_every_file_is_listed_by_path_with_size_and_digest(results: Path) -> None:
    (results / "sub" / "deep").mkdir(parents=True)
    for name, content in {"b.bin": b"\0" * 10, "a-b": b"", "sub/c": b"c", "sub/deep/d": b"dd"}.items():
        (results / name).write_bytes(content)
    os.utime(results / "b.bin", (1_000_000_000, 1_000_000_000))
    found = collect(results, MOMENT)
    assert listed(found) == ["a-b", "b.bin", "sub/c", "sub/deep/d"]
    assert found.total_size_bytes == 13
    assert (found.discovered_at, found.exclusions) == (MOMENT, ())
    item = found.files[1]
    assert (item.size_bytes, item.sha256) == (10, hashlib.sha256(b"\0" * 10).hexdigest())
    assert item.modified == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after"),
    [(0o644, 0o444), (0o777, 0o555), (0o000, 0o400), (0o200, 0o400), (0o4755, 0o555), (0o440, 0o440)],
)
def test_files_can_be_read_and_not_be_written(results: Path, before: int, after: int) -> None:
    path = results / "file"
    path.write_text("x")
    path.chmod(before)
    assert listed(collect(results, MOMENT)) == ["file"]
    assert mode(path) == after


@pytest.mark.usefixtures("mode_bits_count")
def test_a_payload_that_locked_itself_out_is_no_matter(results: Path) -> None:
    (results / "sub").mkdir()
    (results / "sub" / "file").write_text("x")
    (results / "sub" / "file").chmod(0)
    (results / "sub").chmod(0)
    results.chmod(0)
    found = collect(results, MOMENT)
    assert (listed(found), excluded(found)) == (["sub/file"], {})


def test_folders_are_protected_in_the_end(results: Path, tmp_path: Path) -> None:
    (results / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (results / "link").symlink_to(tmp_path / "outside")
    protect_folders(results)
    assert {mode(path) for path in (results, results / "a", results / "a" / "b")} == {0o555}
    assert mode(tmp_path / "outside") == 0o755


def test_doing_it_twice_finds_the_same(results: Path) -> None:
    (results / "sub").mkdir()
    (results / "sub" / "file").write_text("x")
    first = collect(results, MOMENT)
    protect_folders(results)
    assert collect(results, MOMENT) == first


# What is no artifact


def _link(path: Path) -> None:
    path.symlink_to("file")


def _link_outside(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _link_to_folder(path: Path) -> None:
    path.symlink_to("/")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_link, "symbolic link"),
        (_link_outside, "symbolic link"),
        (_link_to_folder, "symbolic link"),
        (_fifo, "not a regular file"),
        (_socket, "not a regular file"),
    ],
)
def test_what_is_no_file_is_named_and_left_alone(results: Path, make: Callable[[Path], None], reason: str) -> None:
    (results / "file").write_text("x")
    (results / "sub").mkdir()
    make(results / "sub" / "odd")
    before = mode(results / "sub" / "odd")
    found = collect(results, MOMENT)
    assert (listed(found), excluded(found)) == (["file"], {"sub/odd": reason})
    assert mode(results / "sub" / "odd") == before


def test_what_a_link_leads_to_is_not_changed(results: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    (results / "link").symlink_to(outside)
    collect(results, MOMENT)
    protect_folders(results)
    assert mode(outside) == 0o644


@pytest.mark.parametrize(
    ("name", "shown"), [(b"\xff.bin", "\\xff.bin"), (b"b\xe9/file", "b\\xe9/file"), (b"a/\xff\n", "a/\\xff\n")]
)
def test_a_name_that_json_cannot_hold_is_named_with_escapes(results: Path, name: bytes, shown: str) -> None:
    path = results / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    found = collect(results, MOMENT)
    assert (listed(found), excluded(found)) == ([], {shown: "its name is not valid UTF-8"})
    assert Artifacts.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("name", [" ", "new\nline", '"', "-rf", "\u00e9", "e\u0301", "x" * 255, "\x1b[31m", "\u202e"])
def test_any_other_name_is_listed(results: Path, name: str) -> None:
    (results / name).write_text("x")
    found = collect(results, MOMENT)
    assert listed(found) == [name]
    assert Artifacts.model_validate_json(found.model_dump_json()) == found


def test_more_files_than_a_record_can_hold_are_named_as_left_out(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.execution.artifacts.MAX_ARTIFACTS", 3)
    for number in range(6):
        (results / str(number)).write_text("x")
    found = collect(results, MOMENT)
    assert listed(found) == ["0", "1", "2"]
    assert excluded(found) == {"3": "more than 3 files"}


def test_the_name_at_which_a_list_ends_may_be_odd(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchml.execution.artifacts.MAX_ARTIFACTS", 0)
    Path(results, os.fsdecode(b"\xff")).write_text("x")
    found = collect(results, MOMENT)
    assert Artifacts.model_validate_json(found.model_dump_json()) == found


def test_files_beyond_the_limit_are_protected_too(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchml.execution.artifacts.MAX_ARTIFACTS", 1)
    for number in range(3):
        (results / str(number)).write_text("x")
    collect(results, MOMENT)
    assert {mode(results / str(number)) for number in range(3)} == {0o444}


def fault_of(call: Callable[[], object]) -> str | None:
    """Returns what a call raises; a walk that broke off leaves warnings that are not what a test is about."""
    fault = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            call()
        except (OSError, RecursionError) as error:
            fault = type(error).__name__
        gc.collect()
    return fault


def test_a_folder_deeper_than_a_path_may_be_long_is_named(
    results: Path, deep_folder: Callable[[Path, str, int], int]
) -> None:
    deep_folder(results, "d" * 200, 30)
    found = collect(results, MOMENT)
    assert listed(found) == []
    assert set(excluded(found).values()) == {"File name too long"}


@pytest.mark.parametrize(("name", "depth"), [("d" * 200, 30), ("d", 1200)])
def test_folders_of_any_depth_are_protected(
    results: Path, deep_folder: Callable[[Path, str, int], int], name: str, depth: int
) -> None:
    deep_folder(results, name, depth)
    collect(results, MOMENT)
    assert fault_of(lambda: protect_folders(results)) is None


def test_files_at_any_depth_are_listed(results: Path, deep_folder: Callable[[Path, str, int], int]) -> None:
    inner = deep_folder(results, "d", 1200)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
    assert listed(collect(results, MOMENT)) == ["d/" * 1200 + "file"]


def test_a_file_from_before_1970_is_dated_to_1970(results: Path) -> None:
    (results / "file").write_text("x")
    os.utime(results / "file", (-1000, -1000))
    assert collect(results, MOMENT).files[0].modified == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_file_from_the_far_future_is_listed(tmp_path: Path) -> None:
    """Some file systems can keep such a date; ext4 ends in 2446."""
    for folder in (tmp_path, Path("/dev/shm")):
        with TemporaryDirectory(dir=folder) as results:
            path = Path(results, "file")
            path.write_text("x")
            os.utime(path, (1.2e12, 1.2e12))
            if path.stat().st_mtime == 1.2e12:
                assert listed(collect(Path(results), MOMENT)) == ["file"]
                return
    pytest.skip("NOT TESTED: no file system here can keep such a date")


# Files of the record


def test_a_file_of_the_record_is_read_only_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "attempts" / "1" / "output.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"hello")
    entry = record_file(tmp_path, path)
    assert (entry.path, entry.size_bytes) == ("attempts/1/output.log", 5)
    assert entry.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert mode(path) == 0o444
    assert record_file(tmp_path, path) == entry


def test_a_file_of_the_record_is_never_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "output.log").symlink_to("secret")
    with pytest.raises(OSError, match="symbolic links"):
        record_file(tmp_path, tmp_path / "output.log")
