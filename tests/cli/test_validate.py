"""`fetchml validate` of a commit, and of every run."""

import json
from pathlib import Path

import pytest

from cli.calls import UNPRIVILEGED, User, is_refused
from cli.conftest import Library


def commit_of(user: User, run_id: str) -> str:
    return json.loads(user.manifest_path(run_id).read_bytes())["identity"]["commit_id"]


def object_path(user: User, digest: str) -> Path:
    return user.home / "store" / "objects" / "sha256" / digest[:2] / digest[2:]


@pytest.mark.parametrize("digits", [8, 20, 64])
def test_a_commit_is_checked_file_by_file(library: Library, digits: int) -> None:
    user = library.user
    commit_id = commit_of(user, library.completed)
    done = user.call("validate", "--verbose", commit_id[:digits])
    assert done.code == 0, done.err
    assert "ok     file:train.py\n" in done.out
    assert done.out.endswith(f"commit {commit_id}: 3 checks, all passed\n")
    report = user.call("validate", "--json", commit_id[:digits]).json()
    assert (report["run_id"], report["commit_id"], report["errors"]) == (None, commit_id, [])
    assert [check["file"] for check in report["checks"]] == [None, "fails.py", "train.py"]


def test_what_begins_no_commit_is_not_found(library: Library) -> None:
    user = library.user
    commit_id = commit_of(user, library.completed)
    tree = json.loads(object_path(user, commit_id).read_bytes())
    a_file = tree["entries"][0]["sha256"]
    for text in (commit_id[:7], "0" * 64, a_file, commit_id.upper(), commit_id + "0"):
        is_refused(user.call("validate", text), 3, "there is no run")


def test_a_damaged_file_of_a_commit_is_named(own_library: Library) -> None:
    user = own_library.user
    commit_id = commit_of(user, own_library.completed)
    tree = json.loads(object_path(user, commit_id).read_bytes())
    path = object_path(user, next(entry["sha256"] for entry in tree["entries"] if entry["path"] == "train.py"))
    path.unlink()
    done = user.call("validate", commit_id)
    assert done.code == 7
    assert "wrong  file:train.py\n" in done.out
    assert "wrong  file:fails.py\n" not in done.out


def test_a_damaged_tree_is_told_as_that(own_library: Library) -> None:
    user = own_library.user
    commit_id = commit_of(user, own_library.completed)
    path = object_path(user, commit_id)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    for text in (commit_id, commit_id[:8]):
        done = user.call("validate", text)
        assert done.code == 7
        assert done.out.startswith("wrong  tree\n")
    path.unlink()
    is_refused(user.call("validate", commit_id), 3)
    assert user.call("validate", own_library.completed).code == 7


def test_every_run_is_checked(library: Library) -> None:
    done = library.user.call("validate", "--all")
    assert done.code == 0, done.out
    *lines, last = done.out.splitlines()
    runs = {library.completed, library.failed, library.cancelled, library.queued}
    assert {line.split()[1] for line in lines} == runs
    assert all(line.startswith("ok     ") for line in lines)
    assert last == "4 runs: 4 sound, 0 corrupt, 0 unreadable, 0 with warnings"


def test_one_bad_run_does_not_keep_the_others_from_being_checked(own_library: Library) -> None:
    user = own_library.user
    user.manifest_path(own_library.queued).write_bytes(b"{")
    log = user.runs / own_library.failed / "attempts" / "1" / "output.log"
    log.chmod(0o644)
    log.write_bytes(b"other")
    done = user.call("validate", "--all")
    assert done.code == 7
    assert f"wrong  {own_library.queued}  1 check, 1 failed: manifest\n" in done.out
    assert "1 failed: record:attempts/1/output.log\n" in done.out
    assert done.out.endswith("4 runs: 2 sound, 2 corrupt, 0 unreadable, 0 with warnings\n")
    found = user.call("validate", "--all", "--json")
    assert (found.code, found.err) == (7, "")
    document = found.json()
    assert (document["ok"], len(document["reports"])) == (False, 4)
    assert document["counts"] == {"runs": 4, "sound": 2, "corrupt": 2, "unreadable": 0, "with_warnings": 0}
    errors = {report["run_id"]: report["errors"] for report in document["reports"]}
    assert errors[own_library.completed] == []
    assert "attempts/1/output.log" in errors[own_library.failed][0]


def test_a_run_that_cannot_be_read_is_told_and_passed_over(own_library: Library) -> None:
    user = own_library.user
    path = user.manifest_path(own_library.queued)
    path.chmod(0)
    done = user.call("validate", "--all", before=UNPRIVILEGED)
    assert done.code == 8, done.out
    assert done.out.endswith("4 runs: 3 sound, 0 corrupt, 1 unreadable, 0 with warnings\n")
    assert user.call("validate", own_library.queued, before=UNPRIVILEGED).code == 8


def test_no_runs_are_all_sound(user: User) -> None:
    done = user.call("validate", "--all")
    assert (done.code, done.out) == (0, "0 runs: 0 sound, 0 corrupt, 0 unreadable, 0 with warnings\n")


def test_all_and_one_are_too_much(library: Library) -> None:
    is_refused(library.user.call("validate", "--all", "good"), 2, "`--all` checks every run")
    is_refused(library.user.call("validate"), 2, "Missing argument", "`--all`")


def test_the_dependency_manifest_is_that_of_the_snapshot(user: User) -> None:
    (user.project / "requirements.txt").write_text("")
    run_id = user.queue("train.py")
    names = [check["name"] for check in user.call("validate", "--json", run_id).json()["checks"]]
    assert "dependencies" in names
    path = user.manifest_path(run_id)
    manifest = json.loads(path.read_bytes())
    manifest["environment"]["dependencies_sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    done = user.call("validate", run_id)
    assert done.code == 7
    assert "wrong  dependencies\n" in done.out
    assert "requirements.txt" in done.out
