"""Copies of sealed runs in a bucket, and the way back, as a user meets them."""

import io
import json
import os
import threading
from pathlib import Path

import pytest

from cli.calls import User, changed, is_refused
from cli.lab import Lab, run_directly
from contract.s3_servers import CREDENTIALS, Exchange, FaultyProxy, passed_on
from stack import until

TRAIN = """\
import os
from fetchml import log_metric
log_metric("loss", 0.5, step=1)
results = os.environ["FETCHML_RESULTS"]
os.makedirs(os.path.join(results, "deep/er"))
for name, text in (("model.txt", "model"), ("deep/a", "same"), ("deep/er/b", "same"), ("deep/empty", "")):
    open(os.path.join(results, name), "w").write(text)
os.symlink("model.txt", os.path.join(results, "link"))
print("said")
"""


@pytest.fixture(params=["moto", "rclone"])
def each_lab(request: pytest.FixtureRequest, user: User, tmp_path: Path) -> Lab:
    """A user of a bucket in each server."""
    return Lab(user, request.getfixturevalue(f"{request.param}_server"), tmp_path / "staging")


def keys_in(lab: Lab) -> list[str]:
    found = lab.server.client().list_objects(lab.bucket, recursive=True)
    return sorted(str(item.object_name).removeprefix("lab/") for item in found)


def records_in(lab: Lab) -> list[str]:
    return [key for key in keys_in(lab) if key.startswith("runs/")]


def put(lab: Lab, key: str, content: bytes) -> None:
    lab.server.client().put_object(lab.bucket, f"lab/{key}", io.BytesIO(content), len(content))


def get(lab: Lab, key: str) -> bytes:
    response = lab.server.client().get_object(lab.bucket, f"lab/{key}")
    try:
        return response.read()
    finally:
        response.close()


def elsewhere(lab: Lab, path: Path) -> User:
    """Somebody with an empty home who may use the same bucket."""
    other = User(path, dict(lab.user.env))
    other.env["FETCHML_OBJECTS_URL"] = lab.url
    return other


def sealed(lab: Lab) -> str:
    lab.use_bucket()
    lab.user.script(text=TRAIN)
    return run_directly(lab.user)


def contents(run: Path) -> dict[str, tuple[bytes, int]]:
    """What lies in a run folder and counts: content and mode of each file."""
    return {
        str(path.relative_to(run)): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in run.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name not in ("copy.json", "owner.lock")
    }


# There and back


def test_a_run_is_copied_and_comes_back_the_same(each_lab: Lab, tmp_path: Path) -> None:
    lab = each_lab
    run_id = sealed(lab)
    assert records_in(lab) == []
    done = lab.user.call("objects", "push", run_id, "--json")
    assert done.code == 0, done.err
    assert done.json()["copied"] == [run_id]
    assert records_in(lab) == [f"runs/{run_id}/plan.json", f"runs/{run_id}/run_manifest.json"]
    for name in ("plan.json", "run_manifest.json"):
        assert get(lab, f"runs/{run_id}/{name}") == (lab.user.runs / run_id / name).read_bytes()
    other = elsewhere(lab, tmp_path / "elsewhere")
    assert other.call("objects", "fetch", "--all", "--dry-run").out == f"{run_id}\n"
    assert not other.runs.exists()
    done = other.call("objects", "fetch", run_id[:-2])
    assert done.code == 0, done.err
    assert done.out == "1 run fetched, 0 there already, 0 not\n"
    assert contents(other.runs / run_id) == contents(lab.user.runs / run_id)
    assert other.call("validate", run_id).code == 0
    assert other.call("logs", run_id).out == "said\n"
    modified = (lab.user.runs / run_id / "results/model.txt").stat().st_mtime
    assert (other.runs / run_id / "results/model.txt").stat().st_mtime == pytest.approx(modified, abs=1e-3)
    assert not [path for path in other.runs.iterdir() if path.name != run_id]
    assert other.call("objects", "fetch", run_id, "--json").json()["present"] == [run_id]
    assert f"in {lab.url} at" in other.call("info", run_id).out


def test_repeating_a_copy_changes_nothing_and_an_interrupted_one_goes_on(lab: Lab) -> None:
    run_id = sealed(lab)
    lab.user.call("objects", "push", run_id)
    before = keys_in(lab)
    assert lab.user.call("objects", "push", "--all", "--json").json()["present"] == [run_id]
    assert keys_in(lab) == before
    lab.server.client().remove_object(lab.bucket, f"lab/runs/{run_id}/run_manifest.json")
    assert lab.user.call("objects", "push", run_id, "--json").json()["copied"] == [run_id]
    assert keys_in(lab) == before


def test_a_run_that_never_started_is_copied_too(lab: Lab, tmp_path: Path) -> None:
    lab.use_bucket()
    run_id = lab.user.queue("train.py")
    is_refused(lab.user.call("objects", "push", run_id), 4, "has not ended")
    assert lab.user.call("cancel", run_id).code == 0
    assert lab.user.call("objects", "push", run_id).code == 0
    other = elsewhere(lab, tmp_path / "elsewhere")
    assert other.call("objects", "fetch", "--all").code == 0
    assert other.call("validate", run_id).code == 0


def test_code_that_was_stored_in_the_folder_goes_along(lab: Lab, tmp_path: Path) -> None:
    lab.user.script(text=TRAIN)
    run_id = run_directly(lab.user)
    done = lab.user.call("objects", "push", "--all", "--to", lab.url)
    assert done.code == 0, done.err
    assert not (lab.user.runs / run_id / "copy.json").exists()
    other = elsewhere(lab, tmp_path / "elsewhere")
    assert other.call("objects", "fetch", run_id).code == 0
    assert other.call("validate", run_id).code == 0


def test_runs_come_into_a_home_whose_objects_are_in_a_folder(lab: Lab, tmp_path: Path) -> None:
    run_id = sealed(lab)
    lab.user.call("objects", "push", run_id)
    other = User(tmp_path / "elsewhere", {**lab.user.env, "FETCHML_OBJECTS_URL": None})
    assert other.call("objects", "fetch", "--all", "--from", lab.url).code == 0
    assert other.call("validate", run_id, env={"AWS_ACCESS_KEY_ID": None}).code == 0


@pytest.mark.parametrize("direction", ["there", "back", "across"])
def test_migrate_takes_runs_along(lab: Lab, tmp_path: Path, direction: str) -> None:
    lab.user.script(text=TRAIN)
    run_id = run_directly(lab.user)
    words = ("objects", "migrate", "--runs", "--json")
    done = lab.user.call(*words, "--to", lab.url)
    assert done.code == 0, done.err
    assert done.json()["runs"]["copied"] == [run_id]
    if direction == "there":
        assert lab.user.call(*words, "--to", lab.url).json()["runs"]["present"] == [run_id]
        return
    if direction == "across":
        second = lab.server.new_bucket()
        done = lab.user.call(*words, "--from", lab.url, "--to", f"s3://{second}")
        assert done.json()["runs"]["copied"] == [run_id]
        lab.url = f"s3://{second}"
    other = User(tmp_path / "elsewhere", dict(lab.user.env))
    done = other.call(*words, "--from", lab.url, "--to", str(other.home / "store" / "objects"))
    assert done.code == 0, done.err
    assert other.call("validate", run_id, env={"AWS_ACCESS_KEY_ID": None}).code == 0


# By itself


def waits_for_copy(user: User, run_id: str) -> None:
    note = user.runs / run_id / "copy.json"
    until(lambda: note.exists() and json.loads(note.read_bytes())["copied_at"], f"the copy of {run_id}")


def test_a_direct_run_is_copied_in_the_background_and_so_is_what_waited(lab: Lab) -> None:
    first = sealed(lab)
    assert lab.user.call("info", first, "--json").json()["copy"] is None
    lab.user.env["FETCHML_OBJECTS_RUNS"] = "copy"
    info = lab.user.call("info", first).out
    assert f"waits to be copied to {lab.url}" in info
    second = run_directly(lab.user)
    for run_id in (first, second):
        waits_for_copy(lab.user, run_id)
        assert lab.user.call("info", run_id, "--json").json()["copy"]["state"] == "copied"
    assert len(records_in(lab)) == 4


def test_a_bucket_that_is_down_delays_nothing_and_is_told(lab: Lab) -> None:
    run_id = sealed(lab)
    lab.user.env |= {"FETCHML_OBJECTS_RUNS": "copy", "FETCHML_OBJECTS_S3_RETRIES": "0"}
    env: dict[str, str | None] = {"AWS_SECRET_ACCESS_KEY": None}
    # A direct run needs the bucket for its code, so what fails here is the copying of an earlier one.
    copying = [lab.user.environment(env)]
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "fetchml.archive"], env=copying[0], capture_output=True, text=True, check=False
    )
    assert done.returncode == 6
    assert "credentials for S3 are not complete" in done.stderr
    assert "Traceback" not in done.stderr
    found = lab.user.call("info", run_id, "--json").json()["copy"]
    assert found["state"] == "waiting"
    assert found["fault"]["code"] == "no-s3-credentials"
    assert "are not complete" in lab.user.call("info", run_id).out
    report = lab.user.call("doctor", "--json").json()
    texts = [item["text"] for item in report["findings"] if item["subject"] == "copies"]
    assert texts[0].startswith("0 of 1 ended run in")
    assert "are not complete" in texts[1]
    done = subprocess.run(
        [sys.executable, "-m", "fetchml.archive"],
        env=lab.user.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert lab.user.call("info", run_id, "--json").json()["copy"]["state"] == "copied"
    report = lab.user.call("doctor", "--json").json()
    texts = [item["text"] for item in report["findings"] if item["subject"] == "copies"]
    assert texts == [f"1 of 1 ended run in {lab.url} at {lab.server.endpoint}, 0 not"]


@pytest.mark.parametrize("words", [("objects", "fetch", "--all"), ("prune",)], ids=lambda words: words[0])
def test_what_a_killed_fetch_left_is_removed(
    lab: Lab, proxy: FaultyProxy, tmp_path: Path, words: tuple[str, ...]
) -> None:
    run_id = sealed(lab)
    assert lab.user.call("objects", "push", run_id).code == 0
    other = elsewhere(lab, tmp_path / "elsewhere")
    waiting, go = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        if exchange.request.method == "GET" and any(other.runs.glob(".tmp-*/attempts")):
            waiting.set()
            go.wait(60)
        passed_on(exchange)

    proxy.fault = hold
    fetching = other.start("objects", "fetch", run_id)
    try:
        assert waiting.wait(60)
        fetching.kill()
        fetching.communicate()
    finally:
        go.set()
    proxy.fault = passed_on
    assert [path.name for path in other.runs.iterdir() if path.name.startswith(".tmp-fetch-")]
    assert other.call("status").code == 0
    done = other.call(*words)
    assert done.code == 0, done.err
    left = [path.name for path in other.runs.iterdir()]
    assert left == ([run_id] if words[0] == "objects" else [])
    assert other.call("objects", "fetch", "--all").code == 0
    assert other.call("validate", run_id).code == 0


def test_a_direct_run_whose_bucket_falls_silent_ends_in_a_sealed_record(lab: Lab, proxy: FaultyProxy) -> None:
    lab.use_bucket()
    lab.user.script(text=TRAIN)
    lab.user.env["FETCHML_OBJECTS_S3_RETRIES"] = "0"

    def no_objects(exchange: Exchange) -> None:
        if exchange.request.method == "GET" and "sha256/" in exchange.request.path:
            exchange.answer_status("503 Service Unavailable", "ServiceUnavailable")
        else:
            passed_on(exchange)

    proxy.fault = no_objects
    done = lab.user.call("queue", "--quiet", "train.py", env={"FETCHML_EXECUTION_MODE": "direct"})
    assert done.code == 1, done.err
    (run_id,) = [path.name for path in lab.user.runs.iterdir()]
    manifest = json.loads(lab.user.manifest_path(run_id).read_bytes())
    assert (manifest["status"]["state"], manifest["end_reason"]) == ("failed", "infrastructure")
    assert "does not answer" in manifest["diagnosis"]["detail"] or "503" in manifest["diagnosis"]["detail"]
    proxy.fault = passed_on
    assert lab.user.call("validate", run_id).code == 0


def test_a_wish_for_copies_without_a_bucket_is_told(lab: Lab) -> None:
    lab.user.env["FETCHML_OBJECTS_RUNS"] = "copy"
    report = lab.user.call("doctor", "--json").json()
    assert ["there is no bucket" in item["text"] for item in report["findings"] if item["subject"] == "copies"] == [
        True
    ]


# What must not happen


def test_the_manifest_comes_last(lab: Lab, proxy: FaultyProxy) -> None:
    run_id = sealed(lab)

    def no_plan(exchange: Exchange) -> None:
        if exchange.request.method == "PUT" and "plan.json" in exchange.request.path:
            exchange.answer_status("403 Forbidden", "AccessDenied")
        else:
            passed_on(exchange)

    proxy.fault = no_plan
    is_refused(lab.user.call("objects", "push", run_id, "--quiet"), 8, "denies access")
    assert records_in(lab) == []
    other = elsewhere(lab, lab.user.path / "elsewhere")
    is_refused(other.call("objects", "fetch", run_id, "--quiet"), 3, "no run")
    proxy.fault = passed_on
    assert lab.user.call("objects", "push", run_id).code == 0
    puts = [request.path for request in proxy.requests if request.method == "PUT"]
    assert puts[-1].endswith("run_manifest.json")


def test_a_record_whose_files_were_changed_is_not_copied(lab: Lab) -> None:
    run_id = sealed(lab)
    target = lab.user.runs / run_id / "results/model.txt"
    target.chmod(0o644)
    target.write_bytes(b"MODEL")
    is_refused(lab.user.call("objects", "push", run_id, "--quiet"), 7, "not what its manifest says", "model.txt")
    assert records_in(lab) == []


def test_a_record_whose_seal_is_broken_is_not_copied(lab: Lab) -> None:
    run_id = sealed(lab)
    changed(lab.user.manifest_path(run_id), lambda manifest: manifest["identity"].update(user="eve"))
    is_refused(lab.user.call("objects", "push", run_id, "--quiet"), 7, "changed after it was sealed")
    assert records_in(lab) == []


def test_what_was_edited_after_the_seal_replaces_the_older_manifest(lab: Lab) -> None:
    run_id = sealed(lab)
    lab.user.env["FETCHML_OBJECTS_RUNS"] = "copy"
    lab.user.call("objects", "push", run_id)
    changed(lab.user.manifest_path(run_id), lambda manifest: manifest["narrative"].update(hypothesis="it learns"))
    assert lab.user.call("info", run_id, "--json").json()["copy"]["state"] == "outdated"
    assert lab.user.call("objects", "push", run_id, "--json").json()["copied"] == [run_id]
    assert json.loads(get(lab, f"runs/{run_id}/run_manifest.json"))["narrative"]["hypothesis"] == "it learns"
    assert lab.user.call("info", run_id, "--json").json()["copy"]["state"] == "copied"


def test_a_run_that_is_there_is_never_overwritten_either_way(lab: Lab, tmp_path: Path) -> None:
    run_id = sealed(lab)
    lab.user.call("objects", "push", run_id)
    other = elsewhere(lab, tmp_path / "elsewhere")
    other.script()
    theirs = run_directly(other)
    os.rename(other.runs / theirs, other.runs / run_id)
    is_refused(other.call("objects", "fetch", run_id, "--quiet"), 4, "another run", "left as it is")
    # The same id with another sound seal, as two homes that drew the same six characters would have.
    manifest = json.loads(get(lab, f"runs/{run_id}/run_manifest.json"))
    before = (lab.user.runs / run_id / "run_manifest.json").read_bytes()
    manifest["identity"]["name"] = "other"
    from fetchml.models.manifest import RunManifest

    again = RunManifest.model_validate_json(json.dumps({**manifest, "seal": None}))
    assert again.times.sealed_at is not None
    put(lab, f"runs/{run_id}/run_manifest.json", again.sealed(again.times.sealed_at).model_dump_json().encode())
    is_refused(lab.user.call("objects", "push", run_id, "--quiet"), 4, "the bucket has another run")
    is_refused(lab.user.call("objects", "fetch", run_id, "--quiet"), 4, "the store has another run")
    assert (lab.user.runs / run_id / "run_manifest.json").read_bytes() == before


HOSTILE = {
    "path out of the folder": lambda m: m["artifacts"]["files"][0].update(path="../../../../evil"),
    "absolute path": lambda m: m["record_files"][0].update(path="/tmp/evil"),
    "a path below a file": lambda m: m["artifacts"]["files"][0].update(path="model.txt/x"),
    "the manifest itself": lambda m: m["record_files"][0].update(path="run_manifest.json"),
    "a file where the code is": lambda m: m["record_files"][0].update(path="code/train.py"),
    "twice": lambda m: m["artifacts"]["files"].append(m["artifacts"]["files"][0]),
    "another run": lambda m: m["identity"].update(run_id="2020-01-01_aaaaaa"),
    "another size": lambda m: m["artifacts"]["files"][0].update(size_bytes=99),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_record_is_corrupt_and_leaves_nothing(lab: Lab, tmp_path: Path, change: object) -> None:
    from fetchml.models.manifest import RunManifest

    run_id = sealed(lab)
    lab.user.call("objects", "push", run_id)
    manifest = json.loads(get(lab, f"runs/{run_id}/run_manifest.json"))
    change(manifest)  # type: ignore[operator]
    resealed = RunManifest.model_validate_json(json.dumps({**manifest, "seal": None}))
    assert resealed.times.sealed_at is not None
    content = resealed.sealed(resealed.times.sealed_at).model_dump_json(indent=2).encode() + b"\n"
    put(lab, f"runs/{run_id}/run_manifest.json", content)
    other = elsewhere(lab, tmp_path / "elsewhere")
    is_refused(other.call("objects", "fetch", run_id, "--quiet"), 7)
    assert not other.runs.exists() or list(other.runs.iterdir()) == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0" * 100, b'{"a": 1, "a": 2}', b"[" * 100_000], ids=len)
def test_a_record_that_is_none_is_corrupt_and_replaced_by_a_sound_one(lab: Lab, tmp_path: Path, content: bytes) -> None:
    run_id = sealed(lab)
    lab.user.call("objects", "push", run_id)
    put(lab, f"runs/{run_id}/run_manifest.json", content)
    other = elsewhere(lab, tmp_path / "elsewhere")
    is_refused(other.call("objects", "fetch", run_id, "--quiet"), 7, "damaged")
    assert lab.user.call("objects", "push", run_id).code == 0
    assert other.call("objects", "fetch", run_id).code == 0


@pytest.mark.parametrize("what", ["result", "log", "code", "plan"])
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_a_damaged_part_leaves_no_run_and_comes_back_once_it_is_mended(
    lab: Lab, tmp_path: Path, what: str, how: str
) -> None:
    run_id = sealed(lab)
    lab.user.call("objects", "push", run_id)
    manifest = json.loads(get(lab, f"runs/{run_id}/run_manifest.json"))
    digest = {
        "result": next(item["sha256"] for item in manifest["artifacts"]["files"] if item["path"] == "model.txt"),
        "log": next(item["sha256"] for item in manifest["record_files"] if item["path"].endswith("output.log")),
        "code": manifest["identity"]["commit_id"],
        "plan": "",
    }[what]
    key = f"sha256/{digest[:2]}/{digest[2:]}" if digest else f"runs/{run_id}/plan.json"
    content = get(lab, key)
    if how == "missing":
        lab.server.client().remove_object(lab.bucket, f"lab/{key}")
    else:
        put(lab, key, content[:-2])
    other = elsewhere(lab, tmp_path / "elsewhere")
    done = other.call("objects", "fetch", run_id, "--quiet")
    assert done.code in (3, 7), done.err
    assert "Traceback" not in done.err
    assert not other.runs.exists() or list(other.runs.iterdir()) == []
    put(lab, key, content)
    assert other.call("objects", "fetch", run_id).code == 0
    assert other.call("validate", run_id).code == 0


def test_nonsense_is_refused(lab: Lab) -> None:
    lab.use_bucket()
    for words, code, part in (
        (("push",), 2, "--all"),
        (("push", "--all", "x"), 2, "--all"),
        (("fetch",), 2, "--all"),
        (("push", "nothing"), 3, "no run"),
        (("fetch", "2020-01-01_aaaaaa"), 3, "no run"),
        (("fetch", "../x"), 3, "no run"),
        (("fetch", ""), 3, "no run"),
        (("fetch", "--all", "--from", "/tmp"), 2, "a bucket only"),
        (("push", "--all", "--to", "/tmp"), 2, "a bucket only"),
        (("fetch", "--all", "--from", "s3://no-such-bucket-here"), 2, "does not exist"),
        (("migrate", "--runs", "--from", lab.url, "--to", "there"), 2, "between a bucket and the store of this home"),
    ):
        is_refused(lab.user.call("objects", *words, "--quiet"), code, part)
    lab.user.env["FETCHML_OBJECTS_URL"] = None
    is_refused(lab.user.call("objects", "push", "--all", "--quiet"), 2, "a bucket only")


def test_nothing_secret_is_written_down(lab: Lab) -> None:
    run_id = sealed(lab)
    lab.user.call("objects", "push", run_id)
    for path in lab.user.home.rglob("*"):
        if path.is_file():
            assert CREDENTIALS.secret_key.encode() not in path.read_bytes(), path
