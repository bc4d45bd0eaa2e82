import pytest

from fetchml.config.layers import load
from fetchml.config.object_urls import BucketUrl, Endpoint, Region, split_url
from fetchml.errors import ConfigError
from fetchml.objects.s3_place import Credentials, credentials_from, refuse_plain_http, s3_place


@pytest.mark.parametrize(
    ("text", "value", "split"),
    [
        ("s3://lab", "s3://lab", ("lab", "")),
        ("s3://lab/", "s3://lab", ("lab", "")),
        ("s3://my-lab.x/a/b-c_d=1", "s3://my-lab.x/a/b-c_d=1", ("my-lab.x", "a/b-c_d=1")),
        ("s3://lab/a/", "s3://lab/a", ("lab", "a")),
    ],
)
def test_urls_of_buckets_are_read(text: str, value: str, split: tuple[str, str]) -> None:
    assert BucketUrl().from_text(text) == value
    assert split_url(text) == split


@pytest.mark.parametrize("text", ["none", ""])
def test_no_url_is_the_folder(text: str) -> None:
    assert BucketUrl().from_text(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("lab", "s3:/lab", "s3://", "s3://ab", "S3://lab", "s3://LAB", "s3://-lab", "s3://lab//a", "s3://lab/../a"),
        *("s3://lab/./a", "s3://lab/a b", "s3://lab/ä", "gs://lab", "s3://lab/a\n", f"s3://{'x' * 64}"),
        *("s3://key:pw@lab", "s3://lab?key=pw", "s3://lab/" + "a" * 600),
    ],
)
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BucketUrl().from_text(text)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["https://s3.example.org", "http://127.0.0.1:9000", "http://minio:9000/"])
def test_endpoints_are_read(text: str) -> None:
    assert Endpoint().from_text(text) == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [*("minio:9000", "ftp://host", "https://", "https://host/path", "https://a:b@host", "http://host:x", ""), "none"],
)
def test_other_endpoints_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint().from_text(text)


def test_regions() -> None:
    assert Region().from_text("eu-west-1") == "eu-west-1"
    assert Region().from_text("none") is None
    with pytest.raises(ConfigError):
        Region().from_text("eu west")


def test_the_place_is_put_together() -> None:
    place = s3_place("s3://lab/a", "https://host:9000", None)
    assert (place.bucket, place.prefix, place.host, place.is_secure, str(place)) == (
        *("lab", "a/", "host:9000", True),
        "s3://lab/a",
    )
    assert str(s3_place("s3://lab", "http://host", None)) == "s3://lab"


@pytest.mark.parametrize(
    "endpoint", ["https://host:9000", "http://127.0.0.1:9000", "http://127.1.2.3", "http://localhost:9000"]
)
def test_tls_is_spoken_or_nothing_leaves_this_host(endpoint: str) -> None:
    refuse_plain_http(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["http://minio:9000", "http://10.0.0.5", "http://0.0.0.0:9000", "http://127.x.org"]
)
def test_plain_http_to_another_host_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="without TLS") as caught:
        refuse_plain_http(endpoint)
    assert "objects.s3.allow_http" in str(caught.value.hint)


def test_own_credentials_win_and_pairs_are_never_mixed() -> None:
    aws = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
    assert credentials_from(aws) == Credentials("a", "b", "c")
    own = {"FETCHML_S3_ACCESS_KEY": "x", "FETCHML_S3_SECRET_KEY": "y"}
    assert credentials_from({**aws, **own}) == Credentials("x", "y")
    for half in ({**aws, "FETCHML_S3_ACCESS_KEY": "x"}, {"AWS_ACCESS_KEY_ID": "a"}, {}):
        with pytest.raises(ConfigError):
            credentials_from(half)


def test_the_variables_of_secrets_are_no_settings(tmp_path) -> None:
    environ = {"FETCHML_HOME": str(tmp_path), "FETCHML_S3_ACCESS_KEY": "x", "FETCHML_S3_SECRET_KEY": "y"}
    assert load(environ=environ, cwd=tmp_path).warnings == ()


def test_a_project_may_not_move_the_objects(tmp_path) -> None:
    (tmp_path / "fetchml.yaml").write_text("objects:\n  url: s3://lab\n")
    with pytest.raises(ConfigError, match="setting of the machine"):
        load(environ={"FETCHML_HOME": str(tmp_path / "home")}, cwd=tmp_path)
