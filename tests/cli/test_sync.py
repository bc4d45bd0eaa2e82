"""`fetchml sync` and `fetchml watch`: the code is stored, nothing is queued."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.calls import TIMEOUT_S, User, is_refused


def age(project: Path) -> None:
    """Makes all files older than time stamps are coarse; their inodes are young all the same."""
    time.sleep(2.1)


def test_sync_prints_the_commit_id_that_queue_records(user: User) -> None:
    done = user.call("sync")
    assert done.code == 0
    assert done.err == "1 file, 9B; 1 read (9B)\n"
    run_id = user.queue("train.py")
    manifest = json.loads(user.manifest_path(run_id).read_bytes())
    assert done.out == manifest["identity"]["commit_id"] + "\n"
    assert user.call("validate", done.out[:12]).code == 0


def test_sync_queues_nothing(user: User) -> None:
    assert user.call("sync", "--quiet").err == ""
    user.nothing_is_left()
    assert user.call("status", "--json").json()["runs"] == []


def test_an_unchanged_project_is_not_read(user: User) -> None:
    user.script("other.py", "print(2)\n")
    age(user.project)
    first, second = (user.call("sync", "--json").json() for _ in range(2))
    assert (first["read_files"], second["read_files"]) == (2, 0)
    assert first["commit_id"] == second["commit_id"]
    user.script("other.py", "print(3)\n")
    third = user.call("sync", "--json").json()
    assert third["read_files"] == 1
    assert third["commit_id"] != first["commit_id"]
    assert "nothing has changed" in user.call("sync").err or third["read_files"] == 1


def test_sync_refuses_what_queue_refuses(user: User) -> None:
    (user.project / "link").symlink_to("/etc/passwd")
    is_refused(user.call("sync"), 5, "`/etc/passwd`", ".fetchmlignore")
    assert user.call("sync", "--json").json_error()["code"] == "snapshot-refused"
    (user.project / "link").unlink()
    user.settings("snapshot:\n  max_files: 1\n")
    is_refused(user.call("sync"), 5, "too large")


def test_the_cache_may_be_deleted_and_may_be_unwritable(user: User) -> None:
    commit_id = user.call("sync").out
    cache = user.home / "cache"
    cache.mkdir(exist_ok=True)
    for path in cache.rglob("*.json"):
        path.write_text("nonsense")
    assert user.call("sync").out == commit_id
    (cache / "trees").exists() and [path.unlink() for path in (cache / "trees").iterdir()]
    assert user.call("sync").out == commit_id


@pytest.fixture
def watching(user: User) -> "subprocess.Popen[str]":
    user.script()
    return user.start("watch")


def test_watch_prints_each_commit_until_ctrl_c(user: User, watching: "subprocess.Popen[str]") -> None:
    assert watching.stdout is not None
    assert watching.stderr is not None
    first = watching.stdout.readline()
    user.script("train.py", "print(2)\n")
    second = watching.stdout.readline()
    assert second not in ("", first)
    watching.stderr.readline()
    watching.stderr.readline()
    # A tree that is refused is told, and does not end it.
    os.symlink("/etc/passwd", user.project / "link")
    assert "cannot be captured" in watching.stderr.readline()
    (user.project / "link").unlink()
    user.script("train.py", "print(1)\n")
    assert watching.stdout.readline() == first
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=TIMEOUT_S)
    assert (watching.returncode, out) == (130, "")
    assert err.endswith("interrupted; what was stored stays\n")
    assert "Traceback" not in err
    assert user.call("status", "--json").json()["runs"] == []
