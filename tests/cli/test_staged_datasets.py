"""Datasets in buckets and on shares, as a user meets them, up to runs that read copies of them."""

import io
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.calls import User, is_refused
from contract.s3_servers import CREDENTIALS, Exchange, FaultyProxy, S3Server, passed_on
from fetchml.datasets.digest import digest
from fetchml.snapshot.materialise import remove_tree

DIRECT: dict[str, str | None] = {"FETCHML_EXECUTION_MODE": "direct"}
ALWAYS: dict[str, str | None] = {**DIRECT, "FETCHML_DATASETS_STAGE": "always"}
NO_KEYS: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
READS = """\
import os
folder = os.environ["FETCHML_DATA_MNIST"]
print(folder, open(os.path.join(folder, "a.txt")).read())
"""
FILES = {"a.txt": b"pixels", "deep/b.bin": os.urandom(2_000_000)}


class Lab:
    """A user, a bucket with a dataset, and a proxy in front of it.

    Args:
        user: The user.
        server: The server.
    """

    def __init__(self, user: User, server: S3Server) -> None:
        self.user = user
        self.bucket = server.new_bucket()
        self.client = server.client()
        self.proxy = FaultyProxy(server.port)
        self.url = f"s3://{self.bucket}/set"
        for path, content in FILES.items():
            self.put(path, content)
        user.env.update(
            AWS_ACCESS_KEY_ID=CREDENTIALS.access_key,
            AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key,
            FETCHML_OBJECTS_S3_REGION="us-east-1",
            FETCHML_OBJECTS_S3_ENDPOINT=f"http://127.0.0.1:{self.proxy.port}",
        )

    def put(self, path: str, content: bytes) -> None:
        self.client.put_object(self.bucket, f"set/{path}", io.BytesIO(content), len(content))

    def bodies(self) -> list[str]:
        """Returns the objects that were asked for since the last time."""
        found = [item.path for item in self.proxy.requests if item.method == "GET" and "list-type" not in item.path]
        self.proxy.requests.clear()
        return sorted(path.partition("/set/")[2] for path in found)


@pytest.fixture
def lab(user: User, moto_server: S3Server) -> Iterator[Lab]:
    made = Lab(user, moto_server)
    yield made
    made.proxy.close()
    remove_tree(user.home / "cache" / "datasets")


@pytest.fixture
def share(user: User) -> Iterator[Path]:
    root = user.path / "share"
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (root / "link").symlink_to("deep/b.bin")
    yield root
    remove_tree(user.home / "cache" / "datasets")


def add(user: User, *words: str) -> Any:
    done = user.call("dataset", "add", *words, "--json")
    assert done.code == 0, done.err
    return done.json()


def run(user: User, env: dict[str, str | None] | None = None) -> Any:
    user.script("train.py", READS)
    done = user.call("queue", "--quiet", "--data", "mnist", "train.py", env=env or DIRECT)
    assert done.out, done.err
    return json.loads(user.manifest_path(done.out.strip()).read_bytes())


def copies(user: User) -> list[str]:
    return [path.name for path in (user.home / "cache" / "datasets").glob("sha256-*")]


def leave_alone(user: User) -> None:
    """Lets two hours pass for the copies."""
    for path in (user.home / "cache" / "datasets").glob("sha256-*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 7200))


# Buckets


def test_a_bucket_is_added_listed_shown_verified_and_removed(user: User, lab: Lab, share: Path) -> None:
    (share / "link").unlink()
    added = add(user, "mnist", lab.url, "--samples", "3")
    assert (added["uri"], added["path"], added["version"]) == (f"{lab.url}/", None, "1")
    assert added["checksum"] == digest(share).checksum
    assert lab.bodies() == sorted(FILES)
    assert add(user, "mnist", f"{lab.url}/") == {**added, "created": False}
    assert add(user, "one", f"{lab.url}/a.txt")["uri"] == f"{lab.url}/a.txt"
    for words in (("list",), ("info", "mnist")):
        shown = user.call("dataset", *words)
        assert (shown.code, f"{lab.url}/" in shown.out) == (0, True)
    lab.bodies()
    assert user.call("dataset", "verify", "mnist").code == 0
    assert lab.bodies() == sorted(FILES)
    lab.put("a.txt", b"pixelz")
    lab.put("new", b"")
    done = user.call("dataset", "verify", "mnist", "--json")
    assert (done.code, done.json()["changes"]) == (7, ["a.txt: changed", "new: added"])
    assert user.call("dataset", "rm", "mnist").code == 0
    assert lab.client.stat_object(lab.bucket, "set/a.txt").size == 6


def test_the_same_content_is_the_same_version_wherever_it_lies(user: User, lab: Lab, share: Path) -> None:
    (share / "link").unlink()
    one = add(user, "mnist", str(share))
    two = add(user, "mnist", lab.url)
    assert (two["created"], two["version"], two["checksum"]) == (False, "1", one["checksum"])
    assert two["uri"] == f"{lab.url}/"


def test_a_run_downloads_what_is_not_here_and_says_so(user: User, lab: Lab) -> None:
    added = add(user, "mnist", lab.url)
    lab.bodies()
    first = run(user)
    assert lab.bodies() == []
    (record,) = first["datasets"]
    assert (record["fetched_via"], record["uri"], record["checksum"]) == ("cache", f"{lab.url}/", added["checksum"])
    remove_tree(user.home / "cache" / "datasets")
    second = run(user)
    assert second["status"]["state"] == "completed"
    (record,) = second["datasets"]
    assert (record["fetched_via"], record["verified_via"]) == ("download", "full-hash")
    assert record["fetch_seconds"] > 0
    assert lab.bodies() == sorted(FILES)
    output = user.call("logs", second["identity"]["run_id"]).out
    assert output == f"{user.home}/cache/datasets/{added['checksum'].replace(':', '-')}/data pixels\n"
    assert user.call("validate", second["identity"]["run_id"]).code == 0


def test_a_bucket_that_changed_since_refuses_the_run(user: User, lab: Lab) -> None:
    add(user, "mnist", lab.url)
    remove_tree(user.home / "cache" / "datasets")
    lab.put("a.txt", b"PIXELS")
    manifest = run(user)
    assert manifest["status"]["state"] == "refused"
    assert "a.txt: changed" in manifest["diagnosis"]["detail"]
    assert copies(user) == []


def test_a_copy_that_somebody_changed_is_made_anew(user: User, lab: Lab) -> None:
    add(user, "mnist", lab.url)
    (copy,) = (user.home / "cache" / "datasets").glob("sha256-*/data")
    (copy / "a.txt").chmod(0o644)
    (copy / "a.txt").write_bytes(b"spoilt")
    (record,) = run(user)["datasets"]
    assert record["fetched_via"] == "download"
    assert (copy / "a.txt").read_bytes() == b"pixels"
    copy.chmod(0o755)
    (copy / "a.txt").unlink()
    assert run(user)["status"]["state"] == "completed"


def test_explain_says_where_data_comes_from_and_asks_nobody(user: User, lab: Lab) -> None:
    add(user, "mnist", lab.url)
    lab.bodies()
    words = ("explain", "--data", "mnist", "train.py")
    shown = user.call(*words, env=NO_KEYS)
    assert f"mnist@1 is on this host already, from {lab.url}/" in shown.out
    remove_tree(user.home / "cache" / "datasets")
    shown = user.call(*words, env=NO_KEYS)
    assert (shown.code, f"mnist@1 would be downloaded from {lab.url}/, 1.9M" in shown.out) == (0, True), shown
    (way,) = user.call("explain", "--json", "--data", "mnist", "train.py", env=NO_KEYS).json()["data"]
    assert way == {
        "name": "mnist",
        "version": "1",
        "uri": f"{lab.url}/",
        "fetched_via": "download",
        "size_bytes": 2_000_006,
    }
    assert lab.proxy.requests == []


def test_who_is_killed_while_adding_goes_on_where_it_broke_off(user: User, lab: Lab) -> None:
    def hang(exchange: Exchange) -> None:
        exchange.hang() if "b.bin" in exchange.request.path else passed_on(exchange)

    lab.proxy.fault = hang
    adding = user.start("dataset", "add", "mnist", lab.url)
    data = user.home / "cache" / "datasets" / "incoming"
    while not list(data.glob("*/data/a.txt")):
        assert adding.poll() is None, adding.communicate()
    adding.send_signal(signal.SIGKILL)
    adding.communicate()
    assert "there are no datasets" in user.call("dataset", "list").err
    assert copies(user) == []
    lab.proxy.fault = passed_on
    lab.bodies()
    add(user, "mnist", lab.url)
    assert lab.bodies() == ["deep/b.bin"]
    assert list(data.iterdir()) == []


def test_two_runs_that_start_at_once_download_once(user: User, lab: Lab) -> None:
    add(user, "mnist", lab.url)
    remove_tree(user.home / "cache" / "datasets")
    lab.bodies()
    user.script("train.py", READS)
    processes = [user.start("queue", "--quiet", "--data", "mnist", "train.py", env=DIRECT) for _ in range(2)]
    run_ids = [process.communicate(timeout=120)[0].strip() for process in processes]
    records = [json.loads(user.manifest_path(run_id).read_bytes()) for run_id in run_ids]
    assert [record["status"]["state"] for record in records] == ["completed", "completed"]
    assert sorted(record["datasets"][0]["fetched_via"] for record in records) == ["cache", "download"]
    assert lab.bodies() == sorted(FILES)


def test_what_is_wrong_with_a_bucket_is_told(user: User, lab: Lab) -> None:
    add_it = ("dataset", "add", "mnist")
    is_refused(user.call(*add_it, "s3://no-bucket-of-this-name/x"), 2, "the bucket of the dataset does not exist")
    is_refused(user.call(*add_it, f"s3://{lab.bucket}/nothing"), 3, "there is nothing at")
    is_refused(user.call(*add_it, lab.url, env=NO_KEYS), 2, "there are no credentials for S3")
    lab.proxy.fault = lambda exchange: exchange.answer_status("403 Forbidden", "SignatureDoesNotMatch")
    is_refused(user.call(*add_it, lab.url), 8, "does not accept the credentials")
    lab.proxy.fault = lambda exchange: exchange.answer_status("503 Slow", "SlowDown")
    is_refused(user.call(*add_it, lab.url, env={"FETCHML_OBJECTS_S3_RETRIES": "0"}), 6, "does not answer as it should")
    lab.proxy.fault = passed_on
    lab.put("a.txt/below", b"x")
    is_refused(user.call(*add_it, lab.url), 5, "a.txt/below: lies below `a.txt`, which is a file")
    assert copies(user) == []


# Shares


def test_a_share_is_staged_if_the_host_or_the_dataset_says_so(user: User, share: Path) -> None:
    added = add(user, "mnist", str(share))
    assert added["stage"] is None
    assert run(user)["datasets"][0]["fetched_via"] == "in-place"
    (record,) = run(user, ALWAYS)["datasets"]
    assert (record["fetched_via"], record["uri"]) == ("copy", share.as_uri())
    assert run(user, ALWAYS)["datasets"][0]["fetched_via"] == "cache"
    (copy,) = (user.home / "cache" / "datasets").glob("sha256-*/data")
    assert (copy / "link").readlink() == Path("deep/b.bin")
    assert add(user, "mnist", str(share), "--stage", "never")["stage"] == "never"
    assert run(user, ALWAYS)["datasets"][0]["fetched_via"] == "in-place"
    assert add(user, "mnist", str(share), "--stage", "always")["stage"] == "always"
    assert run(user)["datasets"][0]["fetched_via"] == "cache"
    assert "stage         always" in user.call("dataset", "info", "mnist").out


def test_a_folder_of_this_host_is_no_share(user: User, share: Path) -> None:
    add(user, "mnist", str(share))
    env: dict[str, str | None] = {**DIRECT, "FETCHML_DATASETS_STAGE": "remote"}
    assert run(user, env)["datasets"][0]["fetched_via"] == "in-place"


def test_a_copy_outlives_its_share(user: User, share: Path) -> None:
    add(user, "mnist", str(share), "--stage", "always")
    run(user)
    shutil.rmtree(share)
    assert run(user)["status"]["state"] == "completed"


def test_a_share_that_changed_refuses_the_run_before_it_starts(user: User, share: Path) -> None:
    add(user, "mnist", str(share), "--stage", "always")
    (share / "a.txt").write_bytes(b"PIXELS")
    manifest = run(user)
    assert manifest["status"]["state"] == "refused"
    assert "a.txt: changed" in manifest["diagnosis"]["detail"]


def test_what_does_not_fit_refuses_the_run(user: User, share: Path) -> None:
    add(user, "mnist", str(share), "--stage", "always")
    manifest = run(user, {**DIRECT, "FETCHML_DATASETS_CACHE_MAX_SIZE": "1M"})
    assert manifest["status"]["state"] == "refused"
    assert "more than all copies together may take" in manifest["diagnosis"]["detail"]
    assert copies(user) == []


# Prune


def test_prune_removes_copies_that_no_run_needs_and_shows_who_does(user: User, share: Path) -> None:
    add(user, "mnist", str(share), "--stage", "always")
    run(user)
    assert "datasets" not in user.call("prune", "--older-than", "1h").out
    leave_alone(user)
    waiting = user.queue("--data", "mnist", "train.py")
    looked = user.call("prune", "--older-than", "1h", "--dry-run")
    assert f"is needed by 1 run: {waiting}" in looked.err
    assert f"copy of {share.as_uri()} (sha256:" in looked.err
    assert "datasets" not in user.call("prune", "--older-than", "1h").out
    assert len(copies(user)) == 1
    assert user.call("cancel", waiting).code == 0
    assert "is needed by no run" in user.call("prune", "--older-than", "1h", "--dry-run").err
    assert len(copies(user)) == 1
    assert "datasets" not in user.call("prune").out  # the setting says 30 days
    done = user.call("prune", "--older-than", "1h", "--json").json()
    assert {"kind": "datasets", "count": 1, "size_bytes": 2_000_006} in done["removed"]
    assert copies(user) == []


def test_prune_keeps_to_the_limit(user: User, share: Path) -> None:
    add(user, "mnist", str(share), "--stage", "always")
    run(user)
    env: dict[str, str | None] = {"FETCHML_DATASETS_CACHE_MAX_SIZE": "1M"}
    assert "datasets" in user.call("prune", env=env).out
    assert copies(user) == []


def test_prune_keeps_copies_when_it_cannot_tell_who_needs_them(user: User, share: Path) -> None:
    add(user, "mnist", str(share), "--stage", "always")
    run(user)
    leave_alone(user)
    run_id = user.queue("--data", "mnist", "train.py")
    plan = user.runs / run_id / "plan.json"
    plan.chmod(0o644)
    plan.write_text("{")
    user.call("prune", "--older-than", "1h")
    assert len(copies(user)) == 1
