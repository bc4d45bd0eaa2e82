"""Datasets as a user meets them, up to a run of the process engine that reads one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli.calls import UNPRIVILEGED, User, is_refused

DIRECT: dict[str, str | None] = {"FETCHML_EXECUTION_MODE": "direct"}
READS = """\
import os
print(open(os.path.join(os.environ["FETCHML_DATA_MNIST"], "a.txt")).read())
"""


@pytest.fixture
def data(user: User) -> Path:
    folder = user.path / "data"
    folder.mkdir()
    (folder / "a.txt").write_text("pixels")
    return folder


def add(user: User, *words: str) -> Any:
    done = user.call("dataset", "add", *words, "--json")
    assert done.code == 0, done.err
    return done.json()


def manifest(user: User, run_id: str) -> Any:
    return json.loads(user.manifest_path(run_id).read_bytes())


def test_a_dataset_is_added_listed_shown_and_removed(user: User, data: Path) -> None:
    assert "there are no datasets" in user.call("dataset", "list").err
    one = add(user, "mnist", str(data), "--samples", "3")
    assert (one["version"], one["created"], one["size_bytes"], one["sample_count"]) == ("1", True, 6, 3)
    assert add(user, "mnist", str(data)) == {**one, "created": False}
    (data / "b.txt").write_text("more")
    two = add(user, "mnist", str(data))
    assert (two["version"], two["created"]) == ("2", True)
    listed = user.call("dataset", "list", "--json").json()["datasets"]
    assert [item["version"] for item in listed] == ["1", "2"]
    assert "mnist" in user.call("dataset", "list").out
    assert two["checksum"] in user.call("dataset", "info", "mnist").out
    assert one["checksum"] in user.call("dataset", "info", "mnist@1").out
    is_refused(user.call("dataset", "rm", "mnist"), 2, "there are 2 versions", "hint: name one: `mnist@2`")
    assert user.call("dataset", "rm", "mnist@1").code == 0
    assert user.call("dataset", "rm", "mnist").code == 0
    assert (data / "a.txt").read_text() == "pixels"
    is_refused(user.call("dataset", "info", "mnist"), 3, "there is no dataset `mnist`")


def test_what_cannot_be_a_dataset_is_refused(user: User, data: Path) -> None:
    is_refused(user.call("dataset", "add", "a", str(user.path / "missing")), 3, "there is nothing at")
    is_refused(user.call("dataset", "add", "a", "gs://bucket/key"), 2, "not supported yet")
    is_refused(user.call("dataset", "add", "a", "s3://bucket/key"), 2, "there are no credentials for S3")
    is_refused(user.call("dataset", "add", "a", "s3://B/key"), 2, "is not the address of a dataset")
    is_refused(user.call("dataset", "add", "a", "s3://bucket/../x"), 2, "is not the address of a dataset")
    is_refused(user.call("dataset", "add", "a", "s3://me:secret@bucket/x"), 2, "may not hold credentials")
    is_refused(user.call("dataset", "add", "a", "s3://bucket/x", "--stage", "always"), 2, "`--stage` is for folders")
    is_refused(user.call("dataset", "add", "../a", str(data)), 2, "not accepted as the name")
    is_refused(user.call("dataset", "add", "a", str(data), "--version", "sha256"), 2, "not accepted as the version")
    os.mkfifo(user.path / "pipe")
    is_refused(user.call("dataset", "add", "a", str(user.path / "pipe")), 5, "neither a file nor a folder")
    add(user, "a", str(data), "--version", "v1")
    (data / "a.txt").write_text("other")
    is_refused(user.call("dataset", "add", "a", str(data), "--version", "v1"), 4, "with other content")
    (user.path / "empty").mkdir()
    is_refused(user.call("dataset", "add", "b", str(user.path / "empty")), 5, "there are no files in", "mounted there?")
    assert add(user, "c", str(data / "a.txt"))["file_count"] == 1


def test_what_only_the_host_should_see_is_no_dataset(user: User, data: Path) -> None:
    (user.path / "innocent").symlink_to("/etc")
    (user.path / ".ssh").mkdir()
    for place in ("/", "/etc", "/proc", "/var/run", "~/.ssh", str(user.path / "innocent" / "ssl"), str(user.home)):
        is_refused(user.call("dataset", "add", "a", place), 5, "cannot be a dataset", "hint: name a folder that holds")
    assert "there are no datasets" in user.call("dataset", "list").err
    # What was data when it was added, and leads elsewhere since.
    add(user, "mnist", str(data))
    (data / "a.txt").unlink()
    data.rmdir()
    data.symlink_to("/etc")
    user.script("train.py", READS)
    done = user.call("queue", "--engine", "process", "--data", "mnist", "train.py")
    is_refused(done, 5, "cannot be a dataset", "`/etc`")


def test_drift_is_found_file_by_file(user: User, data: Path) -> None:
    add(user, "mnist", str(data))
    assert user.call("dataset", "verify", "mnist").code == 0
    (data / "a.txt").write_text("pixelz")
    (data / "\x1b[31m").write_text("")
    done = user.call("dataset", "verify", "mnist", "--json")
    assert (done.code, done.json()["changes"]) == (7, ["\\x1b[31m: added", "a.txt: changed"])
    shown = user.call("dataset", "verify", "mnist")
    assert (shown.code, "- a.txt: changed" in shown.out) == (7, True)


def test_a_run_reads_its_dataset_and_records_it(user: User, data: Path) -> None:
    added = add(user, "mnist", str(data))
    user.script("train.py", READS)
    done = user.call("queue", "--quiet", "--data", "mnist", "train.py", env=DIRECT)
    assert done.code == 0, done.err
    run_id = done.out.strip()
    assert user.call("logs", run_id).out == "pixels\n"
    (record,) = manifest(user, run_id)["datasets"]
    assert record.pop("fetch_seconds") >= 0
    after = record.pop("after")
    assert (after["outcome"], after["checksum"], after["detail"]) == ("unchanged", added["checksum"], None)
    assert record == {
        "name": "mnist",
        "version": "1",
        "uri": data.as_uri(),
        "checksum": added["checksum"],
        "size_bytes": 6,
        "mount": None,
        "fetched_via": "in-place",
        "verified_via": "full-hash",
    }
    evidence = {item["field"]: item for item in manifest(user, run_id)["plan"]["trust_evidence"]}
    assert (evidence["datasets"]["state"], evidence["datasets"]["detail"]) == (
        "verified",
        f"mnist {added['checksum'][:19]}",
    )
    assert "mnist@1" in user.call("info", run_id).out
    assert user.call("validate", run_id).code == 0


def test_data_that_changed_since_it_was_queued_refuses_the_run(user: User, data: Path) -> None:
    added = add(user, "mnist", str(data))
    user.script("train.py", READS)
    (data / "a.txt").write_text("other!")
    run_id = user.call("queue", "--quiet", "--data", "mnist", "train.py", env=DIRECT).out.strip()
    record = manifest(user, run_id)
    assert record["status"]["state"] == "refused"
    detail = record["diagnosis"]["detail"]
    assert detail.startswith(f"dataset: expected mnist {added['checksum']}, found sha256:")
    assert detail.endswith("(a.txt: changed)")
    assert record["datasets"] == []


def test_a_dataset_that_a_run_waits_for_stays(user: User, data: Path) -> None:
    add(user, "mnist", str(data))
    run_id = user.queue("--data", "mnist", "train.py")
    is_refused(user.call("dataset", "rm", "mnist"), 4, run_id)
    assert user.call("cancel", run_id).code == 0
    assert user.call("dataset", "rm", "mnist").code == 0


def test_flags_add_to_the_project_and_replace_by_name(user: User, data: Path) -> None:
    for name in ("mnist", "labels"):
        add(user, name, str(data))
    (data / "b.txt").write_text("more")
    add(user, "mnist", str(data))
    user.settings('dataset_specs: ["mnist@1", "labels"]\n')
    found = user.call("dataset", "list", "--json").json()["datasets"]
    sums = {(item["name"], item["version"]): item["checksum"] for item in found}
    plan = user.call("queue", "--dry-run", "--json", "--data", "mnist@2", "train.py").json()["plan"]
    expected = [("labels", sums["labels", "1"]), ("mnist", sums["mnist", "2"])]
    assert [(item["name"], item["checksum"]) for item in plan["datasets"]] == expected
    plan = user.call("queue", "--dry-run", "--json", "train.py").json()["plan"]
    expected = [("mnist", sums["mnist", "1"]), ("labels", sums["labels", "1"])]
    assert [(item["name"], item["checksum"]) for item in plan["datasets"]] == expected
    user.settings("dataset_specs: [1]\n")
    is_refused(user.call("queue", "--dry-run", "train.py"), 2, "a dataset is not text")


def test_without_datasets_the_plan_says_nothing_of_them(user: User) -> None:
    assert "datasets" not in user.call("queue", "--dry-run", "--json", "train.py").json()["plan"]


def test_everything_that_is_wrong_with_the_datasets_is_told_at_once(user: User, data: Path) -> None:
    for name in ("a-b", "a.b", "gone"):
        add(user, name, str(data / "a.txt") if name == "gone" else str(data))
    (data / "a.txt").unlink()
    words = (
        "--data",
        "a-b",
        "--data",
        "a.b:/x",
        "--data",
        "gone",
        "--data",
        "nope",
        "--data",
        f"a_b@sha256:{'0' * 64}",
    )
    found = user.call("explain", "--json", *words, "train.py")
    assert found.code == 5
    faults = [item["actual"] for item in found.json()["faults"] if item["check"] == "dataset"]
    assert len(faults) == 5, faults
    for text in ("there is nothing at", "no dataset `nope`", "no dataset `a_b`", "which is that of `a-b`", "cannot"):
        assert any(text in fault for fault in faults), (text, faults)
    is_refused(user.call("queue", "--data", "nope", "train.py"), 3, "hint: `fetchml dataset add nope PATH` adds it")
    is_refused(user.call("queue", "--data", "a@md5:00", "train.py"), 2, "--data: `a@md5:00` is not a dataset")
    is_refused(user.call("queue", "--data", "a", "--data", "a@2", "train.py"), 2, "is given twice")


def test_catalogues_that_count_versions_differently_give_one_experiment_one_hash(user: User, data: Path) -> None:
    words = ("queue", "--dry-run", "--json", "--data")
    checksum = add(user, "mnist", str(data))["checksum"]
    one = user.call(*words, "mnist", "train.py").json()["plan_sha256"]
    assert user.call("dataset", "rm", "mnist").code == 0
    assert add(user, "mnist", str(data), "--version", "2012-release")["checksum"] == checksum
    for spec in ("mnist", "mnist@2012-release", f"mnist@sha256:{checksum[7:].upper()}"):
        assert user.call(*words, spec, "train.py").json()["plan_sha256"] == one


def test_very_large_data_can_be_hashed_with_blake3(user: User, data: Path) -> None:
    is_refused(
        user.call("dataset", "add", "a", str(data), "--algorithm", "md5"), 2, "hashed with `md5`", "sha256, blake3"
    )
    one = add(user, "mnist", str(data), "--algorithm", "blake3")
    assert one["checksum"].startswith("blake3:")
    assert add(user, "mnist", str(data)) == {**one, "created": False}, "as the latest version was hashed"
    assert one["checksum"][:23] in user.call("dataset", "list").out
    assert user.call("dataset", "verify", "mnist").out.endswith(f"{one['checksum']}\n")
    user.script("train.py", READS)
    spec = f"mnist@{one['checksum'].upper().replace('BLAKE3', 'blake3')}"
    done = user.call("queue", "--quiet", "--data", spec, "train.py", env=DIRECT)
    assert done.code == 0, done.err
    (record,) = manifest(user, done.out.strip())["datasets"]
    assert (record["checksum"], record["after"]["outcome"]) == (one["checksum"], "unchanged")
    assert "ok     dataset:mnist" in user.call("validate", "--verbose", done.out.strip()).out
    assert add(user, "mnist", str(data), "--algorithm", "sha256")["version"] == "2"
    wrong = f"mnist@blake3:{'0' * 64}"
    is_refused(user.call("queue", "--data", wrong, "train.py"), 3, f"no version `{wrong[6:]}`", one["checksum"])


CHANGES = """\
import os
with open(os.path.join(os.environ["FETCHML_DATA_MNIST"], "a.txt"), "w") as file:
    file.write("pixelz")
"""


@pytest.mark.parametrize("how", ["stat", "full"])
def test_data_that_changes_under_a_run_is_told_everywhere(user: User, data: Path, how: str) -> None:
    added = add(user, "mnist", str(data))
    user.script("train.py", CHANGES)
    env: dict[str, str | None] = {**DIRECT, "FETCHML_DATASETS_CHECK_AFTER": how}
    done = user.call("queue", "--wait", "--data", "mnist", "train.py", env=env)
    assert done.code == 0, done.err
    assert "data changed during the run: mnist" in done.err
    (run_id,) = [path.name for path in user.runs.iterdir()]
    record = manifest(user, run_id)
    assert (record["end_reason"], record["exit_code"]) == ("ok", 0)
    (item,) = record["datasets"]
    after = item["after"]
    assert item["checksum"] == added["checksum"] != after["checksum"]
    assert (after["outcome"], after["verified_via"], after["detail"]) == ("changed", "full-hash", "a.txt: changed")
    evidence = {found["field"]: found["state"] for found in record["plan"]["trust_evidence"]}
    assert evidence["datasets"] == "missing"
    told = "the dataset `mnist` changed during the run: a.txt: changed"
    assert told in user.call("info", run_id).out
    assert told in user.call("status", run_id).out
    assert "ok, but data changed during the run" in user.call("status").out
    assert user.call("status", "--json").json()["runs"][0]["data_changed"] == 1
    checked = user.call("validate", run_id)
    assert (checked.code, "wrong  dataset:mnist" in checked.out, "seal" in checked.out) == (7, True, False)
    assert user.call("dataset", "verify", "mnist").code == 7


def test_the_check_after_a_run_can_be_left_out(user: User, data: Path) -> None:
    add(user, "mnist", str(data))
    user.script("train.py", CHANGES)
    env: dict[str, str | None] = {**DIRECT, "FETCHML_DATASETS_CHECK_AFTER": "never"}
    run_id = user.call("queue", "--quiet", "--data", "mnist", "train.py", env=env).out.strip()
    (item,) = manifest(user, run_id)["datasets"]
    assert item["after"] is None
    assert user.call("validate", run_id).code == 0


def test_one_file_that_cannot_be_read_is_named_and_nothing_is_added(user: User, data: Path) -> None:
    (data / "secret.txt").write_text("s")
    (data / "secret.txt").chmod(0)
    done = user.call("dataset", "add", "mnist", str(data), before=UNPRIVILEGED)
    is_refused(done, 5, "a part of the dataset", "secret.txt: Permission denied")
    assert user.call("dataset", "list", "--json").json()["datasets"] == []


@pytest.mark.parametrize(
    "spec", ["{data}", "mnist@", "mnist@sha256:", "mnist@sha1:" + "0" * 40, "mnist@ 1", "../mnist"]
)
def test_a_run_reads_nothing_without_a_checksum(user: User, data: Path, spec: str) -> None:
    add(user, "mnist", str(data))
    is_refused(user.call("queue", "--data", spec.format(data=data), "train.py"), 2, "is not a dataset")


def test_links_devices_and_pipes_are_left_out_aloud(user: User, data: Path) -> None:
    plain = add(user, "mnist", str(data))["checksum"]
    (data / "out").symlink_to("/etc/passwd")
    (data / "up").symlink_to("../home")
    os.mkfifo(data / "pipe")
    done = user.call("dataset", "add", "mnist", str(data), "--version", "odd", "--json")
    assert done.json()["checksum"] == plain
    assert [text.split(":")[1].strip() for text in done.json()["warnings"]] == ["out", "pipe", "up"]
    assert done.err.count("warning: left out") == 3
