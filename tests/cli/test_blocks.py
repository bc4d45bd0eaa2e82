"""Settings that name a block of the Prefect server in place of values."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from block_server import BlockServer, block_server
from cli.calls import User, is_refused
from contract.certificates import Authority
from contract.s3_servers import CREDENTIALS, S3Server, serving

STORE = ("fetchml-snapshot-store", "code")
KEY = ("fetchml-s3-credentials", "lab")
CATALOGUE = ("fetchml-dataset-catalogue", "lab")


@pytest.fixture
def prefect(user: User) -> Iterator[BlockServer]:
    """The Prefect server that the user's settings name."""
    with block_server() as made:
        user.env |= {"FETCHML_PREFECT_API_URL": made.api_url, "FETCHML_EXECUTION_MODE": "direct"}
        yield made


class Lab:
    """A user whose objects are where the block `code` says: in a bucket of a server that asks for keys."""

    def __init__(self, user: User, prefect: BlockServer, server: S3Server, folder: Path) -> None:
        self.user = user
        self.prefect = prefect
        self.bucket = server.new_bucket()
        self.objects = server.objects(self.bucket, folder)
        self.key = {
            "endpoint": server.endpoint,
            "region": "us-east-1",
            "access_key": CREDENTIALS.access_key,
            "secret_key": CREDENTIALS.secret_key,
        }
        prefect.blocks[STORE] = {"location": f"s3://{self.bucket}/lab", "credentials": self.key}
        user.env["FETCHML_OBJECTS_BLOCK"] = "code"


@pytest.fixture
def lab(user: User, prefect: BlockServer, rclone_server: S3Server, tmp_path: Path) -> Lab:
    return Lab(user, prefect, rclone_server, tmp_path)


def run(user: User) -> dict[str, Any]:
    done = user.call("queue", "--json", "train.py")
    assert done.code == 0, done.err
    return json.loads(done.out[done.out.index("{\n") :])


# What works


def test_a_run_with_its_code_where_a_block_says_leaves_no_secret_anywhere(lab: Lab) -> None:
    lab.user.script(text="import os\nprint(sorted(os.environ.values()))\n")
    run_id = run(lab.user)["run_id"]
    manifest = json.loads(lab.user.manifest_path(run_id).read_text())
    assert manifest["status"]["state"] == "completed", manifest["diagnosis"]
    assert lab.objects.has(manifest["identity"]["commit_id"])
    assert not (lab.user.home / "store" / "objects").exists()
    shown = [
        lab.user.call(*words)
        for words in (
            *(("validate", run_id), ("config", "show"), ("config", "show", "--json"), ("info", run_id, "--json")),
            *(("logs", run_id), ("doctor",), ("explain", "train.py", "--json")),
        )
    ]
    assert [done.code for done in shown[:3]] == [0, 0, 0]
    for done in shown:
        assert CREDENTIALS.secret_key not in done.out + done.err
    for path in lab.user.path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert CREDENTIALS.secret_key.encode() not in path.read_bytes(), path


def test_a_credentials_block_goes_with_the_url_of_a_bucket(lab: Lab) -> None:
    lab.prefect.blocks[KEY] = lab.key
    lab.user.env |= {
        "FETCHML_OBJECTS_BLOCK": None,
        "FETCHML_OBJECTS_URL": f"s3://{lab.bucket}/lab",
        "FETCHML_OBJECTS_S3_CREDENTIALS_BLOCK": "lab",
        "AWS_ACCESS_KEY_ID": "of-something-else",
        "AWS_SECRET_ACCESS_KEY": "of-something-else",
    }
    lab.user.script()
    run(lab.user)
    assert list(lab.objects.digests())
    done = lab.user.call("doctor", "--json").json()
    (found,) = [item for item in done["findings"] if item["subject"] == "objects"]
    assert found["level"] == "ok"
    assert lab.key["endpoint"] in found["text"]


def test_a_store_block_without_credentials_uses_those_of_the_settings(lab: Lab) -> None:
    lab.prefect.blocks[STORE] = {"location": f"s3://{lab.bucket}/lab", "credentials": None}
    lab.user.env |= {
        "FETCHML_OBJECTS_S3_ENDPOINT": lab.key["endpoint"],
        "FETCHML_S3_ACCESS_KEY": CREDENTIALS.access_key,
        "FETCHML_S3_SECRET_KEY": CREDENTIALS.secret_key,
    }
    lab.user.script()
    run(lab.user)
    assert list(lab.objects.digests())


def test_a_migration_goes_to_the_place_of_a_block(lab: Lab) -> None:
    lab.user.env["FETCHML_OBJECTS_BLOCK"] = None
    lab.user.script()
    run(lab.user)
    lab.user.env["FETCHML_OBJECTS_BLOCK"] = "code"
    folder = lab.user.home / "store" / "objects"
    done = lab.user.call("objects", "migrate", "--from", str(folder), "--to", f"s3://{lab.bucket}/lab", "--json")
    assert done.code == 0, done.err
    assert len(list(lab.objects.digests())) == done.json()["copied"] > 0


def test_a_folder_of_a_block_is_used_and_not_pruned(user: User, prefect: BlockServer, tmp_path: Path) -> None:
    prefect.blocks[STORE] = {"location": str(tmp_path / "shared"), "credentials": None}
    user.env["FETCHML_OBJECTS_BLOCK"] = "code"
    user.script()
    run(user)
    before = sorted((tmp_path / "shared").rglob("*"))
    assert len(before) > 2
    done = user.call("prune", "--runs", "--keep-last", "0", "--yes", "--older-than", "1s")
    assert "other homes may use them" in done.out + done.err
    assert sorted((tmp_path / "shared").rglob("*")) == before


def test_a_catalogue_of_a_block_is_shared(user: User, prefect: BlockServer, tmp_path: Path) -> None:
    prefect.blocks[CATALOGUE] = {"folder": str(tmp_path / "catalogue")}
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "a.csv").write_text("1\n")
    user.env["FETCHML_DATASETS_BLOCK"] = "lab"
    user.script(text="import os\nprint(open(os.environ['FETCHML_DATA_DIGITS'] + '/a.csv').read())\n")
    assert user.call("dataset", "add", "digits", str(tmp_path / "digits")).code == 0
    assert (tmp_path / "catalogue" / "digits").is_dir()
    assert not (user.home / "store" / "datasets").exists()
    done = user.call("queue", "--json", "--data", "digits", "train.py")
    assert done.code == 0, done.err
    other = User(tmp_path / "other", dict(user.env))
    assert "digits" in other.call("dataset", "list").out


def test_the_authority_of_a_block_is_trusted(user: User, prefect: BlockServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with serving("rclone", tmp_path / "s3", certificate=authority.certificate(), ca_file=authority.file) as server:
        lab = Lab(user, prefect, server, tmp_path)
        user.script()
        is_refused(user.call("queue", "train.py"), 5, "cannot prove", "objects.s3.ca_file")
        lab.key["ca_file"] = f"{authority.file}\n"  # as it is pasted into a form
        run_id = run(user)["run_id"]
        assert user.call("validate", run_id).code == 0
        lab.key["ca_file"] = None
        user.env["FETCHML_OBJECTS_S3_CA_FILE"] = str(authority.file)
        assert user.call("validate", run_id).code == 0


# What does not


def test_a_server_that_does_not_run_is_told_of(user: User) -> None:
    user.script()
    user.env["FETCHML_OBJECTS_BLOCK"] = "code"
    is_refused(user.call("queue", "train.py"), 6, "the Prefect API does not answer")
    user.env["FETCHML_PREFECT_API_URL"] = None
    done = user.call("queue", "train.py")
    is_refused(done, 6, "a block is kept there", "fetchml Snapshot Store/code", "`fetchml up` starts it")
    assert user.call("queue", "--json", "train.py").json_error()["code"] == "prefect-unavailable"
    user.nothing_is_left()


@pytest.mark.parametrize(
    ("answer", "code", "part"),
    [
        ((401, b"no"), 2, "refuses this user"),
        ((500, b"oops"), 6, "has trouble"),
        ((200, b"[]"), 2, "answers with something else"),
        ((200, b'{"data": 5}'), 2, "answers with something else"),
        ((200, b"<html>"), 2, "is no Prefect API"),
    ],
    ids=["401", "500", "a list", "a number", "a page"],
)
def test_a_server_that_answers_nonsense_is_told_of(lab: Lab, answer: tuple[int, bytes], code: int, part: str) -> None:
    lab.user.script()
    lab.prefect.answer = answer
    is_refused(lab.user.call("queue", "train.py"), code, part)
    assert list(lab.objects.digests()) == []


def test_a_block_that_is_not_there_or_of_another_type_is_told_of(lab: Lab) -> None:
    lab.user.script()
    lab.user.env["FETCHML_OBJECTS_BLOCK"] = "nosuch"
    done = lab.user.call("queue", "train.py")
    is_refused(done, 2, "no block `nosuch` of type `fetchml Snapshot Store`", "prefect block register")
    lab.prefect.blocks[KEY] = lab.key
    lab.user.env["FETCHML_OBJECTS_BLOCK"] = "lab"
    is_refused(lab.user.call("queue", "train.py"), 2, "is of type `fetchml-s3-credentials`")
    assert lab.user.call("queue", "--json", "train.py").json_error()["code"] == "no-such-block"


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("secret_key", None, "`secret_key`: it is empty"),
        ("secret_key", "", "`secret_key`: it is empty"),
        ("secret_key", 5, "`secret_key`: it is not a line of text"),
        ("secret_key", "canary\nsecond line", "`secret_key`: it is not a line of text"),
        ("secret_key", "canary" * 1000, "`secret_key`: it is not a line of text"),
        ("access_key", ["canary"], "`access_key`: it is not a line of text"),
        ("session_token", "canary\x1b[31m", "`session_token`: it is not a line of text"),
        ("endpoint", "canary", "`endpoint`: expected a URL"),
        ("endpoint", "https://canary:canary@host", "may not hold credentials"),
        ("region", "eu west", "`region`: expected a region"),
        ("ca_file", "canary/ca.pem", "`ca_file`: it is not an absolute path"),
        ("ca_file", "/canary.pem", "ca_file"),
    ],
)
def test_a_field_that_does_not_do_is_named_and_not_repeated(lab: Lab, field: str, value: object, part: str) -> None:
    lab.user.script()
    lab.key[field] = value  # type: ignore[assignment]
    if field == "ca_file":
        lab.key["endpoint"] = "https://127.0.0.1:9"
    done = lab.user.call("queue", "train.py")
    is_refused(done, 2, part)
    if value != "/canary.pem":
        assert "canary" not in done.err
        assert lab.user.call("queue", "--json", "train.py").json_error()["code"] == "bad-block"


@pytest.mark.parametrize(
    ("location", "part"),
    [
        (None, "`location`: it is empty"),
        ("objects", "neither the URL of a bucket nor an absolute path"),
        ("s3://A", "`location`: expected"),
        ("https://host/bucket", "`location`: expected"),
        ("s3://key:canary@bucket", "may not hold credentials"),
    ],
)
def test_a_location_that_does_not_do_is_told_of(lab: Lab, location: str | None, part: str) -> None:
    lab.user.script()
    lab.prefect.blocks[STORE]["location"] = location
    done = lab.user.call("queue", "train.py")
    is_refused(done, 2, part)
    assert "canary" not in done.err


@pytest.mark.parametrize("folder", [None, "datasets", 5])
def test_a_catalogue_that_does_not_do_is_told_of(user: User, prefect: BlockServer, folder: object) -> None:
    prefect.blocks[CATALOGUE] = {"folder": folder}
    user.env["FETCHML_DATASETS_BLOCK"] = "lab"
    is_refused(user.call("dataset", "list"), 2, "fetchml Dataset Catalogue/lab", "`folder`")


def test_a_run_whose_catalogue_cannot_be_found_is_not_queued(user: User, prefect: BlockServer) -> None:
    user.script()
    user.env["FETCHML_DATASETS_BLOCK"] = "nosuch"
    done = user.call("queue", "--data", "digits", "train.py")
    assert done.code in (2, 5), done.err
    assert "no block `nosuch` of type `fetchml Dataset Catalogue`" in done.err
    assert not user.runs.exists()


def test_settings_that_contradict_each_other_are_refused(lab: Lab) -> None:
    lab.user.script()
    done = lab.user.call("queue", "train.py", env={"FETCHML_OBJECTS_URL": "s3://another-bucket"})
    is_refused(done, 2, "`objects.url` and `objects.block`")
    done = lab.user.call("queue", "train.py", env={"FETCHML_OBJECTS_S3_ENDPOINT": "https://elsewhere.example.org"})
    is_refused(done, 2, "different S3 servers", "a key goes to the server of its block")


@pytest.mark.parametrize("key", ["objects.block", "objects.s3.credentials_block", "datasets.block", "docker.block"])
def test_a_project_may_not_name_a_block(user: User, key: str) -> None:
    lines = [f"{'  ' * depth}{word}:" for depth, word in enumerate(key.split("."))]
    user.settings("\n".join(lines) + " lab\n")
    is_refused(user.call("status"), 2, f"`{key}` is a setting of the machine")


@pytest.mark.parametrize("name", ["Lab", "a/b", "../x", "lab?include=1", "ä", "a_b"])
def test_a_name_that_no_block_has_is_refused(user: User, name: str) -> None:
    is_refused(user.call("status", env={"FETCHML_OBJECTS_BLOCK": name}), 2, "is not the name of a block")


# Who is trusted with the keys


def test_a_server_on_another_host_is_not_reached_without_tls(lab: Lab) -> None:
    lab.user.script()
    lab.key["endpoint"] = "http://s3.invalid:9000"
    done = lab.user.call("queue", "train.py")
    is_refused(done, 2, "http://s3.invalid:9000 would be reached without TLS", "objects.s3.allow_http")
    assert lab.user.call("queue", "--json", "train.py").json_error()["code"] == "plain-http"
    (found,) = [item for item in lab.user.call("doctor", "--json").json()["findings"] if item["subject"] == "objects"]
    assert found["level"] == "error"
    lab.user.env["FETCHML_OBJECTS_S3_RETRIES"] = "0"
    is_refused(lab.user.call("queue", "train.py", env={"FETCHML_OBJECTS_S3_ALLOW_HTTP": "true"}), 6, "does not answer")


def test_a_public_bucket_is_refused_unless_that_is_meant(
    user: User, prefect: BlockServer, moto_server: S3Server, tmp_path: Path
) -> None:
    lab = Lab(user, prefect, moto_server, tmp_path)
    user.script()
    is_refused(user.call("queue", "train.py"), 5, "is public", "objects.s3.allow_public")
    assert list(lab.objects.digests()) == []
    user.nothing_is_left()
    (found,) = [item for item in user.call("doctor", "--json").json()["findings"] if item["subject"] == "objects"]
    assert (found["level"], "is public" in found["text"]) == ("error", True)
    user.env["FETCHML_OBJECTS_S3_ALLOW_PUBLIC"] = "true"
    run(user)
    assert list(lab.objects.digests())
