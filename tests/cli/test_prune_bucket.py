"""Pruning a bucket: what any run needs stays, and where that cannot be known nothing is removed."""

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.calls import User, is_refused
from cli.lab import Lab, run_directly
from contract.s3_servers import Exchange, Fault, FaultyProxy, passed_on

OLD = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
OLD_HEADER = (datetime.now(UTC) - timedelta(days=30)).strftime("%a, %d %b %Y %H:%M:%S GMT")
PRUNE = ("prune", "--bucket")


def aged(exchange: Exchange) -> None:
    """Answers as if every object below `sha256/` had been stored a month ago; the marks of homes keep their time."""
    answer = exchange.ask()
    head, _, body = answer.partition(b"\r\n\r\n")
    path = exchange.request.path
    if exchange.request.method == "HEAD" and "/sha256/" in path:
        head = re.sub(rb"(?i)last-modified: [^\r]*", b"Last-Modified: " + OLD_HEADER.encode(), head)
    if exchange.request.method == "GET" and b"<LastModified>" in body:
        body = re.sub(rb"<LastModified>[^<]*<", b"<LastModified>" + OLD.encode() + b"<", body)
        head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head)
    exchange.answer(head + b"\r\n\r\n" + body)


def objects(lab: Lab) -> set[str]:
    return set(lab.objects.digests())


def stray(lab: Lab, content: bytes = b"nobody needs this") -> str:
    with lab.objects.batch() as batch:
        return batch.put_bytes(content)


def pruned(lab: Lab, *words: str) -> dict[str, int]:
    done = lab.user.call(*PRUNE, *words, "--json")
    assert done.code == 0, done.err
    return {item["kind"]: item["count"] for item in done.json()["removed"]}


@pytest.fixture
def old_lab(lab: Lab, proxy: FaultyProxy) -> Lab:
    """A lab whose bucket says that all its objects are a month old, with one run and one object nobody needs."""
    lab.use_bucket()
    run_directly(lab.user)
    stray(lab)
    proxy.fault = aged
    return lab


def test_what_no_run_refers_to_goes_and_all_else_stays(old_lab: Lab) -> None:
    before = objects(old_lab)
    assert pruned(old_lab, "--dry-run")["objects"] == 1
    assert objects(old_lab) == before
    assert pruned(old_lab)["objects"] == 1
    assert len(objects(old_lab)) == len(before) - 1
    assert old_lab.user.call("validate", "--all").code == 0
    assert "objects" not in pruned(old_lab)


def test_what_is_young_stays(lab: Lab) -> None:
    lab.use_bucket()
    run_directly(lab.user)
    before = objects(lab) | {stray(lab)}
    assert "objects" not in pruned(lab)
    assert objects(lab) == before


def test_runs_that_are_only_in_the_bucket_keep_what_they_need(old_lab: Lab, tmp_path: Path) -> None:
    (run_id,) = [path.name for path in old_lab.user.runs.iterdir()]
    assert old_lab.user.call("objects", "push", run_id).code == 0
    before = objects(old_lab)
    done = old_lab.user.call(*PRUNE, "--runs", "--keep-last", "0", "--yes", "--json")
    assert done.json()["run_ids"] == [run_id]
    assert len(objects(old_lab)) == len(before) - 1
    assert old_lab.user.call("objects", "fetch", run_id).code == 0
    assert old_lab.user.call("validate", run_id).code == 0


def test_a_run_that_is_not_copied_yet_is_not_removed(lab: Lab) -> None:
    lab.use_bucket()
    run_id = run_directly(lab.user)
    lab.user.env["FETCHML_OBJECTS_RUNS"] = "copy"
    words = ("prune", "--runs", "--keep-last", "0", "--yes", "--json")
    assert lab.user.call(*words).json()["run_ids"] == []
    assert lab.user.call("objects", "push", run_id).code == 0
    assert lab.user.call(*words).json()["run_ids"] == [run_id]


def test_without_the_flag_a_bucket_is_left_alone(old_lab: Lab) -> None:
    before = objects(old_lab)
    done = old_lab.user.call("prune")
    assert done.code == 0
    assert "`--bucket` prunes them" in done.err
    assert objects(old_lab) == before


def test_another_home_with_the_same_prefix_keeps_everything(old_lab: Lab, tmp_path: Path) -> None:
    other = User(tmp_path / "other", dict(old_lab.user.env))
    other.script(text="print('theirs')\n")
    other.queue("train.py")
    before = objects(old_lab)
    done = old_lab.user.call(*PRUNE, "--quiet")
    is_refused(done, 5, "other homes", str(other.home), "remove the key of a home that is gone")
    assert objects(old_lab) == before
    # The other home is as careful.
    is_refused(other.call(*PRUNE, "--quiet"), 5, str(old_lab.user.home))
    key = re.search(r"- (lab/homes/\w+)", done.err)
    assert key is not None
    old_lab.server.client().remove_object(old_lab.bucket, key[1])
    assert pruned(old_lab)["objects"] == 3


def test_a_home_that_comes_while_another_prunes_is_told_to_wait(lab: Lab) -> None:
    lab.use_bucket()
    lab.server.client().put_object(lab.bucket, "lab/pruning/0123456789abcdef", io.BytesIO(b"{}"), 2)
    is_refused(lab.user.call("queue", "train.py", "--quiet"), 6, "another home prunes", "lab/pruning/0123456789abcdef")
    assert not lab.user.runs.exists()
    lab.server.client().remove_object(lab.bucket, "lab/pruning/0123456789abcdef")
    assert lab.user.call("queue", "train.py").code == 0


def test_keys_of_others_are_counted_and_left(old_lab: Lab) -> None:
    keys = ("lab/notes.txt", "lab/sha256/ab/short", "lab/runs/2026-01-01_aaaaaa/extra", "lab/x/sha256/ab/" + "cd" * 31)
    for key in keys:
        old_lab.server.client().put_object(old_lab.bucket, key, io.BytesIO(b"mine"), 4)
    done = old_lab.user.call(*PRUNE)
    assert done.code == 0, done.err
    assert "4 keys in the bucket that fetchml has not made: left" in done.err
    for key in keys:
        assert old_lab.server.client().stat_object(old_lab.bucket, key).size == 4


def test_one_record_that_cannot_be_read_keeps_everything(old_lab: Lab) -> None:
    before = objects(old_lab)
    key = "lab/runs/2026-01-01_aaaaaa/run_manifest.json"
    old_lab.server.client().put_object(old_lab.bucket, key, io.BytesIO(b"{"), 1)
    done = old_lab.user.call(*PRUNE, "--json")
    assert done.code == 7
    assert done.json()["unreadable"][0]["run_id"] == "2026-01-01_aaaaaa in the bucket"
    assert objects(old_lab) == before


def without(*parts: bytes) -> Fault:
    """Leaves entries out of listings, as a server does that loses a page."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.ask()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"<ListBucketResult" in body:
            for entry in re.findall(rb"<Contents>.*?</Contents>", body, re.DOTALL):
                if any(part in entry for part in parts):
                    body = body.replace(entry, b"")
            body = re.sub(rb"<LastModified>[^<]*<", b"<LastModified>" + OLD.encode() + b"<", body)
            head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head)
        exchange.answer(head + b"\r\n\r\n" + body)

    return fault


def test_a_listing_without_an_object_that_is_there_is_not_trusted(old_lab: Lab, proxy: FaultyProxy) -> None:
    (run_id,) = [path.name for path in old_lab.user.runs.iterdir()]
    commit_id = json.loads(old_lab.user.manifest_path(run_id).read_text())["identity"]["commit_id"]
    before = objects(old_lab)
    proxy.fault = without(f"{commit_id[:2]}/{commit_id[2:]}".encode())
    is_refused(old_lab.user.call(*PRUNE, "--quiet"), 6, "did not list everything")
    assert objects(old_lab) == before


def test_a_listing_without_a_run_that_is_there_is_not_trusted(old_lab: Lab, proxy: FaultyProxy) -> None:
    assert old_lab.user.call("objects", "push", "--all").code == 0
    before = objects(old_lab)
    proxy.fault = without(b"run_manifest.json", b"plan.json")
    is_refused(old_lab.user.call(*PRUNE, "--quiet"), 6, "did not list everything")
    assert objects(old_lab) == before


def test_a_listing_that_breaks_off_removes_nothing(old_lab: Lab, proxy: FaultyProxy) -> None:
    before = objects(old_lab)

    def broken(exchange: Exchange) -> None:
        is_listing = exchange.request.method == "GET" and "list-type" in exchange.request.path
        if is_listing and "prefix=lab%2F&" in exchange.request.path + "&":
            exchange.answer_status("500 Internal", "InternalError")
        else:
            passed_on(exchange)

    proxy.fault = broken
    old_lab.user.env["FETCHML_OBJECTS_S3_RETRIES"] = "0"
    is_refused(old_lab.user.call(*PRUNE, "--quiet"), 6, "does not answer")
    assert any("list-type" in request.path for request in proxy.requests)
    assert objects(old_lab) == before


def test_code_that_was_synced_lately_stays_with_its_old_files(lab: Lab, proxy: FaultyProxy) -> None:
    lab.use_bucket()
    proxy.fault = aged
    assert lab.user.call("sync").code == 0
    assert pruned(lab)["objects"] == 2
    assert lab.user.call("sync").code == 0
    tree = lab.user.call("sync").out.strip()
    before = objects(lab)

    def aged_but_for_the_tree(exchange: Exchange) -> None:
        (passed_on if tree[2:] in exchange.request.path else aged)(exchange)

    proxy.fault = aged_but_for_the_tree  # the listing says old, a look says that it was stored since
    assert "objects" not in pruned(lab)
    assert objects(lab) == before


def test_nonsense_is_refused(lab: Lab) -> None:
    is_refused(lab.user.call(*PRUNE), 2, "no bucket")
    lab.use_bucket()
    is_refused(lab.user.call(*PRUNE, "--older-than", "23h"), 2, "a day at the earliest")
