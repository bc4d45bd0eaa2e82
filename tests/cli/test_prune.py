"""`fetchml prune`: what it says, what it asks, and that runs go only with a yes."""

import os
import time
from pathlib import Path

from cli.calls import User, is_refused
from cli.conftest import Library


def aged(user: User, days: int = 30) -> None:
    """Makes every file of the home that old."""
    moment = time.time() - days * 24 * 3600
    for path in user.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (moment, moment))


def objects(user: User) -> list[Path]:
    return [path for path in (user.home / "store" / "objects" / "sha256").rglob("*") if path.is_file()]


def test_there_may_be_nothing_to_remove(user: User) -> None:
    done = user.call("prune")
    assert (done.code, done.out) == (0, "nothing to remove\n")


def test_code_that_was_only_synced_goes_after_a_while(user: User) -> None:
    user.call("sync")
    assert user.call("prune").out == "nothing to remove\n"
    aged(user)
    shown = user.call("prune", "--dry-run")
    assert shown.out.splitlines()[0].split() == ["WOULD", "GO", "COUNT", "SIZE"]
    assert shown.err.endswith("nothing was removed (--dry-run)\n")
    assert len(objects(user)) == 2
    done = user.call("prune", "--json").json()
    assert done["removed"] == [{"kind": "objects", "count": 2, "size_bytes": done["removed_bytes"]}]
    assert objects(user) == []


def test_an_age_can_be_given(user: User) -> None:
    user.call("sync")
    aged(user, 2)
    assert user.call("prune", "--older-than", "3d").out == "nothing to remove\n"
    assert "objects" in user.call("prune", "--older-than", "1d").out
    is_refused(user.call("prune", "--older-than", "soon"), 2, "`soon`")


def test_what_runs_refer_to_stays(own_library: Library) -> None:
    user = own_library.user
    count = len(objects(user))
    aged(user)
    done = user.call("prune", "--json").json()
    assert done["ok"]
    assert len(objects(user)) == count
    assert done["removed"] == []  # the code is laid out, and a run that waits has the same
    assert user.call("cancel", own_library.queued).code == 0
    assert [item["kind"] for item in user.call("prune", "--json").json()["removed"]] == ["snapshots"]
    assert user.call("validate", "--all").code == 0
    assert user.call("prune").out == "nothing to remove\n"


def test_runs_are_removed_only_with_a_yes(own_library: Library) -> None:
    user = own_library.user
    is_refused(user.call("prune", "--runs"), 2, "--keep-last")
    is_refused(user.call("prune", "--keep-last", "1"), 2, "--runs")
    is_refused(user.call("prune", "--runs", "--keep-last", "1"), 2, "2 ended runs", "--yes")
    assert len(os.listdir(user.runs)) == 4
    shown = user.call("prune", "--runs", "--keep-last", "1", "--dry-run", "--json").json()
    assert len(shown["run_ids"]) == 2
    assert len(os.listdir(user.runs)) == 4
    done = user.call("prune", "--runs", "--keep-last", "1", "--yes", "--json").json()
    assert done["run_ids"] == shown["run_ids"] == [own_library.failed, own_library.completed]
    assert sorted(os.listdir(user.runs)) == sorted([own_library.cancelled, own_library.queued])
    assert user.call("validate", "--all").code == 0


def test_a_run_that_cannot_be_read_is_told(own_library: Library) -> None:
    user = own_library.user
    user.manifest_path(own_library.queued).write_text("{")
    count = len(objects(user))
    aged(user)
    done = user.call("prune", "--older-than", "1s")
    assert done.code == 7
    assert f"fetchml validate {own_library.queued}" in done.err
    assert len(objects(user)) == count
