"""Whom a bucket is trusted to, and who with it: certificates, redirects, public buckets, keys that change."""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from contract.certificates import Authority
from contract.s3_servers import CREDENTIALS, HASTE, Exchange, FaultyProxy, S3Server, serving
from fetchml.errors import ConfigError, FetchmlError, Forbidden, Refused, Unavailable
from fetchml.objects.s3 import S3Objects
from fetchml.objects.s3_place import Credentials, S3Place

TOKEN = Credentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, "canary-token")


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(objects: S3Objects, content: bytes) -> str:
    with objects.batch() as batch:
        return batch.put_bytes(content)


CALLS: dict[str, Callable[[S3Objects, Path], object]] = {
    "has": lambda objects, _: objects.has(digest_of(b"stored")),
    "read": lambda objects, _: objects.read(digest_of(b"stored")),
    "copy_to": lambda objects, folder: objects.copy_to(digest_of(b"stored"), folder / "copy"),
    "batch": lambda objects, _: put(objects, b"new"),
    "digests": lambda objects, _: list(objects.digests()),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# Certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("tls")
    with serving("rclone", folder, certificate=authority.certificate(), ca_file=authority.file) as made:
        yield made


def over_tls(server: S3Server, tmp_path: Path, ca_file: Path | None, bucket: str | None = None) -> S3Objects:
    place = S3Place(bucket or server.new_bucket(), "lab/", server.endpoint, "us-east-1", ca_file)
    return S3Objects(place, CREDENTIALS, tmp_path / "staging", HASTE)


@each_call
def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls_server: S3Server, authority: Authority, tmp_path: Path, call: Callable[[S3Objects, Path], object]
) -> None:
    sound = over_tls(tls_server, tmp_path, authority.file)
    with pytest.raises(Refused, match="cannot prove") as caught:
        call(over_tls(tls_server, tmp_path, None, sound.place.bucket), tmp_path)
    assert caught.value.code == "untrusted-s3-server"
    assert "objects.s3.ca_file" in str(caught.value.hint)
    assert list(sound.digests()) == []
    assert not (tmp_path / "copy").exists()


def test_a_file_with_the_authority_makes_it_trusted(tls_server: S3Server, authority: Authority, tmp_path: Path) -> None:
    objects = over_tls(tls_server, tmp_path, authority.file)
    assert objects.read(put(objects, b"stored")) == b"stored"


def test_ssl_cert_file_makes_it_trusted_and_the_setting_wins_over_it(
    tls_server: S3Server, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    objects = over_tls(tls_server, tmp_path, None)
    assert objects.read(put(objects, b"stored")) == b"stored"
    other = Authority(tmp_path, "other").file
    with pytest.raises(Refused):
        over_tls(tls_server, tmp_path, other, objects.place.bucket).has(digest_of(b"stored"))


@pytest.mark.parametrize(
    ("host", "valid", "said", "hint"),
    [
        ("127.0.0.1", timedelta(days=-1), "expired", "renew the certificate"),
        ("127.0.0.2", timedelta(days=1), "mismatch", "a name that the certificate is for"),
        ("s3.example.org", timedelta(days=1), "mismatch", "a name that the certificate is for"),
    ],
    ids=["expired", "another address", "another host"],
)
def test_a_certificate_that_does_not_fit_is_refused_although_its_authority_is_trusted(
    authority: Authority, tmp_path: Path, host: str, valid: timedelta, said: str, hint: str
) -> None:
    with serving("rclone", tmp_path / "server", certificate=authority.certificate(host, valid)) as server:
        with pytest.raises(Refused) as caught:
            over_tls(server, tmp_path, authority.file, "any-bucket").has(digest_of(b""))
        assert caught.value.code == "untrusted-s3-server"
        assert said in str(caught.value.detail)
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\n"], ids=str)
def test_a_file_without_certificates_is_told_of(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    place = S3Place("bucket", "", "https://127.0.0.1:9", "us-east-1", file)
    with pytest.raises(ConfigError, match="cannot be read from") as caught:
        S3Objects(place, CREDENTIALS, tmp_path, HASTE).has(digest_of(b""))
    assert caught.value.code == "bad-ca-file"


# Redirects, listings, ETags


@pytest.fixture
def proxies(moto_server: S3Server) -> Iterator[tuple[FaultyProxy, FaultyProxy]]:
    """The way to a server, and another host that would like to be it."""
    made = FaultyProxy(moto_server.port), FaultyProxy(moto_server.port)
    yield made
    for proxy in made:
        proxy.close()


def through(proxy: FaultyProxy, bucket: str, tmp_path: Path) -> S3Objects:
    place = S3Place(bucket, "lab/", f"http://127.0.0.1:{proxy.port}", "us-east-1")
    return S3Objects(place, TOKEN, tmp_path / "staging", HASTE)


@each_call
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_to_another_host_is_not_followed(
    moto_server: S3Server,
    proxies: tuple[FaultyProxy, FaultyProxy],
    tmp_path: Path,
    call: Callable[[S3Objects, Path], object],
    status: str,
) -> None:
    proxy, thief = proxies
    location = f"Location: http://localhost:{thief.port}/elsewhere?x=1\r\n"
    proxy.fault = lambda exchange: exchange.answer_status(status, "Moved", location)
    with pytest.raises(ConfigError, match="to another place") as caught:
        call(through(proxy, moto_server.new_bucket(), tmp_path), tmp_path)
    assert caught.value.code == "s3-redirect"
    assert f"localhost:{thief.port}" in str(caught.value)
    assert thief.requests == []
    assert "canary-token" not in str(caught.value)


def listing(keys: list[str], following: str = "") -> bytes:
    """Returns a page of a listing as servers send it."""
    items = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag>"
        "<Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>"
        f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated>{more}{items}</ListBucketResult>"
    ).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def key_of(digest: str) -> str:
    return f"lab/sha256/{digest[:2]}/{digest[2:]}"


def test_2500_keys_are_listed_whole_and_foreign_ones_are_passed_over(
    proxies: tuple[FaultyProxy, FaultyProxy], tmp_path: Path
) -> None:
    digests = sorted(digest_of(b"%d" % number) for number in range(2_500))
    keys = [key_of(digest) for digest in digests]
    foreign = ["lab/sha256/", "lab/sha256/../x", "lab/sha256//", "lab/sha256/%C3%A4", "lab/sha256/00/%2E%2E%2Fx"]
    foreign += ["lab/sha256/00/" + "a" * 62 + "%0A", "lab/sha256/00/" + "a" * 1_010, "lab/sha256/AB/" + "CD" * 31]
    pages = sorted([*keys, *foreign], key=lambda key: key.replace("%C3%A4", "ä").replace("%2E%2E%2F", "../").encode())
    proxy, _ = proxies

    def answer(exchange: Exchange) -> None:
        found = re.search(r"continuation-token=(\d+)", exchange.request.path)
        first = int(found[1]) if found else 0
        end = first + 1000
        exchange.answer(listing(pages[first:end], str(end) if end < len(pages) else ""))

    proxy.fault = answer
    assert list(through(proxy, "any-bucket", tmp_path).digests()) == digests
    assert len(proxy.requests) == 3


def test_a_listing_that_repeats_a_page_is_no_listing(proxies: tuple[FaultyProxy, FaultyProxy], tmp_path: Path) -> None:
    """It would go on for ever."""
    page = listing([key_of(digest) for digest in sorted(digest_of(b"%d" % number) for number in range(10))], "again")
    proxies[0].fault = lambda exchange: exchange.answer(page)
    with pytest.raises(Unavailable, match="out of order"):
        list(through(proxies[0], "any-bucket", tmp_path).digests())
    assert len(proxies[0].requests) == 2


def test_nothing_depends_on_etags(
    moto_server: S3Server, proxies: tuple[FaultyProxy, FaultyProxy], tmp_path: Path
) -> None:
    def change(exchange: Exchange) -> None:
        is_part = "partNumber=" in exchange.request.path  # the request that ends an upload names those of its parts
        answer = exchange.ask()
        exchange.answer(answer if is_part else re.sub(rb"(?i)(etag: )[^\r]*", rb'\1"0123456789abcdef-7"', answer))

    proxies[0].fault = change
    objects = through(proxies[0], moto_server.new_bucket(), tmp_path)
    large = b"x" * (20 << 20)
    for content in (b"stored", large):
        assert objects.read(put(objects, content)) == content


def test_no_request_carries_its_signature_in_the_url_or_a_checksum_of_its_own(
    moto_server: S3Server, proxies: tuple[FaultyProxy, FaultyProxy], tmp_path: Path
) -> None:
    """URLs end in logs, and some servers refuse what is newer than S3 itself (boto/boto3 issue 4392)."""
    objects = through(proxies[0], moto_server.new_bucket(), tmp_path)
    put(objects, b"stored")
    for call in CALLS.values():
        call(objects, tmp_path)
    put(objects, b"x" * (20 << 20))
    assert {request.method for request in proxies[0].requests} == {"GET", "HEAD", "POST", "PUT"}
    for request in proxies[0].requests:
        assert "x-amz-" not in request.path.lower()
        head = request.head.lower()
        assert b"authorization: aws4-hmac-sha256" in head
        assert b"x-amz-checksum" not in head
        assert b"aws-chunked" not in head


# Public buckets


def test_nothing_is_stored_in_a_bucket_that_anyone_may_list(moto_server: S3Server, tmp_path: Path) -> None:
    """To moto everyone is anyone."""
    sound = moto_server.objects(moto_server.new_bucket(), tmp_path)
    guarded = S3Objects(sound.place, CREDENTIALS, tmp_path, HASTE, allow_public=False)
    with pytest.raises(Refused, match="is public") as caught:
        put(guarded, b"stored")
    assert caught.value.code == "public-bucket"
    assert "objects.s3.allow_public" in str(caught.value.hint)
    assert list(sound.digests()) == []
    put(sound, b"stored")
    assert guarded.read(digest_of(b"stored")) == b"stored"


def test_a_bucket_that_asks_who_is_there_is_not_public(rclone_server: S3Server, tmp_path: Path) -> None:
    place = rclone_server.objects(rclone_server.new_bucket(), tmp_path).place
    put(S3Objects(place, CREDENTIALS, tmp_path, HASTE, allow_public=False), b"stored")


def test_the_bucket_is_asked_once_and_without_a_name(rclone_server: S3Server, tmp_path: Path) -> None:
    proxy = FaultyProxy(rclone_server.port)
    try:
        place = S3Place(rclone_server.new_bucket(), "lab/", f"http://127.0.0.1:{proxy.port}", "us-east-1")
        objects = S3Objects(place, CREDENTIALS, tmp_path, HASTE, allow_public=False)
        put(objects, b"1")
        put(objects, b"2")
        unsigned = [request for request in proxy.requests if b"authorization" not in request.head.lower()]
        assert [request.method for request in unsigned] == ["GET"]
    finally:
        proxy.close()


# Keys that change


class Rotated:
    """Credentials that were changed on the server, and a store that still has the old ones."""

    def __init__(self, server: S3Server, tmp_path: Path, now: Credentials) -> None:
        self.asked = 0
        self.now = now
        self.sound = server.objects(server.new_bucket(), tmp_path / "staging")
        old = Credentials(CREDENTIALS.access_key, "the-secret-of-yesterday")
        self.objects = S3Objects(self.sound.place, old, tmp_path / "staging", HASTE, renew=self._renew)

    def _renew(self) -> Credentials:
        self.asked += 1
        return self.now


@each_call
def test_a_key_that_was_changed_is_taken_up(
    rclone_server: S3Server, tmp_path: Path, call: Callable[[S3Objects, Path], object]
) -> None:
    rotated = Rotated(rclone_server, tmp_path, CREDENTIALS)
    put(rotated.sound, b"stored")
    call(rotated.objects, tmp_path)
    assert rotated.asked == 1
    for other in CALLS.values():
        (tmp_path / "copy").unlink(missing_ok=True)
        other(rotated.objects, tmp_path)
    assert rotated.asked == 1
    assert set(rotated.sound.digests()) == {digest_of(b"stored"), digest_of(b"new")}


def test_a_batch_of_several_threads_renews_once(rclone_server: S3Server, tmp_path: Path) -> None:
    rotated = Rotated(rclone_server, tmp_path, CREDENTIALS)
    with rotated.objects.batch() as batch:
        digests = [batch.put_bytes(b"%d" % number * 1000) for number in range(40)]
    assert rotated.asked == 1
    assert set(rotated.sound.digests()) == set(digests)
    assert all(rotated.sound.read(digest) for digest in digests)


@each_call
def test_a_key_that_is_wrong_and_was_not_changed_is_forbidden(
    rclone_server: S3Server, tmp_path: Path, call: Callable[[S3Objects, Path], object]
) -> None:
    rotated = Rotated(rclone_server, tmp_path, Credentials(CREDENTIALS.access_key, "the-secret-of-yesterday"))
    with pytest.raises(Forbidden) as caught:
        call(rotated.objects, tmp_path)
    assert rotated.asked == 1
    assert "yesterday" not in str(caught.value)


def test_a_block_that_cannot_be_read_any_more_is_told_of(rclone_server: S3Server, tmp_path: Path) -> None:
    rotated = Rotated(rclone_server, tmp_path, CREDENTIALS)

    def fail() -> Credentials:
        raise Unavailable("the Prefect API does not answer", code="prefect-unavailable")

    rotated.objects._keys._renew = fail
    with pytest.raises(FetchmlError, match="Prefect API"):
        rotated.objects.has(digest_of(b""))
