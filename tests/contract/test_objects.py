"""Content-addressed objects: one suite over the directory, its twin in memory, and buckets in two S3 servers."""

import errno
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.full_disk import file_size_limit
from contract.racing import in_processes, in_threads
from contract.s3_servers import GIVEN, S3Server
from fetchml import durable
from fetchml.errors import Corrupt, FetchmlError, NotFound, Unavailable
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.memory import MemoryObjects
from fetchml.objects.port import ChangedWhileRead, ObjectBatch, ObjectStore
from fetchml.objects.s3 import S3Objects

MISSING = "ab" * 32
NO_DIGESTS = ("", "..", "../" * 20, "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32, "ab" * 31 + "a\n", "x" * 10_000)


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryObjects:
    return DirectoryObjects(tmp_path / "objects")


@pytest.fixture
def memory() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def moto(moto_server: S3Server, tmp_path: Path) -> S3Objects:
    return moto_server.objects(moto_server.new_bucket(), tmp_path / "staging")


@pytest.fixture
def rclone(rclone_server: S3Server, tmp_path: Path) -> S3Objects:
    return rclone_server.objects(rclone_server.new_bucket(), tmp_path / "staging")


@pytest.fixture
def given(tmp_path: Path) -> S3Objects:
    assert GIVEN is not None
    return GIVEN.objects(GIVEN.new_bucket(), tmp_path / "staging")


@pytest.fixture(params=["directory", "memory", "moto", "rclone", *(["given"] if GIVEN else [])])
def objects(request: pytest.FixtureRequest) -> ObjectStore:
    """A store of each kind, empty."""
    made: ObjectStore = request.getfixturevalue(request.param)
    return made


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(objects: ObjectStore, content: bytes) -> str:
    with objects.batch() as batch:
        return batch.put_bytes(content)


def damage(objects: ObjectStore, digest: str, content: bytes) -> None:
    """Replaces stored bytes, as a failing disk would."""
    if isinstance(objects, MemoryObjects):
        objects.damage(digest, content)
        return
    if isinstance(objects, S3Objects):
        port = int(objects.place.host.split(":")[1])
        client = S3Server("any", Path(), port, credentials=objects._keys.now).client()
        client.put_object(objects.place.bucket, objects.key(digest), io.BytesIO(content), len(content))
        return
    assert isinstance(objects, DirectoryObjects)
    objects.path(digest).chmod(0o644)
    objects.path(digest).write_bytes(content)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# Storing and reading


@pytest.mark.parametrize("content", [b"", b"\0", b"hello\n", bytes(range(256)) * 8192])
def test_what_was_stored_is_read_back(objects: ObjectStore, content: bytes, tmp_path: Path) -> None:
    digest = put(objects, content)
    assert digest == digest_of(content)
    assert objects.has(digest)
    assert objects.read(digest) == content
    objects.copy_to(digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_file_is_stored_under_its_digest(objects: ObjectStore, tmp_path: Path) -> None:
    content = b"line\n" * 500_000
    (tmp_path / "file").write_bytes(content)
    with objects.batch() as batch:
        batch.put_file(tmp_path / "file", digest_of(content))
    assert objects.read(digest_of(content)) == content


@pytest.mark.parametrize(("executable", "mode"), [(False, 0o444), (True, 0o555)])
def test_a_copy_can_only_be_read(objects: ObjectStore, tmp_path: Path, executable: bool, mode: int) -> None:
    objects.copy_to(put(objects, b"x"), tmp_path / "copy", executable=executable)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == mode


def test_a_copy_never_replaces_a_file(objects: ObjectStore, tmp_path: Path) -> None:
    digest = put(objects, b"new")
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("elsewhere")
    for target in (tmp_path / "mine", tmp_path / "link"):
        with pytest.raises(FetchmlError):
            objects.copy_to(digest, target)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_an_object_can_only_be_read(directory: DirectoryObjects) -> None:
    assert directory.path(put(directory, b"x")).stat().st_mode & 0o777 == 0o444


def test_an_object_that_is_not_there_is_not_found(objects: ObjectStore, tmp_path: Path) -> None:
    assert not objects.has(MISSING)
    with pytest.raises(NotFound):
        objects.read(MISSING)
    with pytest.raises(NotFound):
        objects.copy_to(MISSING, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("text", NO_DIGESTS, ids=lambda text: repr(text)[:20])
def test_what_is_no_digest_names_no_object(objects: ObjectStore, tmp_path: Path, text: str) -> None:
    for call in (objects.has, objects.read, lambda digest: objects.copy_to(digest, tmp_path / "copy")):
        with pytest.raises(NotFound):
            call(text)


# Listing


def test_an_empty_store_lists_nothing(objects: ObjectStore) -> None:
    assert list(objects.digests()) == []


def test_every_object_is_listed_once(objects: ObjectStore) -> None:
    with objects.batch() as batch:
        stored = {batch.put_bytes(b"%d" % number) for number in range(40)}
    put(objects, b"7")
    assert sorted(objects.digests()) == sorted(stored)


def test_what_is_no_object_is_not_listed(directory: DirectoryObjects) -> None:
    digest = put(directory, b"x")
    (directory.path(digest).parent / f"{durable.TEMPORARY_PREFIX}left").touch()
    (directory.root / "sha256" / "note.txt").touch()
    assert list(directory.digests()) == [digest]


def test_a_store_may_change_while_it_is_listed(objects: ObjectStore) -> None:
    digest = put(objects, b"first")
    listing = objects.digests()
    put(objects, b"second")
    assert digest in list(listing)


# Batches


def test_a_batch_becomes_visible_when_it_ends(objects: ObjectStore) -> None:
    with objects.batch() as batch:
        digests = [batch.put_bytes(bytes([number])) for number in range(40)]
        assert not any(objects.has(digest) for digest in digests)
    assert all(objects.has(digest) for digest in digests)


def test_a_batch_that_raises_stores_nothing(objects: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"two")

    def broken() -> None:
        with objects.batch() as batch:
            batch.put_bytes(b"one")
            batch.put_file(tmp_path / "file", digest_of(b"two"))
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert not objects.has(digest_of(b"one"))
    assert not objects.has(digest_of(b"two"))
    if isinstance(objects, DirectoryObjects):
        assert files_in(objects.root) == []


def test_an_empty_batch_does_nothing(objects: ObjectStore) -> None:
    with objects.batch():
        pass
    if isinstance(objects, DirectoryObjects):
        assert not objects.root.exists()


def test_the_same_bytes_twice_are_one_object(objects: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"same")
    with objects.batch() as batch:
        batch.put_bytes(b"same")
        batch.put_bytes(b"same")
        batch.put_file(tmp_path / "file", digest_of(b"same"))
    put(objects, b"same")
    assert objects.read(digest_of(b"same")) == b"same"
    if isinstance(objects, DirectoryObjects):
        assert files_in(objects.root) == [objects.path(digest_of(b"same"))]


def test_batches_of_many_threads_share_what_they_have_in_common(objects: ObjectStore) -> None:
    def store(number: int) -> None:
        with objects.batch() as batch:
            for content in (b"common", b"shared" * 10_000, b"own %d" % number):
                batch.put_bytes(content)

    in_threads(12, store)
    for content in (b"common", b"shared" * 10_000, *(b"own %d" % number for number in range(12))):
        assert objects.read(digest_of(content)) == content
    if isinstance(objects, DirectoryObjects):
        assert len(files_in(objects.root)) == 14


def test_batches_of_many_processes_share_what_they_have_in_common(directory: DirectoryObjects) -> None:
    program = """
from pathlib import Path
from fetchml.objects.directory import DirectoryObjects

number, root = sys.argv[1:]
gate()
with DirectoryObjects(Path(root)).batch() as batch:
    for item in range(30):
        batch.put_bytes(b"shared %d" % item)
    batch.put_bytes(number.encode())
"""
    in_processes(4, program, directory.root)
    for content in (*(b"shared %d" % item for item in range(30)), b"0", b"1", b"2", b"3"):
        assert directory.read(digest_of(content)) == content
    assert len(files_in(directory.root)) == 34


def test_a_file_that_changed_is_refused_and_not_stored(objects: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"as it was hashed")
    digest = digest_of(b"as it was hashed")
    (tmp_path / "file").write_bytes(b"as it is now")
    with pytest.raises(ChangedWhileRead), objects.batch() as batch:
        batch.put_file(tmp_path / "file", digest)
    assert not objects.has(digest)


def test_a_batch_goes_on_after_a_file_that_changed(objects: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"as it is now")
    with objects.batch() as batch:
        batch.put_bytes(b"other")
        with pytest.raises(ChangedWhileRead):
            batch.put_file(tmp_path / "file", digest_of(b"as it was hashed"))
    assert objects.has(digest_of(b"other"))
    assert not objects.has(digest_of(b"as it is now"))


def test_a_file_that_is_gone_is_not_found(objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound), objects.batch() as batch:
        batch.put_file(tmp_path / "gone", MISSING)


def test_a_link_put_in_place_of_a_file_is_not_followed(objects: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "file").symlink_to("secret")
    with pytest.raises((FetchmlError, ChangedWhileRead)), objects.batch() as batch:
        batch.put_file(tmp_path / "file", digest_of(b"secret"))
    assert not objects.has(digest_of(b"secret"))


# Damage and full disks


@pytest.mark.parametrize("bad", [b"", b"bytes!", b"byte", b"bytesbytes"])
def test_a_damaged_object_is_corrupt_and_never_copied(objects: ObjectStore, tmp_path: Path, bad: bytes) -> None:
    digest = put(objects, b"bytes")
    damage(objects, digest, bad)
    with pytest.raises(Corrupt) as caught:
        objects.read(digest)
    assert caught.value.code == "object-damaged"
    with pytest.raises(Corrupt):
        objects.copy_to(digest, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_storing_the_right_bytes_again_mends_a_damaged_object(objects: ObjectStore) -> None:
    """The error's own hint says: queue the run again from the original code."""
    digest = put(objects, b"bytes")
    damage(objects, digest, b"rotten")
    with pytest.raises(Corrupt):
        objects.read(digest)
    put(objects, b"bytes")
    assert objects.read(digest) == b"bytes"


def put_bytes(batch: ObjectBatch, path: Path) -> None:
    batch.put_bytes(path.read_bytes())


def put_file(batch: ObjectBatch, path: Path) -> None:
    batch.put_file(path, digest_of(path.read_bytes()))


@pytest.mark.parametrize("put", [put_file, put_bytes])
def test_a_full_disk_stores_nothing_and_leaves_nothing(
    directory: DirectoryObjects, tmp_path: Path, put: Callable[[ObjectBatch, Path], None]
) -> None:
    content = b"x" * 1_000_000
    (tmp_path / "file").write_bytes(content)
    with file_size_limit(100_000), pytest.raises(Unavailable) as caught, directory.batch() as batch:
        put(batch, tmp_path / "file")
    assert caught.value.code == durable.STORAGE_FULL
    assert not directory.has(digest_of(content))
    assert files_in(directory.root) == []


def test_a_full_disk_makes_no_copy_that_looks_whole(directory: DirectoryObjects, tmp_path: Path) -> None:
    digest = put(directory, b"x" * 1_000_000)
    with file_size_limit(100_000), pytest.raises(Unavailable):
        directory.copy_to(digest, tmp_path / "copy")
    assert not (tmp_path / "copy").exists() or (tmp_path / "copy").stat().st_size < 1_000_000


def test_what_a_batch_stored_before_it_broke_off_is_whole_and_stays(
    directory: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, calls = os.link, iter(range(100))

    def link(source: Path, target: Path) -> None:
        if next(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        really(source, target)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(Unavailable), directory.batch() as batch:
        digests = [batch.put_bytes(content) for content in (b"one", b"two", b"three")]
    # Another batch may have found it already and rely on it.
    present = [digest for digest in digests if directory.has(digest)]
    assert [directory.read(digest) for digest in present] == [b"one"]
    assert files_in(directory.root) == [directory.path(digests[0])]


def test_every_object_is_synced_before_it_has_its_name(
    directory: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    sync_file, link = durable.sync_file, os.link

    def note(path: Path) -> None:
        sync_file(path)
        synced.add(path.name)

    def check(source: Path, target: Path) -> None:
        assert Path(source).name in synced
        link(source, target)

    monkeypatch.setattr(durable, "sync_file", note)
    monkeypatch.setattr(os, "link", check)
    with directory.batch() as batch:
        digests = [batch.put_bytes(b"%d" % number) for number in range(20)]
    assert len(synced) == 20
    assert all(directory.has(digest) for digest in digests)


def test_an_object_that_was_there_already_is_durable_when_the_batch_ends(
    directory: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name may be a moment old: linked by a process that has not synced the folder, or was killed before it."""
    digest = put(directory, b"shared")
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    put(directory, b"shared")
    assert directory.path(digest).parent in synced


def test_objects_are_found_by_the_beginning_of_their_digest(objects: ObjectStore) -> None:
    assert list(objects.digests("ab")) == []
    digests = sorted(put(objects, b"%d" % number) for number in range(50))
    assert sorted(objects.digests("")) == digests
    for text in (digests[0][:1], digests[0][:2], digests[7][:8], digests[9], MISSING, "ABCD", "../.."):
        assert sorted(objects.digests(text)) == [digest for digest in digests if digest.startswith(text)]


def test_a_link_is_no_object(directory: DirectoryObjects, tmp_path: Path) -> None:
    """It may lead to anything, and what it leads to is not protected."""
    digest = put(directory, b"content")
    path = directory.path(digest)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    for look in (lambda: directory.read(digest), lambda: directory.copy_to(digest, tmp_path / "copy")):
        with pytest.raises(Corrupt, match="is a link"):
            look()
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o444
    put(directory, b"content")
    assert not path.is_symlink()
    assert directory.read(digest) == b"content"


# Files that are read once


@pytest.mark.parametrize("size_bytes", [0, 5, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1], ids=str)
def test_a_file_is_added_and_named_in_one_reading(objects: ObjectStore, tmp_path: Path, size_bytes: int) -> None:
    content = bytes(range(251)) * (size_bytes // 251 + 1)
    (tmp_path / "file").write_bytes(content[:size_bytes])
    with objects.batch() as batch:
        added = [batch.add_file(tmp_path / "file") for _ in range(2)]
    assert {item.sha256 for item in added} == {digest_of(content[:size_bytes])}
    assert added[0].status.st_size == size_bytes
    assert objects.read(added[0].sha256) == content[:size_bytes]
    with objects.batch() as batch:
        assert batch.add_file(tmp_path / "file") == added[0]
    assert list(objects.digests()) == [added[0].sha256]


def test_files_are_added_by_several_threads(objects: ObjectStore, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).write_bytes(b"%d" % (number % 7) * (1 + number % 3))
    with objects.batch() as batch:
        added = in_threads(20, lambda number: batch.add_file(tmp_path / str(number)).sha256)
    for number, digest in enumerate(added):
        assert objects.read(digest) == b"%d" % (number % 7) * (1 + number % 3)


@pytest.mark.parametrize("kind", ["missing", "link", "pipe", "folder"])
def test_what_is_no_file_is_not_added(objects: ObjectStore, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    match kind:
        case "link":
            path.symlink_to("/etc/hostname")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            pass
    with objects.batch() as batch, pytest.raises((OSError, ChangedWhileRead)):
        batch.add_file(path)
    assert list(objects.digests()) == []


@pytest.mark.parametrize("size_bytes", [5, 5 * 1024 * 1024])
def test_a_file_that_changes_while_it_is_read_is_not_added(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    (tmp_path / "file").write_bytes(b"x" * size_bytes)
    really = os.read

    def growing(descriptor: int, count: int) -> bytes:
        content = really(descriptor, count)
        if content:
            with (tmp_path / "file").open("r+b") as file:
                file.write(b"y")
        return content

    with objects.batch() as batch:
        monkeypatch.setattr(os, "read", growing)
        with pytest.raises(ChangedWhileRead):
            batch.add_file(tmp_path / "file")
        monkeypatch.setattr(os, "read", really)
    assert list(objects.digests()) == []


@pytest.mark.parametrize("count", [2, 12])
def test_a_batch_keeps_what_is_there(objects: ObjectStore, count: int) -> None:
    with objects.batch() as batch:
        stored = [batch.put_bytes(b"%d" % number) for number in range(count)]
        assert batch.keep(stored) == set()
    damage(objects, stored[0], b"?")
    with pytest.raises(Corrupt):
        objects.read(stored[0])
    with objects.batch() as batch:
        assert batch.keep([]) == set()
        assert batch.keep([*stored, MISSING]) == {stored[0], MISSING}
        batch.put_bytes(b"0")
    with objects.batch() as batch:
        assert batch.keep(stored) == set()


def test_what_was_stored_again_is_young(directory: DirectoryObjects) -> None:
    digest = put(directory, b"tree")
    os.utime(directory.path(digest), (0, 0))
    put(directory, b"tree")
    assert directory.path(digest).stat().st_mtime > 0
