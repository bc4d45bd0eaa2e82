import hashlib
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fetchml.datasets import digest as module
from fetchml.datasets.digest import differences, digest
from fetchml.datasets.stat_cache import StatCache
from fetchml.errors import NotFound, Refused, Unavailable

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


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    found = digest(tmp_path)
    assert (found.file_count, found.warnings) == (0, ("it is empty",))


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

    monkeypatch.setattr(module.os, "open", deny)
    with pytest.raises(Refused, match="cannot be read") as caught:
        digest(data)
    assert caught.value.detail == "a.txt: Permission denied\nsub/b.bin: Permission denied"


def test_what_changes_while_it_is_read_is_read_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._scan
    looks = 0

    def scan(*args):
        nonlocal looks
        looks += 1
        if looks == 2:
            write(data, {"late": b"1"})
        return real(*args)

    monkeypatch.setattr(module, "_scan", scan)
    assert digest(data).file_count == 4
    looks = -1000

    def always(*args):
        nonlocal looks
        looks += 1
        write(data, {f"late{looks}": b"1"})
        return real(*args)

    monkeypatch.setattr(module, "_scan", always)
    with pytest.raises(Unavailable, match="keeps changing"):
        digest(data)


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
