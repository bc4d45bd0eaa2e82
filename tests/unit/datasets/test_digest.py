import errno
import hashlib
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fetchml.datasets import digest as module
from fetchml.datasets.digest import check_present, differences, digest
from fetchml.datasets.oversight import Oversight, Stopped, Tally
from fetchml.datasets.stat_cache import StatCache
from fetchml.errors import NotFound, Refused, Unavailable
from fetchml.models.dataset import ALGORITHMS, Algorithm
from fetchml.snapshot.capture import Progress

NAMES = st.text(st.sampled_from("ab.Z é\n"), min_size=1, max_size=6).filter(lambda text: text not in (".", ".."))
TREES = st.dictionaries(NAMES, st.binary(max_size=20), min_size=1, max_size=6)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data", {"a.txt": b"one", "sub/b.bin": b"\0\1", ".hidden": b"h"})


@given(files=TREES, seed=st.randoms())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_neither_order_nor_place_nor_times_count(tmp_path_factory, files, seed):
    root = tmp_path_factory.mktemp("d")
    shuffled = list(files.items())
    seed.shuffle(shuffled)
    one, other = write(root / "one", files), write(root / "other", dict(shuffled))
    for path in other.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    (other / "empty-folder").mkdir()
    assert digest(one).checksum == digest(other).checksum
    assert digest(one).size_bytes == sum(map(len, files.values()))
    assert digest(one).file_count == len(files)


@given(files=TREES, pick=st.integers(min_value=0), how=st.sampled_from(["byte", "name", "added", "removed"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_change_changes_the_checksum_and_is_named(tmp_path_factory, files, pick, how):
    root = write(tmp_path_factory.mktemp("d") / "one", files)
    before = digest(root)
    path = root / sorted(files)[pick % len(files)]
    assume(how != "removed" or len(files) > 1)
    match how:
        case "byte":
            path.write_bytes(path.read_bytes() + b"\0")
        case "name":
            path.rename(root / "another name")
        case "added":
            (root / "added").write_bytes(b"")
        case _:
            path.unlink()
    after = digest(root)
    assert after.checksum != before.checksum
    assert list(differences(before.listing, after.listing))


def test_the_listing_is_as_documented(data: Path) -> None:
    one, two, hidden = (hashlib.sha256(content).hexdigest() for content in (b"one", b"\0\1", b"h"))
    listing = (
        f"fetchml.dataset.v1 folder\nfile 1 {hidden} .hidden\0file 3 {one} a.txt\0file 2 {two} sub/b.bin\0".encode()
    )
    found = digest(data)
    assert found.listing == listing
    assert found.checksum == f"sha256:{hashlib.sha256(listing).hexdigest()}"
    assert found.warnings == ()


def test_a_file_is_a_dataset_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, {"one.csv": b"1,2", "two.csv": b"1,2", "folder/one.csv": b"1,2"})
    assert digest(tmp_path / "one.csv").checksum == digest(tmp_path / "two.csv").checksum
    assert digest(tmp_path / "one.csv").checksum != digest(tmp_path / "folder").checksum
    assert digest(tmp_path / "one.csv").file_count == 1


def test_links_inside_count_by_their_text_and_others_are_left_out_aloud(data: Path, tmp_path: Path) -> None:
    plain = digest(data).checksum
    (data / "link").symlink_to("sub/b.bin")
    with_link = digest(data)
    assert with_link.checksum != plain
    assert with_link.warnings == ()
    (data / "link").unlink()
    (data / "link").symlink_to("sub/../sub/b.bin")
    assert digest(data).checksum != with_link.checksum
    (data / "link").unlink()

    secret = write(tmp_path / "elsewhere", {"secret": b"s"})
    (data / "out").symlink_to("../elsewhere/secret")
    (data / "absolute").symlink_to(secret / "secret")
    (data / "folder-out").symlink_to("../elsewhere")
    os.mkfifo(data / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(data)
        try:
            server.bind("sock")
        finally:
            os.chdir(here)
        found = digest(data)
    assert found.checksum == plain
    assert [text.split(":")[1].strip() for text in found.warnings] == ["absolute", "folder-out", "out", "pipe", "sock"]


def test_circles_of_links_end(data: Path) -> None:
    (data / "self").symlink_to(".")
    (data / "sub/up").symlink_to("..")
    (data / "a").symlink_to("b")
    (data / "b").symlink_to("a")
    assert digest(data).file_count == 3


def test_a_folder_without_files_is_refused_as_if_nothing_were_mounted(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(Refused, match="there are no files") as caught:
        digest(tmp_path)
    assert (caught.value.code, caught.value.hint) == ("dataset-empty", "is the disk or share mounted there?")
    assert digest(write(tmp_path, {"a": b""})).size_bytes == 0


def test_what_is_not_there_or_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is nothing"):
        digest(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="neither"):
        digest(tmp_path / "pipe")


def test_every_part_that_cannot_be_read_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def deny(path, *args, **kwargs):
        if os.fsencode(path).endswith((b"a.txt", b"b.bin")):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(Refused, match="cannot be read") as caught:
        digest(data)
    assert caught.value.detail == "a.txt: Permission denied\nsub/b.bin: Permission denied"


def test_what_changes_while_it_is_read_is_read_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.is_unchanged
    changes: list[Callable[[], object]] = []

    def look_again(*args):
        if changes:
            changes.pop(0)()
        return real(*args)

    monkeypatch.setattr(module, "is_unchanged", look_again)
    for change, count in (
        (lambda: write(data, {"late": b"1"}), 4),
        (lambda: write(data, {"a.txt": b"two"}), 4),
        ((data / "late").unlink, 3),
        (lambda: (data / "link").symlink_to("a.txt"), 3),
    ):
        changes = [change]
        found = digest(data)
        assert (found.file_count, changes) == (count, [])
        assert digest(data) == replace(found, hashed_count=count)
    changes = [lambda n=n: write(data, {f"late{n}": b"1"}) for n in range(3)]
    with pytest.raises(Unavailable, match="keeps changing"):
        digest(data)


def test_a_file_that_changes_between_its_listing_and_its_reading_is_read_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.scan
    late = [b"two"]

    def scan(*args):
        found = real(*args)
        if late:
            write(data, {"a.txt": late.pop()})
        return found

    monkeypatch.setattr(module, "scan", scan)
    found = digest(data)
    assert found.listing == digest(data).listing
    assert hashlib.sha256(b"two").hexdigest().encode() in found.listing


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatCache:
    """A cache that takes every file for settled."""
    monkeypatch.setattr("fetchml.datasets.stat_cache._SETTLED_NS", -(10**12))
    return StatCache(tmp_path / "cache" / "datasets.sqlite")


def test_an_unchanged_dataset_costs_a_scan(data: Path, cache: StatCache) -> None:
    assert digest(data, cache).hashed_count == 3
    again = digest(data, cache)
    assert (again.hashed_count, again.checksum) == (0, digest(data).checksum)
    before = (data / "a.txt").stat()
    (data / "a.txt").write_bytes(b"two")
    os.utime(data / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))  # size and mtime as before: ctime tells
    changed = digest(data, cache)
    assert changed.hashed_count == 1
    assert changed.checksum == digest(data).checksum != again.checksum


def test_a_file_that_has_just_been_written_is_not_trusted_to_its_stat(data: Path, tmp_path: Path) -> None:
    cache = StatCache(tmp_path / "cache.sqlite")
    assert digest(data, cache).hashed_count == digest(data, cache).hashed_count == 3


@pytest.mark.parametrize("damage", [b"no database at all, but text", b""])
def test_a_damaged_cache_is_no_cache(data: Path, cache: StatCache, damage: bytes) -> None:
    expected = digest(data, cache).checksum
    cache._path.write_bytes(damage)
    for _ in range(2):
        assert digest(data, cache).checksum == expected


def test_a_copy_has_the_same_checksum_and_modes_do_not_count(data: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(data, tmp_path / "copy", symlinks=True))
    (copied / "a.txt").chmod(stat.S_IRWXU)
    assert digest(copied).checksum == digest(data).checksum


GOLDEN = {
    "sha256": "sha256:ef7abef15fb19e3d3d6757631cb5d61a352aee14118298d872406d457923c94c",
    "blake3": "blake3:0bb3c368abe50d93085e33c9a53819e3a5aa5370d97ee74b641b8ee97bd64173",
}
GOLDEN_FILE = {
    "sha256": "sha256:e4351eb4808e55bf931c96c859e8c53071d721b8831d344c8b4c543942346433",
    "blake3": "blake3:79a13b1a0f5b34e37e076f9254afddfddee23da5a7fe2220e8ed77a11993aeaf",
}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """Names whose order differs between bytes, characters and locales; one is no UTF-8."""
    root = write(tmp_path / "golden", {"b": b"1", "a/z": b"", "a.txt": b"three", "B": b"\n", "é": b"e", "a b": b"\0"})
    (root / "link").symlink_to("a/z")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff")).write_bytes(b"latin")
    (root / "empty").mkdir()
    return root


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_are_the_same_for_ever(golden: Path, algorithm: Algorithm) -> None:
    assert digest(golden, algorithm=algorithm).checksum == GOLDEN[algorithm]
    assert digest(golden / "a.txt", algorithm=algorithm).checksum == GOLDEN_FILE[algorithm]


def test_a_checksum_does_not_depend_on_locale_hash_seed_or_time_zone(golden: Path) -> None:
    code = "import sys; from pathlib import Path; from fetchml.datasets.digest import digest;"
    code += "print(digest(Path(sys.argv[1])).checksum)"
    changes = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "7", "TZ": "Pacific/Kiritimati"}
    command = [sys.executable, "-c", code, str(golden)]
    done = subprocess.run(command, env={**os.environ, **changes}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == GOLDEN["sha256"]


def test_blake3_is_blake3(tmp_path: Path) -> None:
    """The digest of nothing is that of the paper (BLAKE3, section 2 and its test vectors)."""
    root = write(tmp_path / "d", {"empty": b""})
    nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    listing = f"fetchml.dataset.v1 folder blake3\nfile 0 {nothing} empty\0".encode()
    found = digest(root, algorithm="blake3")
    assert found.listing == listing
    assert found.checksum != digest(root).checksum
    assert list(differences(found.listing, found.listing)) == []


def test_the_cache_keeps_algorithms_apart(data: Path, cache: StatCache) -> None:
    plain, other = digest(data, cache), digest(data, cache, algorithm="blake3")
    assert (plain.hashed_count, other.hashed_count) == (3, 3)
    assert digest(data, cache) == replace(plain, hashed_count=0)
    assert digest(data, cache, algorithm="blake3") == replace(other, hashed_count=0)


def test_a_cache_from_when_there_was_one_algorithm_is_no_cache(data: Path, cache: StatCache) -> None:
    cache._path.parent.mkdir()
    with sqlite3.connect(cache._path) as database:
        database.execute("CREATE TABLE files (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL)")
    database.close()
    assert [digest(data, cache).hashed_count for _ in range(2)] == [3, 0]


def test_what_was_read_before_an_interrupt_is_remembered(
    data: Path, cache: StatCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.datasets.hashing._REMEMBERED_AT_ONCE", 1)
    monkeypatch.setattr("fetchml.datasets.hashing._MAX_THREADS", 1)
    expected = digest(data).checksum
    real = Tally.read
    done: list[int] = []

    def read(self: Tally, size_bytes: int, files: int = 0) -> None:
        done.extend([1] * files)
        if len(done) == 3:
            raise Stopped
        real(self, size_bytes, files)

    monkeypatch.setattr(Tally, "read", read)
    with pytest.raises(Stopped):
        digest(data, cache)
    monkeypatch.undo()
    monkeypatch.setattr("fetchml.datasets.stat_cache._SETTLED_NS", -(10**12))
    again = digest(data, cache)
    assert (again.hashed_count, again.checksum) == (1, expected)


class Stuck:
    """Makes the reading of files hang, until the test is over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()
        self._real = os.open
        monkeypatch.setattr(os, "open", self._open)

    def _open(self, path, *args, **kwargs):
        if isinstance(path, bytes) and path.endswith(b"b.bin"):
            self.reached.set()
            self.released.wait()
        return self._real(path, *args, **kwargs)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch):
    made = Stuck(monkeypatch)
    yield made
    made.released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("fetchml-"):
            thread.join()


def test_data_that_does_not_answer_is_an_error(data: Path, stuck: Stuck) -> None:
    with pytest.raises(Unavailable, match="does not answer") as caught:
        digest(data, oversight=Oversight(silence_s=0.01))
    assert (caught.value.code, caught.value.detail) == ("data-unavailable", "no byte and no entry for 0.0s")


def test_a_reading_can_be_stopped_or_run_out_of_time(data: Path, stuck: Stuck) -> None:
    with pytest.raises(Stopped):
        digest(data, oversight=Oversight(should_stop=stuck.reached.is_set))
    with pytest.raises(Stopped):
        digest(data, oversight=Oversight(within_s=0))


def test_who_waits_is_told_how_far_it_is(data: Path, stuck: Stuck) -> None:
    told: list[Progress] = []

    def observe(progress: Progress) -> None:
        told.append(progress)
        if (progress.total_files, progress.files) == (3, 2):
            stuck.released.set()

    assert digest(data, oversight=Oversight(observe=observe)).file_count == 3
    assert told[-1].total_bytes == 6


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN])
def test_a_share_that_says_its_server_is_gone_can_be_tried_again(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.stat

    def stat_of(path, **more):
        if os.fsencode(path).endswith(b"data"):
            raise OSError(number, os.strerror(number))
        return real(path, **more)

    monkeypatch.setattr("fetchml.datasets.scan.os.stat", stat_of)
    with pytest.raises(Unavailable) as caught:
        check_present(data)
    assert (caught.value.code, caught.value.detail) == ("data-unavailable", os.strerror(number))


def test_the_cache_keeps_neighbours_apart(tmp_path: Path, cache: StatCache) -> None:
    """Names that sort between a folder and what is in it, and a file of the same content."""
    names = ("data", "data-old", "data.d", "data0", "dat", "data/inner")
    folders = [write(tmp_path / name, {"a": name.encode(), "b": b"same"}) for name in names]
    expected = [digest(folder).listing for folder in folders]
    for _ in range(2):
        assert [digest(folder, cache).listing for folder in folders] == expected
    assert [digest(folder, cache).hashed_count for folder in folders] == [0] * len(folders)
    assert [digest(folders[0] / "a", cache).hashed_count for _ in range(2)] == [0, 0]
