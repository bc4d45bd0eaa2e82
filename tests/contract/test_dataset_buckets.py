"""Datasets in buckets: the same checksum as a folder, what a folder cannot hold refused, faults typed and resumed."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from minio import Minio

from contract.s3_servers import CREDENTIALS, HASTE, Exchange, Fault, FaultyProxy, S3Server, passed_on
from fetchml.datasets.bucket import BucketSource
from fetchml.datasets.digest import digest
from fetchml.datasets.listing import Entry, checksum_of
from fetchml.datasets.source import go_on
from fetchml.datasets.staging import Limits, Staging
from fetchml.errors import ConfigError, FetchmlError, Forbidden, NotFound, Refused, Unavailable
from fetchml.objects.s3_place import Credentials, Patience, S3Place

FILES = {"a.txt": b"pixels", "deep/er/b.bin": os.urandom(300_000), "deep/empty": b"", "with space+%41&<ü": b"x"}
BRIEF = Patience(connect_s=2, read_s=0.5, tries=3, pause_s=0.01)


class Data:
    """A bucket with a dataset below `set/`, reached directly and through a proxy.

    Args:
        server: The server.
        folder: A folder of the test.
    """

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.bucket = server.new_bucket()
        self.client: Minio = server.client()
        self.proxy = FaultyProxy(server.port)
        self.staging = Staging(folder / "cache", Limits(), lambda _: False)

    def put(self, files: dict[str, bytes], prefix: str = "set/") -> None:
        for path, content in files.items():
            self.client.put_object(self.bucket, prefix + path, io.BytesIO(content), len(content))

    def source(
        self, prefix: str = "set/", patience: Patience = HASTE, credentials: Credentials = CREDENTIALS
    ) -> BucketSource:
        endpoint = f"http://127.0.0.1:{self.proxy.port}"
        return BucketSource(S3Place(self.bucket, prefix, endpoint, "us-east-1"), credentials, patience)

    def same_folder(self, files: dict[str, bytes]) -> Path:
        root = self.folder / "same"
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return root

    def fails(self, fault: Fault, *, times: int = 1_000_000, on: Callable[[Exchange], bool] = lambda _: True) -> None:
        """From now on, requests meet a fault, at most so many of those it is for."""
        left = [times]
        self.proxy.requests.clear()

        def act(exchange: Exchange) -> None:
            if on(exchange) and left[0] > 0:
                left[0] -= 1
                fault(exchange)
            else:
                passed_on(exchange)

        self.proxy.fault = act

    def gets(self, text: str) -> int:
        return sum(text in item.path for item in self.proxy.requests)


@pytest.fixture(params=["moto_server", "rclone_server"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Data]:
    made = Data(request.getfixturevalue(request.param), tmp_path)
    yield made
    made.proxy.close()


@pytest.fixture
def moto_data(moto_server: S3Server, tmp_path: Path) -> Iterator[Data]:
    made = Data(moto_server, tmp_path)
    yield made
    made.proxy.close()


def is_body(exchange: Exchange) -> bool:
    """Whether the content of an object is asked for."""
    return exchange.request.method == "GET" and "list-type" not in exchange.request.path


def cut(exchange: Exchange) -> None:
    """The connection breaks in the middle of the body."""
    exchange.answer(exchange.ask()[:-100_000])


def status(text: str, code: str = "") -> Fault:
    return lambda exchange: exchange.answer_status(text, code)


# Checksums


def test_a_bucket_has_the_checksum_of_a_folder_with_these_files(data: Data) -> None:
    data.put(FILES)
    expected = digest(data.same_folder(FILES))
    source = data.source()
    entries = tuple(item.entry for item in source.files())
    with data.staging.receiving("key", entries, source) as place:
        found = digest(place)
        copy = data.staging.adopt(place, entries, found.checksum, source.name)
    assert (found.checksum, found.listing) == (expected.checksum, expected.listing)
    assert source.listing() == expected.listing
    assert digest(copy.data).checksum == expected.checksum
    assert (copy.data / "a.txt").stat().st_mode & 0o777 == 0o444
    assert (copy.data / "deep").stat().st_mode & 0o777 == 0o555
    assert [item.name for item in (data.staging.root / "incoming").iterdir()] == []


def test_one_object_has_the_checksum_of_a_file(data: Data) -> None:
    data.put({"a.txt": b"pixels"})
    (data.folder / "any name").write_bytes(b"pixels")
    expected = digest(data.folder / "any name")
    source = data.source("set/a.txt")
    assert checksum_of(source.listing(), "sha256") == expected.checksum
    copy, _ = data.staging.ensure(expected.checksum, expected.listing, source, source.name)
    assert copy.data.read_bytes() == b"pixels"


def test_a_bucket_can_be_hashed_with_blake3(moto_data: Data) -> None:
    moto_data.put(FILES)
    expected = digest(moto_data.same_folder(FILES), algorithm="blake3")
    source = moto_data.source()
    assert source.listing("blake3") == expected.listing
    copy, _ = moto_data.staging.ensure(expected.checksum, expected.listing, source, source.name)
    assert copy.folder.name.startswith("blake3-")
    assert moto_data.staging.copies() == [copy]
    assert digest(copy.data, algorithm="blake3").checksum == expected.checksum


def test_an_address_without_a_slash_is_what_is_there(moto_data: Data) -> None:
    moto_data.put({"a.txt": b"1", "sub/b": b"2"})
    assert moto_data.source("set/").or_file().is_folder
    assert moto_data.source("set/a.txt/").or_file().name.endswith("/set/a.txt")
    moto_data.put({"sub": b"a file with the name of a folder"})
    with pytest.raises(ConfigError, match="objects below it"):
        moto_data.source("set/sub/").or_file()
    with pytest.raises(NotFound, match="nothing at"):
        moto_data.source("elsewhere/").or_file().files()
    moto_data.client.remove_object(moto_data.bucket, "set/sub")
    assert [item.entry.path for item in moto_data.source("").files()] == [b"set/a.txt", b"set/sub/b"]


def test_the_prefix_of_another_dataset_is_not_part_of_it(data: Data) -> None:
    data.put({"a": b"1"}, "set/")
    data.put({"b": b"2"}, "set2/")
    assert [item.entry.path for item in data.source().files()] == [b"a"]


def test_a_listing_of_several_pages_is_complete(moto_data: Data) -> None:
    moto_data.put({f"{number:04}": b"%d" % number for number in range(1_050)})
    found = moto_data.source().files()
    assert [item.entry.path for item in found] == [b"%04d" % number for number in range(1_050)]


def test_markers_of_folders_do_not_count(moto_data: Data) -> None:
    moto_data.put({"a": b"1", "": b"", "sub/": b""})
    assert [item.entry.path for item in moto_data.source().files()] == [b"a"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a//b": b"1"}, "a//b: has an empty name"),
        ({"/a": b"1"}, "/a: has an empty name"),
        ({"folder/": b"content"}, "folder/: has an empty name"),
        ({"": b"content"}, "the prefix itself"),
        ({"a": b"1", "a/b": b"2"}, "a/b: lies below `a`, which is a file"),
        ({"a": b"1", "a/b/c/d": b"2"}, "a/b/c/d: lies below `a`"),
        ({"n" * 256: b"1"}, "longer than 255 bytes"),
        ({"\ufffd": b"1"}, "is not UTF-8"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_keys_that_no_folder_can_hold_are_refused(moto_data: Data, files: dict[str, bytes], told: str) -> None:
    moto_data.put({"fine": b"1", **files})
    with pytest.raises(Refused, match="cannot be the files of a folder") as caught:
        moto_data.source().files()
    assert told in str(caught.value)
    assert not moto_data.staging.root.exists()


@pytest.mark.parametrize("key", ["../escape", "a/../../escape", "./a", "a/.", "a/b/.."])
def test_keys_that_lead_elsewhere_are_refused(moto_data: Data, key: str) -> None:
    """No client puts such a key; a server may have it all the same."""
    moto_data.put({"fine": b"1"})

    def add(exchange: Exchange) -> None:
        head, _, body = exchange.ask().partition(b"\r\n\r\n")
        extra = f"<Contents><Key>set/{key}</Key><Size>1</Size></Contents>".encode()
        body = body.replace(b"<Contents>", extra + b"<Contents>", 1)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        exchange.answer(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body)

    moto_data.fails(add)
    with pytest.raises(Refused, match="cannot be the files of a folder") as caught:
        moto_data.source().files()
    assert "has `.` or `..` in its path" in str(caught.value)


# Faults on the way


def test_a_body_that_breaks_off_is_gone_on_with_where_it_broke(data: Data) -> None:
    data.put(FILES)
    expected = digest(data.same_folder(FILES))
    data.fails(cut, times=2, on=lambda e: is_body(e) and "b.bin" in e.request.path)
    copy, is_new = data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")
    assert is_new
    assert digest(copy.data).checksum == expected.checksum
    heads = [item.head.lower() for item in data.proxy.requests if "b.bin" in item.path]
    assert [b"range: bytes=" in head for head in heads] == [False, True, True]


def test_what_was_fetched_before_an_interruption_is_not_fetched_again(data: Data) -> None:
    data.put(FILES)
    expected = digest(data.same_folder(FILES))
    data.fails(cut, on=lambda e: is_body(e) and "b.bin" in e.request.path)
    with pytest.raises(Unavailable) as caught:
        data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")
    assert caught.value.code == "s3-unavailable"
    assert data.staging.find(expected.checksum) is None
    data.fails(passed_on)
    copy, is_new = data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")
    assert is_new
    assert digest(copy.data).checksum == expected.checksum
    (again,) = [item for item in data.proxy.requests if item.method == "GET" and "list-type" not in item.path]
    assert "b.bin" in again.path
    assert b"range: bytes=" in again.head.lower()
    data.fails(passed_on)
    assert data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")[1] is False
    assert data.proxy.requests == []


def test_a_beginning_that_is_wrong_is_fetched_from_the_start(data: Data) -> None:
    """After a power cut the part may hold anything."""
    data.put(FILES)
    expected = digest(data.same_folder(FILES))
    parts = data.staging.root / "incoming" / expected.checksum.replace(":", "-") / "parts"
    parts.mkdir(parents=True)
    name = hashlib.sha256(b"deep/er/b.bin").hexdigest()
    (parts / name).write_bytes(bytes(200_000))
    copy, _ = data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")
    assert digest(copy.data).checksum == expected.checksum


def test_an_object_that_was_replaced_or_cut_short_is_told_before_or_after_the_download(data: Data) -> None:
    data.put(FILES)
    expected = digest(data.same_folder(FILES))
    data.put({"a.txt": b"pix", "deep/er/b.bin": FILES["deep/er/b.bin"][:-1]})
    with pytest.raises(Refused, match="has changed") as caught:
        data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")
    assert (caught.value.code, "a.txt: changed; deep/er/b.bin: changed" in str(caught.value)) == (
        "dataset-changed",
        True,
    )
    data.put({**FILES, "a.txt": b"PIXELS"})
    with pytest.raises(Refused, match="has changed") as caught:
        data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")
    assert "a.txt: changed" in str(caught.value)
    assert data.staging.find(expected.checksum) is None
    data.put(FILES)
    assert data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")[1]


def test_an_object_that_is_shorter_than_listed_is_told(moto_data: Data) -> None:
    """The server says a size, and sends less with a right head."""
    moto_data.put({"a": b"0123456789"})

    def shorten(exchange: Exchange) -> None:
        exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n0123")

    moto_data.fails(shorten, on=is_body)
    source = moto_data.source()
    (item,) = source.files()
    with pytest.raises(Refused, match="has changed"):
        source.append(item.entry, io.BytesIO(), go_on)
    sink = io.BytesIO()
    longer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n012345678901"
    moto_data.fails(lambda exchange: exchange.answer(longer), on=is_body)
    with pytest.raises(Refused, match="has changed"):
        source.append(item.entry, sink, go_on)


def test_a_server_that_ignores_ranges_is_read_from_the_start(moto_data: Data) -> None:
    moto_data.put({"a": b"0123456789"})
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789"
    moto_data.fails(lambda exchange: exchange.answer(whole), on=is_body)
    sink = io.BytesIO(b"0123")
    moto_data.source().append(Entry("file", b"a", 10, None), sink, go_on)
    assert sink.getvalue() == b"0123456789"


def test_an_object_that_is_removed_meanwhile_is_told(data: Data) -> None:
    data.put(FILES)
    expected = digest(data.same_folder(FILES))
    data.fails(status("404 Not Found", "NoSuchKey"), on=lambda e: is_body(e) and "a.txt" in e.request.path)
    with pytest.raises(Refused, match="has changed") as caught:
        data.staging.ensure(expected.checksum, expected.listing, data.source(), "s3://x/")
    assert "a.txt: removed" in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (status("403 Forbidden", "SignatureDoesNotMatch"), Forbidden, "wrong-s3-credentials"),
        (status("403 Forbidden", "AccessDenied"), Forbidden, "s3-denied"),
        (status("403 Forbidden", "RequestTimeTooSkewed"), Forbidden, "clock-skew"),
        (status("404 Not Found", "NoSuchBucket"), ConfigError, "no-such-bucket"),
        (status("503 Slow", "SlowDown"), Unavailable, "s3-unavailable"),
        (Exchange.hang, Unavailable, "s3-unavailable"),
        (lambda _: None, Unavailable, "s3-unavailable"),
    ],
    ids=["signature", "denied", "clock", "bucket", "slow", "hang", "drop"],
)
@pytest.mark.parametrize("when", ["list", "body"])
def test_each_fault_has_its_error_and_leaves_no_copy(
    moto_data: Data, fault: Fault, error: type[FetchmlError], code: str, when: str
) -> None:
    moto_data.put({"a": b"1", "b": b"2"})
    expected = digest(moto_data.same_folder({"a": b"1", "b": b"2"}))
    moto_data.fails(fault, on=lambda e: is_body(e) == (when == "body"))
    source = moto_data.source(patience=BRIEF)
    with pytest.raises(error) as caught:
        moto_data.staging.ensure(expected.checksum, expected.listing, source, source.name)
    assert caught.value.code == code
    assert "objects.url" not in str(caught.value)
    assert moto_data.staging.copies() == []
    moto_data.fails(passed_on)
    assert moto_data.staging.ensure(expected.checksum, expected.listing, moto_data.source(), "s3://x/")[1]


def test_a_bucket_that_does_not_exist_is_told(data: Data) -> None:
    place = S3Place("no-bucket-of-this-name", "set/", data.server.endpoint, "us-east-1")
    for source in (BucketSource(place, CREDENTIALS, HASTE), BucketSource(place, CREDENTIALS, HASTE).or_file):
        with pytest.raises(ConfigError) as caught:
            source.files() if isinstance(source, BucketSource) else source()
        assert caught.value.code == "no-such-bucket"
        assert "no-bucket-of-this-name" in str(caught.value)


def test_a_wrong_secret_is_forbidden_and_not_shown(rclone_server: S3Server, tmp_path: Path) -> None:
    made = Data(rclone_server, tmp_path)
    made.put({"a": b"1"})
    source = made.source(credentials=Credentials(CREDENTIALS.access_key, "no-secret-of-ours"))
    with pytest.raises(Forbidden) as caught:
        source.files()
    assert "no-secret-of-ours" not in str(caught.value)
    made.proxy.close()


# Keys that change


def test_a_key_that_was_changed_is_taken_up_once(rclone_server: S3Server, tmp_path: Path) -> None:
    data = Data(rclone_server, tmp_path)
    try:
        data.put(FILES)
        data.put({"file": b"one"}, "")
        old = Credentials(CREDENTIALS.access_key, "the-secret-of-yesterday")
        asked: list[int] = []

        def renew() -> Credentials:
            asked.append(1)
            return CREDENTIALS

        for prefix, read in (
            ("set/", lambda source: source.files()),
            ("set/", lambda source: source.listing()),
            ("file", lambda source: source.listing()),
            ("file/", lambda source: source.or_file().listing()),
        ):
            asked.clear()
            source = BucketSource(data.source(prefix).place, old, HASTE, renew)
            assert read(source)
            assert len(asked) == 1
            assert read(source)
            assert len(asked) == 1
    finally:
        data.proxy.close()


def test_a_key_that_is_denied_and_was_not_changed_is_forbidden(rclone_server: S3Server, tmp_path: Path) -> None:
    data = Data(rclone_server, tmp_path)
    try:
        data.put(FILES)
        old = Credentials(CREDENTIALS.access_key, "the-secret-of-yesterday")
        source = BucketSource(data.source().place, old, HASTE, lambda: old)
        with pytest.raises(Forbidden) as caught:
            source.files()
        assert "the-secret-of-yesterday" not in str(caught.value)
    finally:
        data.proxy.close()
