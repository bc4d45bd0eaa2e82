"""Objects in a bucket, as a user meets them: queue into it, validate from it, move to it and back."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from cli.calls import Done, User, is_refused
from cli.lab import Lab, damage, run_directly
from contract.s3_servers import CREDENTIALS, Exchange, FaultyProxy, passed_on
from fetchml.objects.directory import DirectoryObjects

# Runs


def test_a_run_with_its_code_in_a_bucket_is_sealed_and_valid(lab: Lab) -> None:
    lab.use_bucket()
    lab.user.script(
        text="import os\nfrom fetchml import log_metric\nlog_metric('loss', 0.5)\n"
        "print(sorted(name for name in os.environ if 'KEY' in name or 'SECRET' in name))\n"
    )
    run_id = run_directly(lab.user)
    manifest = json.loads(lab.user.manifest_path(run_id).read_text())
    assert manifest["status"]["state"] == "completed", manifest["diagnosis"]
    assert manifest["seal"]
    done = lab.user.call("validate", run_id)
    assert done.code == 0, done.out
    assert not lab.folder.root.exists()
    assert lab.objects.has(manifest["identity"]["commit_id"])
    assert lab.user.call("logs", run_id).out.strip() == "[]"  # a run gets none of the credentials
    for path in lab.user.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert CREDENTIALS.secret_key.encode() not in path.read_bytes(), path


def test_a_run_whose_code_is_damaged_in_the_bucket_is_found_invalid_and_mended(lab: Lab) -> None:
    lab.use_bucket()
    run_id = run_directly(lab.user)
    commit_id = json.loads(lab.user.manifest_path(run_id).read_text())["identity"]["commit_id"]
    damage(lab, commit_id, b"{}")
    assert "damaged" in lab.user.call("validate", run_id).out
    run_directly(lab.user)
    assert lab.user.call("validate", run_id).code == 0


def test_nothing_is_queued_while_the_bucket_does_not_answer(lab: Lab, proxy: FaultyProxy) -> None:
    lab.use_bucket()
    proxy.fault = lambda exchange: exchange.answer_status("503 Slow", "SlowDown")
    is_refused(
        lab.user.call("queue", "train.py", env={"FETCHML_OBJECTS_S3_RETRIES": "0"}), 6, lab.bucket, str(proxy.port)
    )
    assert not lab.user.runs.exists()
    proxy.fault = passed_on
    assert lab.user.queue("train.py")


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        ("403 Forbidden", 8, "SignatureDoesNotMatch"),
        ("404 Not Found", 2, "NoSuchBucket"),
        ("500 Internal", 6, "InternalError"),
    ],
)
def test_the_exit_code_says_what_to_do(lab: Lab, proxy: FaultyProxy, status: str, code: int, word: str) -> None:
    lab.use_bucket()
    lab.user.env["FETCHML_OBJECTS_S3_RETRIES"] = "1"
    proxy.fault = lambda exchange: exchange.answer_status(status, word)
    done = lab.user.call("queue", "train.py")
    is_refused(done, code, "hint: ")
    assert CREDENTIALS.secret_key not in done.err
    assert lab.user.call("queue", "--json", "train.py").json_error()["hint"]


def test_a_bucket_without_credentials_is_refused(lab: Lab) -> None:
    lab.use_bucket()
    done = lab.user.call("queue", "train.py", env={"AWS_SECRET_ACCESS_KEY": None})
    is_refused(done, 2, "not complete", "AWS_SECRET_ACCESS_KEY")
    done = lab.user.call("queue", "train.py", env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    is_refused(done, 2, "no credentials for S3", "FETCHML_S3_ACCESS_KEY")
    own: dict[str, str | None] = {
        "AWS_ACCESS_KEY_ID": "other",
        "FETCHML_S3_ACCESS_KEY": CREDENTIALS.access_key,
        "FETCHML_S3_SECRET_KEY": CREDENTIALS.secret_key,
    }
    done = lab.user.call("queue", "train.py", env=own)
    assert (done.code, "is no setting" in done.err) == (0, False), done.err


def test_the_doctor_looks_at_the_bucket(lab: Lab) -> None:
    lab.use_bucket()
    found = {item["subject"]: item for item in lab.user.call("doctor", "--json").json()["findings"]}
    assert found["objects"]["level"] == "ok"
    lab.user.env["FETCHML_OBJECTS_URL"] = "s3://no-such-bucket-here"
    found = {item["subject"]: item for item in lab.user.call("doctor", "--json").json()["findings"]}
    assert found["objects"]["level"] == "error"
    assert found["objects"]["hint"]


# Migration


def test_a_store_goes_to_a_bucket_and_back(lab: Lab, tmp_path: Path) -> None:
    run_id = run_directly(lab.user)
    stored = set(lab.folder.digests())
    done = lab.migrate("--to", lab.url)
    assert (done.code, done.out[:16]) == (0, f"{len(stored)} objects copied"[:16]), done.err
    assert set(lab.objects.digests()) == stored == set(lab.folder.digests())
    shutil.rmtree(lab.folder.root)
    assert lab.user.call("validate", run_id).code == 7
    lab.use_bucket()
    assert lab.user.call("validate", run_id).code == 0
    done = lab.migrate("--to", f"file://{tmp_path}/back", "--json")
    assert done.json() == {
        "schema_version": 1,
        "ok": True,
        "from": f"{lab.url} at {lab.server.endpoint}",
        "to": f"{tmp_path}/back",
        "copied": len(stored),
        "copied_bytes": sum(len(lab.objects.read(digest)) for digest in stored),
        "present": 0,
        "damaged": [],
        "runs": None,
    }
    assert set(DirectoryObjects(tmp_path / "back").digests()) == stored
    assert lab.migrate("--to", f"{tmp_path}/back", "--json").json()["present"] == len(stored)


def test_what_is_damaged_in_the_target_is_replaced(lab: Lab) -> None:
    digests = lab.fill(20)
    assert lab.migrate("--to", lab.url).code == 0
    damage(lab, digests[3], b"?")
    damage(lab, digests[4], b"longer")
    assert lab.migrate("--to", lab.url, "--json").json()["copied"] == 2
    assert lab.objects.read(digests[3]) == b"3"


def test_what_is_damaged_in_the_source_is_told_and_the_rest_is_copied(lab: Lab) -> None:
    digests = lab.fill(20)
    path = lab.folder.path(digests[3])
    path.chmod(0o644)
    path.write_bytes(b"?")
    done = lab.migrate("--to", lab.url, "--json")
    assert done.code == 7
    assert done.json()["damaged"] == [digests[3]]
    assert set(lab.objects.digests()) == {*digests} - {digests[3]}
    assert digests[3] in lab.migrate("--to", lab.url).out


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda item: item.name)
def test_a_migration_that_is_stopped_goes_on_where_it_broke_off(
    lab: Lab, proxy: FaultyProxy, how: signal.Signals
) -> None:
    digests = lab.fill(60)
    started = lab.user.start("objects", "migrate", "--to", lab.url)
    puts: list[str] = []

    def stop_later(exchange: Exchange) -> None:
        passed_on(exchange)
        if exchange.request.method == "PUT":
            puts.append(exchange.request.path)
            if len(puts) == 15:
                os.kill(started.pid, how)

    proxy.fault = stop_later
    out, err = started.communicate(timeout=60)
    assert started.returncode == (130 if how is signal.SIGINT else -how), err
    if how is signal.SIGINT:
        assert "goes on where it broke off" in err
    assert out == ""
    there = set(lab.objects.digests())
    assert 14 <= len(there) < 60
    proxy.fault = passed_on
    done = lab.migrate("--to", lab.url, "--json").json()
    assert done["present"] == len(there)
    assert done["copied"] + done["present"] == 60
    assert set(lab.objects.digests()) == set(digests)


def test_a_migration_into_a_bucket_that_fails_keeps_what_was_copied(lab: Lab, proxy: FaultyProxy) -> None:
    lab.fill(40)
    lab.user.env["FETCHML_OBJECTS_S3_RETRIES"] = "0"

    def storm(exchange: Exchange) -> None:
        if len(proxy.requests) > 60:
            exchange.answer_status("503 Slow", "SlowDown")
        else:
            passed_on(exchange)

    proxy.fault = storm
    is_refused_after_notes(lab.migrate("--to", lab.url), 6)
    assert 0 < len(list(lab.objects.digests())) < 40
    staging = lab.user.home / "cache" / "uploads"
    assert list(staging.iterdir()) == []


def is_refused_after_notes(done: Done, code: int) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    assert "error: " in done.err
    assert "hint: " in done.err


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("--to", "s3://ab"), 2, "not the URL of a bucket"),
        (("--to", "s3://bucket/../x"), 2, "not the URL of a bucket"),
        (("--to", "https://host/bucket"), 2, "no place for objects"),
        (("--to", "file://host/x"), 2, "no place for objects"),
        (("--to", ""), 2, "no place for objects"),
        (("--to", "s3://key:no-secret@bucket"), 2, "may not hold credentials"),
        (("--to", "HERE"), 2, "same place"),
        (("--to", "HERE/../objects/"), 2, "same place"),
        (("--to", "HERE/sha256/ab"), 2, "is among the objects"),
        (("--to", "train.py"), 2, "not a folder"),
        (("--from", "nowhere", "--to", "there"), 3, "no objects in"),
        (("--to", "s3://no-such-bucket-here"), 2, "does not exist"),
        (("--from", "s3://no-such-bucket-here", "--to", "there"), 2, "does not exist"),
        ((), 2, "--to"),
    ],
    ids=str,
)
def test_nonsense_is_refused(lab: Lab, words: tuple[str, ...], code: int, part: str) -> None:
    lab.fill(1)
    done = lab.migrate("--quiet", *(word.replace("HERE", str(lab.folder.root)) for word in words))
    is_refused(done, code, part)
    assert "no-secret" not in done.err
    assert not (lab.user.project / "there" / "sha256").exists()


# Settings


@pytest.mark.parametrize("key", ["access_key", "secret_key", "session_token", "password"])
def test_a_secret_in_a_file_is_refused_and_not_repeated(user: User, key: str) -> None:
    user.home.mkdir(exist_ok=True)
    (user.home / "config.yaml").write_text(f"objects:\n  s3:\n    {key}: no-secret-of-ours\n")
    done = user.call("status")
    is_refused(done, 2, "no secret is read from a file", "AWS_SECRET_ACCESS_KEY")
    assert "no-secret-of-ours" not in done.err


def test_a_secret_in_the_url_is_refused_and_not_repeated(user: User) -> None:
    for name in ("FETCHML_OBJECTS_URL", "FETCHML_OBJECTS_S3_ENDPOINT"):
        done = user.call("status", env={name: "https://key:no-secret-of-ours@lab/bucket"})
        is_refused(done, 2, "may not hold credentials")
        assert "no-secret-of-ours" not in done.err
