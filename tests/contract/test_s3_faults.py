"""Buckets when the network, the server or the credentials fail: a typed error, nothing lost, nothing half."""

import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from contract.s3_servers import CREDENTIALS, HASTE, Exchange, Fault, FaultyProxy, S3Server, passed_on, serving
from fetchml.errors import ConfigError, Corrupt, FetchmlError, Forbidden, NotFound, Unavailable
from fetchml.objects.s3 import S3Objects
from fetchml.objects.s3_place import Credentials, Patience, S3Place

BRIEF = Patience(connect_s=2, read_s=0.5, tries=3, pause_s=0.01)
"""For servers that never answer."""
LARGE = os.urandom(1 << 20) * 36
"""Three parts."""


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(objects: S3Objects, *contents: bytes) -> str:
    with objects.batch() as batch:
        return [batch.put_bytes(content) for content in contents][-1]


class Bucket:
    """A bucket that is reached directly and through a proxy."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server = server
        self.name = server.new_bucket()
        self.folder = folder
        self.direct = server.objects(self.name, folder)
        self.proxy = FaultyProxy(server.port)
        self.objects = self.through(HASTE)

    def through(self, patience: Patience, credentials: Credentials = CREDENTIALS) -> S3Objects:
        place = S3Place(self.name, "lab/", f"http://127.0.0.1:{self.proxy.port}", "us-east-1")
        return S3Objects(place, credentials, self.folder / "staging", patience)

    def fails(self, fault: Fault, *, times: int = 1_000_000, on: Callable[[Exchange], bool] = lambda _: True) -> None:
        """Lets the next requests fail, then passes them on."""
        lock, left = threading.Lock(), times

        def decide(exchange: Exchange) -> None:
            nonlocal left
            with lock:
                is_hit = left > 0 and on(exchange)
                left -= is_hit
            (fault if is_hit else passed_on)(exchange)

        self.proxy.fault = decide
        self.proxy.requests.clear()

    def sent(self, method: str) -> int:
        return sum(request.method == method for request in self.proxy.requests)


@pytest.fixture
def bucket(moto_server: S3Server, tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(moto_server, tmp_path)
    yield made
    made.proxy.close()


def is_put(exchange: Exchange) -> bool:
    return exchange.request.method == "PUT"


def is_get(exchange: Exchange) -> bool:
    return exchange.request.method == "GET"


# Faults


def hang(exchange: Exchange) -> None:
    exchange.hang()


def hang_up(exchange: Exchange) -> None:
    pass


def done_but_not_told(exchange: Exchange) -> None:
    exchange.ask()


def cut(exchange: Exchange) -> None:
    answer = exchange.ask()
    exchange.answer(answer[: len(answer) - 10])


def flipped(exchange: Exchange) -> None:
    answer = exchange.ask()
    exchange.answer(answer[:-1] + bytes([answer[-1] ^ 1]))


def status(text: str, code: str = "", headers: str = "") -> Fault:
    return lambda exchange: exchange.answer_status(text, code, headers)


CALLS: dict[str, Callable[[S3Objects, Path], object]] = {
    "has": lambda objects, _: objects.has(digest_of(b"stored")),
    "read": lambda objects, _: objects.read(digest_of(b"stored")),
    "copy_to": lambda objects, folder: objects.copy_to(digest_of(b"stored"), folder / "copy"),
    "batch": lambda objects, _: put(objects, b"new"),
    "digests": lambda objects, _: list(objects.digests()),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_call
@pytest.mark.parametrize(
    "fault",
    [hang, hang_up, status("500 Internal", "InternalError"), status("503 Slow", "SlowDown"), status("502 Bad")],
    ids=["hang", "hang up", "500", "503", "502 without a body"],
)
def test_a_server_that_fails_for_good_is_unavailable(
    bucket: Bucket, tmp_path: Path, call: Callable[[S3Objects, Path], object], fault: Fault
) -> None:
    put(bucket.direct, b"stored")
    bucket.fails(fault)
    with pytest.raises(Unavailable) as caught:
        call(bucket.through(BRIEF) if fault is hang else bucket.objects, tmp_path)
    text = str(caught.value)
    assert caught.value.code == "s3-unavailable"
    assert bucket.name in text
    assert f"127.0.0.1:{bucket.proxy.port}" in text
    assert "hint: " in text
    assert len(bucket.proxy.requests) == BRIEF.tries
    assert not (tmp_path / "copy").exists()
    assert not bucket.direct.has(digest_of(b"new"))


@each_call
@pytest.mark.parametrize("fault", [hang_up, status("503 Slow", "SlowDown"), status("500 Internal"), done_but_not_told])
def test_a_server_that_fails_twice_is_asked_again(
    bucket: Bucket, tmp_path: Path, call: Callable[[S3Objects, Path], object], fault: Fault
) -> None:
    put(bucket.direct, b"stored")
    bucket.fails(fault, times=2)
    call(bucket.objects, tmp_path)
    assert len(bucket.proxy.requests) >= 3


@each_call
def test_no_server_at_all_is_unavailable(
    bucket: Bucket, tmp_path: Path, call: Callable[[S3Objects, Path], object]
) -> None:
    bucket.proxy.close()
    with pytest.raises(Unavailable, match="does not answer") as caught:
        call(bucket.objects, tmp_path)
    assert "no connection" in str(caught.value)


def test_a_name_nobody_knows_is_unavailable(tmp_path: Path) -> None:
    place = S3Place("lab", "", "http://nowhere.invalid:9000", "us-east-1")
    with pytest.raises(Unavailable, match="does not answer"):
        S3Objects(place, CREDENTIALS, tmp_path, BRIEF).has(digest_of(b""))


# Bodies


def test_a_body_that_is_cut_once_is_read_again(bucket: Bucket, tmp_path: Path) -> None:
    digest = put(bucket.direct, LARGE)
    bucket.fails(cut, times=2)
    bucket.objects.copy_to(digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == LARGE
    bucket.fails(cut, times=2)
    assert bucket.objects.read(digest) == LARGE


def test_a_body_that_is_always_cut_is_unavailable_and_leaves_no_copy(bucket: Bucket, tmp_path: Path) -> None:
    digest = put(bucket.direct, b"x" * 5_000_000)
    bucket.fails(cut)
    with pytest.raises(Unavailable, match="does not answer"):
        bucket.objects.copy_to(digest, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert bucket.sent("GET") == HASTE.tries
    assert bucket.direct.read(digest)


def test_a_bit_that_flips_once_on_the_way_is_no_damage(bucket: Bucket, tmp_path: Path) -> None:
    digest = put(bucket.direct, b"stored")
    bucket.fails(flipped, times=1)
    assert bucket.objects.read(digest) == b"stored"
    bucket.fails(flipped, times=1)
    bucket.objects.copy_to(digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"stored"


def test_bytes_that_are_wrong_twice_are_corrupt_and_the_next_batch_replaces_them(
    bucket: Bucket, tmp_path: Path
) -> None:
    digest = put(bucket.direct, b"stored")
    bucket.fails(flipped, on=is_get)
    with pytest.raises(Corrupt) as caught:
        bucket.objects.copy_to(digest, tmp_path / "copy")
    assert caught.value.code == "object-damaged"
    assert bucket.name in str(caught.value)
    assert not (tmp_path / "copy").exists()
    assert bucket.direct.marked() == {digest}
    bucket.fails(passed_on)
    put(bucket.objects, b"stored", b"other")
    assert bucket.sent("PUT") == 2
    assert bucket.direct.marked() == frozenset()
    put(bucket.objects, b"stored", b"other")
    assert bucket.sent("PUT") == 2


def test_a_reader_that_may_not_write_still_tells_of_damage(bucket: Bucket) -> None:
    digest = put(bucket.direct, b"stored")
    bucket.fails(lambda e: (flipped if is_get(e) else status("403 Forbidden", "AccessDenied"))(e))
    with pytest.raises(Corrupt):
        bucket.objects.read(digest)


def test_bytes_that_change_on_their_way_up_are_found_and_mended(bucket: Bucket) -> None:
    """Neither moto nor rclone compares a body with its signed digest, so the reader has to find it."""

    def change(exchange: Exchange) -> None:
        exchange.answer(exchange.ask(b"stoned"))

    bucket.fails(change, on=is_put)
    digest = put(bucket.objects, b"stored")
    with pytest.raises(Corrupt):
        bucket.direct.read(digest)
    put(bucket.direct, b"stored")
    assert bucket.direct.read(digest) == b"stored"


def test_an_object_that_arrives_short_is_told_and_replaced(bucket: Bucket) -> None:
    def shorten(exchange: Exchange) -> None:
        request = exchange.request
        head = request.head.replace(b"Content-Length: 6", b"Content-Length: 4")
        exchange.request = type(request)(request.method, request.path, head, request.body[:4])
        exchange.answer(exchange.ask())

    bucket.fails(shorten, on=is_put)
    with pytest.raises(Unavailable, match="did not arrive whole"):
        put(bucket.objects, b"stored")
    put(bucket.direct, b"stored")
    assert bucket.direct.read(digest_of(b"stored")) == b"stored"


# Large objects, and answers that are lost


@pytest.mark.parametrize("server", ["moto_server", "rclone_server"])
def test_a_large_object_goes_in_parts_and_never_through_memory(
    request: pytest.FixtureRequest, tmp_path: Path, server: str
) -> None:
    objects = request.getfixturevalue(server).objects(request.getfixturevalue(server).new_bucket(), tmp_path / "up")
    (tmp_path / "file").write_bytes(LARGE * 3)
    digest = digest_of(LARGE * 3)
    tracemalloc.start()
    try:
        with objects.batch() as batch:
            batch.put_file(tmp_path / "file", digest)
        objects.copy_to(digest, tmp_path / "copy")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < len(LARGE * 3) / 2
    assert digest_of((tmp_path / "copy").read_bytes()) == digest


def test_the_lost_answer_to_the_last_request_of_an_upload_is_no_failure(bucket: Bucket) -> None:
    bucket.fails(done_but_not_told, times=1, on=lambda e: e.request.method == "POST" and "uploadId=" in e.request.path)
    digest = put(bucket.objects, LARGE)
    assert bucket.direct.read(digest) == LARGE


def test_a_part_that_fails_is_sent_again_and_no_other(bucket: Bucket) -> None:
    bucket.fails(status("503 Slow", "SlowDown"), times=1, on=lambda e: "partNumber=2" in e.request.path)
    put(bucket.objects, LARGE)
    assert bucket.sent("PUT") == 4


def test_a_write_whose_answers_are_all_lost_is_unavailable_and_harmless(bucket: Bucket) -> None:
    bucket.fails(done_but_not_told, on=is_put)
    with pytest.raises(Unavailable):
        put(bucket.objects, b"stored")
    assert bucket.direct.read(digest_of(b"stored")) == b"stored"
    bucket.fails(passed_on)
    put(bucket.objects, b"stored")
    assert bucket.sent("PUT") == 0


def test_a_batch_that_breaks_off_stores_whole_objects_or_none(bucket: Bucket) -> None:
    contents = [b"%d" % number * 1000 for number in range(30)]
    bucket.fails(status("500 Internal", "InternalError"), on=lambda e: is_put(e) and e.request.body == contents[10])
    with pytest.raises(Unavailable):
        put(bucket.objects, *contents)
    assert not bucket.direct.has(digest_of(contents[10]))
    for content in contents:
        assert not bucket.direct.has(digest_of(content)) or bucket.direct.read(digest_of(content)) == content
    put(bucket.direct, *contents)
    assert set(bucket.direct.digests()) == {digest_of(content) for content in contents}


def test_what_the_bucket_has_is_not_uploaded_again(bucket: Bucket) -> None:
    contents = [b"%d" % number for number in range(20)]
    put(bucket.objects, *contents)
    assert bucket.sent("PUT") == 20
    put(bucket.objects, *contents, b"new")
    assert bucket.sent("PUT") == 21


# Who may, and where


@each_call
@pytest.mark.parametrize(
    ("code", "stable"),
    [
        ("InvalidAccessKeyId", "wrong-s3-credentials"),
        ("SignatureDoesNotMatch", "wrong-s3-credentials"),
        ("ExpiredToken", "wrong-s3-credentials"),
        ("AccessDenied", "s3-denied"),
        ("RequestTimeTooSkewed", "clock-skew"),
    ],
)
def test_who_is_refused_is_told_why(
    bucket: Bucket, tmp_path: Path, call: Callable[[S3Objects, Path], object], code: str, stable: str
) -> None:
    bucket.fails(status("403 Forbidden", code))
    with pytest.raises(Forbidden) as caught:
        call(bucket.objects, tmp_path)
    assert caught.value.hint
    assert bucket.name in str(caught.value)
    if bucket.proxy.requests[0].method != "HEAD":  # its answer has no body that names the reason
        assert caught.value.code == stable
    assert len(bucket.proxy.requests) == 1


def test_a_clock_that_is_off_is_told_even_without_a_reason(bucket: Bucket) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    bucket.fails(status("403 Forbidden", headers=f"Date: {then}\r\n"))
    with pytest.raises(Forbidden, match="refuses the time") as caught:
        bucket.objects.has(digest_of(b""))
    assert caught.value.code == "clock-skew"
    assert "s behind" in str(caught.value)


@each_call
def test_a_wrong_secret_is_forbidden(
    rclone_server: S3Server, tmp_path: Path, call: Callable[[S3Objects, Path], object]
) -> None:
    right = rclone_server.objects(rclone_server.new_bucket(), tmp_path)
    wrong = S3Objects(right.place, Credentials(CREDENTIALS.access_key, "no-secret-of-ours"), tmp_path, HASTE)
    with pytest.raises(Forbidden) as caught:
        call(wrong, tmp_path)
    assert "no-secret-of-ours" not in str(caught.value)


@each_call
@pytest.mark.parametrize("server", ["moto_server", "rclone_server"])
def test_a_bucket_that_does_not_exist_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, call: Callable[[S3Objects, Path], object], server: str
) -> None:
    objects = request.getfixturevalue(server).objects("no-bucket-of-this-name", tmp_path / "staging")
    with pytest.raises(ConfigError, match="bucket for objects does not exist") as caught:
        call(objects, tmp_path)
    assert caught.value.code == "no-such-bucket"
    assert "no-bucket-of-this-name" in str(caught.value)


def test_a_server_that_is_no_s3_server_is_told(bucket: Bucket) -> None:
    page = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope"
    bucket.fails(lambda exchange: exchange.answer(page))
    with pytest.raises(ConfigError, match="no S3 server"):
        bucket.objects.read(digest_of(b""))


def test_a_full_server_is_told(bucket: Bucket) -> None:
    bucket.fails(status("507 Insufficient Storage", "XMinioStorageFull"), on=is_put)
    with pytest.raises(Unavailable, match="no space left") as caught:
        put(bucket.objects, b"stored")
    assert caught.value.code == "s3-full"


def test_another_region_is_told(bucket: Bucket) -> None:
    bucket.fails(status("400 Bad Request", "AuthorizationHeaderMalformed"))
    with pytest.raises(ConfigError, match="another region"):
        bucket.objects.read(digest_of(b""))


@each_call
@pytest.mark.parametrize("text", ["403 Forbidden", "400 Bad Request", "500 Internal"])
def test_no_secret_is_ever_shown(
    bucket: Bucket, tmp_path: Path, call: Callable[[S3Objects, Path], object], text: str
) -> None:
    """A server may put whatever it was sent into its answer."""
    credentials = Credentials("the-key-itself", "the-secret-itself", "the-token-itself")
    echo = f"</Code><Code>{credentials.access_key}{credentials.secret_key}{credentials.session_token}"
    bucket.fails(status(text, echo))
    objects = bucket.through(HASTE, credentials)
    with pytest.raises(FetchmlError) as caught:
        call(objects, tmp_path)
    for shown in (str(caught.value), repr(objects), repr(credentials), repr(objects.place), repr(vars(objects))):
        assert "-itself" not in shown


# Crashes


def test_a_server_that_is_killed_while_it_gets_a_batch_loses_nothing(tmp_path: Path) -> None:
    with serving("rclone", tmp_path / "server") as server:
        bucket = Bucket(server, tmp_path / "work")
        before = put(bucket.direct, b"from before")
        contents = [LARGE, *(os.urandom(1000) for _ in range(40))]

        def kill(exchange: Exchange) -> None:
            server.kill()

        bucket.fails(kill, on=lambda e: "partNumber=2" in e.request.path)
        with pytest.raises(Unavailable):
            put(bucket.objects, *contents)
        server.start()
        bucket.fails(passed_on)
        assert bucket.direct.read(before) == b"from before"
        assert not bucket.direct.has(digest_of(LARGE))
        for digest in bucket.direct.digests():
            bucket.direct.read(digest)  # verifies it
        put(bucket.objects, *contents)
        assert set(bucket.direct.digests()) == {before, *map(digest_of, contents)}
        assert bucket.direct.read(digest_of(LARGE)) == LARGE
        bucket.proxy.close()


def test_a_process_that_forks_uses_connections_of_its_own(bucket: Bucket) -> None:
    digest = put(bucket.direct, b"stored")
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if all(bucket.direct.read(digest) == b"stored" for _ in range(20)) else 1)
        finally:
            os._exit(2)
    for _ in range(20):
        assert bucket.direct.read(digest) == b"stored"
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_of_a_batch_is_left_on_this_host(bucket: Bucket) -> None:
    put(bucket.objects, b"stored")
    assert list((bucket.folder / "staging").iterdir()) == []


def test_a_listing_of_several_pages_is_complete(bucket: Bucket) -> None:
    contents = [b"%d" % number for number in range(1_050)]
    put(bucket.direct, *contents)
    bucket.fails(status("503 Slow", "SlowDown"), times=1, on=lambda e: "continuation-token" in e.request.path)
    assert set(bucket.objects.digests()) == {digest_of(content) for content in contents}
    assert bucket.sent("GET") == 3


def test_prefixes_of_one_bucket_know_nothing_of_each_other(moto_server: S3Server, tmp_path: Path) -> None:
    name = moto_server.new_bucket()
    stores = [moto_server.objects(name, tmp_path, prefix) for prefix in ("", "a/", "a/b/")]
    for number, objects in enumerate(stores):
        put(objects, b"%d" % number)
    for number, objects in enumerate(stores):
        assert list(objects.digests()) == [digest_of(b"%d" % number)]
    with pytest.raises(NotFound):
        stores[0].read(digest_of(b"1"))
