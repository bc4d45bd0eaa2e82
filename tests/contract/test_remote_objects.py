"""Objects of a lab from another host: read through a folder there, sent once, and believed by their digest only."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.errors import Conflict, Corrupt, FetchmlError, NotFound, Refused
from fetchml.keys.access import AccessKind
from fetchml.link.wire import CHUNK_BYTES
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.port import ChangedWhileRead
from fetchml.objects.remote import RemoteObjects
from gateways import EVERYTHING, Gateway, gateway

LARGE = bytes(range(256)) * (CHUNK_BYTES // 128)
"""Two parts and a bit."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "lab", EVERYTHING) as made:
        yield made


@pytest.fixture
def there(lab: Gateway) -> DirectoryObjects:
    objects = lab.lab.home.objects
    assert isinstance(objects, DirectoryObjects)
    return objects


@pytest.fixture
def here(lab: Gateway, tmp_path: Path) -> RemoteObjects:
    return RemoteObjects(DirectoryObjects(tmp_path / "near"), lab.link(AccessKind.USER, "ada"))


def put(objects: DirectoryObjects | RemoteObjects, content: bytes) -> str:
    with objects.batch() as batch:
        return batch.put_bytes(content)


@pytest.mark.parametrize("content", [b"", b"x", b"hello\n" * 1000, LARGE + b"1"], ids=["none", "one", "small", "large"])
def test_what_is_stored_here_is_there(here: RemoteObjects, there: DirectoryObjects, content: bytes) -> None:
    digest = put(here, content)
    assert there.read(digest) == content
    assert here.has(digest)


@pytest.mark.parametrize("content", [b"", b"x", LARGE + b"2"], ids=["empty", "one", "large"])
def test_what_is_there_is_read_here_and_kept(
    here: RemoteObjects, there: DirectoryObjects, content: bytes, tmp_path: Path
) -> None:
    digest = put(there, content)
    assert here.has(digest)
    assert not here.near.has(digest)
    assert here.read(digest) == content
    assert here.near.read(digest) == content
    here.copy_to(digest, tmp_path / "copy", executable=True)
    assert (tmp_path / "copy").read_bytes() == content


def test_what_the_lab_has_is_not_sent_again(here: RemoteObjects, there: DirectoryObjects) -> None:
    digest = put(there, LARGE)
    sent: list[str] = []
    original = here._send
    here._send = lambda digest: sent.append(digest) or original(digest)  # type: ignore[method-assign,func-returns-value]
    assert put(here, LARGE) == digest
    assert sent == []


def test_what_only_this_host_has_is_sent_when_it_is_kept(here: RemoteObjects, there: DirectoryObjects) -> None:
    digest = put(here.near, b"known here")
    with here.batch() as batch:
        assert batch.keep([digest, "ab" * 32]) == {"ab" * 32}
    assert there.read(digest) == b"known here"


def test_a_batch_that_breaks_off_sends_nothing(here: RemoteObjects, there: DirectoryObjects) -> None:
    def breaks_off() -> None:
        with here.batch() as batch:
            batch.put_bytes(b"never")
            raise KeyError

    with pytest.raises(KeyError):
        breaks_off()
    assert not there.has(hashlib.sha256(b"never").hexdigest())


def test_what_is_nowhere_is_not_found(here: RemoteObjects) -> None:
    assert not here.has("ab" * 32)
    with pytest.raises(NotFound):
        here.read("ab" * 32)


def test_a_copy_here_that_was_damaged_is_fetched_again(here: RemoteObjects, there: DirectoryObjects) -> None:
    digest = put(there, b"right")
    assert here.read(digest) == b"right"
    here.near.path(digest).chmod(0o644)
    here.near.path(digest).write_bytes(b"wrong")
    assert here.read(digest) == b"right"


def test_an_object_that_is_damaged_there_is_not_taken(here: RemoteObjects, there: DirectoryObjects) -> None:
    digest = put(there, b"right")
    there.path(digest).chmod(0o644)
    there.path(digest).write_bytes(b"wrong")
    with pytest.raises(Corrupt):
        here.read(digest)
    assert not here.near.has(digest)


def test_bytes_under_another_name_are_refused(lab: Gateway, there: DirectoryObjects) -> None:
    link = lab.link(AccessKind.USER, "bob")
    digest = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(Conflict) as caught:
        link.call("PUT", f"/v1/objects/{digest}", b"wrong", query={"offset": 0, "total": 5})
    assert caught.value.code == "other-digest"
    link.call("PUT", f"/v1/objects/{digest}", b"wr", query={"offset": 0, "total": 5})
    with pytest.raises(Conflict):
        link.call("PUT", f"/v1/objects/{digest}", b"ong", query={"offset": 2, "total": 5})
    assert not there.has(digest)
    with pytest.raises(Conflict) as caught:
        link.call("PUT", f"/v1/objects/{digest}", b"t", query={"offset": 4, "total": 5})
    assert caught.value.code == "gap"


@pytest.mark.parametrize("name", ["..", "AB" * 32, "ab" * 31, "x" * 64, "%2e%2e", "missing2"])
def test_what_is_no_digest_names_no_object(lab: Gateway, name: str) -> None:
    link = lab.link(AccessKind.USER, "bob")
    for method, body in (("GET", None), ("PUT", b"x")):
        with pytest.raises(FetchmlError):
            link.call(method, f"/v1/objects/{name}", body, query={"offset": 0, "total": 1})


def test_a_lab_is_not_listed_from_elsewhere(here: RemoteObjects) -> None:
    with pytest.raises(Refused):
        list(here.digests())


def test_a_file_that_changes_meanwhile_is_not_sent(here: RemoteObjects, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(ChangedWhileRead), here.batch() as batch:
        batch.put_file(tmp_path / "file", hashlib.sha256(b"this").hexdigest())
