"""What the reading commands show of runs that have really run: which run is meant, text, JSON, exit codes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.calls import User, is_refused
from cli.conftest import Library

READERS = ("status", "info", "logs", "validate", "cancel", "wait")


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("target", "code", "part"),
    [
        ("nosuch", 3, "there is no run `nosuch`"),
        ("2026-11-20_k3f9q2", 3, "there is no run `2026-11-20_k3f9q2`"),
        ("@", 3, "you have not queued a run yet"),
        ("@~1", 3, "you have not queued a run yet"),
        ("@~99999999999", 3, "there is no run"),
        ("@~-1", 3, "there is no run"),
        ("", 2, "names no run"),
        ("a\nb", 2, "\\n"),
        ("\x1b[2J", 2, "\\x1b[2J"),
        ("\u202e", 2, "\\u202e"),
        ("../../etc/passwd", 3, ""),
    ],
    ids=repr,
)
def test_a_run_that_is_not_there_is_told_as_such(user: User, command: str, target: str, code: int, part: str) -> None:
    done = user.call(command, target)
    is_refused(done, code, part)
    assert not user.home.exists()
    if command != "logs":
        assert user.call(command, "--json", target).json_error()["exit_code"] == code


def test_without_runs_the_status_says_how_to_begin(user: User) -> None:
    done = user.call("status")
    assert (done.code, done.out, done.err) == (0, "no runs yet; `fetchml queue SCRIPT` queues one\n", "")
    assert user.call("status", "--json").json() == {
        "schema_version": 1,
        "counts": {},
        "total": 0,
        "worker_alive": False,
        "runs": [],
    }


def found(library: Library, target: str) -> str:
    """Returns the id of the run that a text means."""
    done = library.user.call("info", "--json", target)
    assert done.code == 0, done.err
    return done.json()["identity"]["run_id"]


def test_a_run_is_found_by_all_its_names(library: Library) -> None:
    run_id = library.completed
    folder = library.user.runs / run_id
    for target in (run_id, run_id[11:], run_id[:-1], "good", "@~3", f"{folder}", f"{folder}/", f"{folder}/results/.."):
        assert found(library, target) == run_id, target
    assert found(library, f"{folder}/run_manifest.json") == run_id
    assert found(library, "@") == library.queued
    assert found(library, "waiting") == library.queued


def test_a_folder_is_found_from_within_it(library: Library) -> None:
    folder = library.user.runs / library.completed
    for target in (".", "./", "run_manifest.json"):
        done = library.user.call("info", "--json", target, cwd=folder)
        assert done.json()["identity"]["run_id"] == library.completed


@pytest.mark.parametrize("target", [".", "run_manifest.json"])
def test_validate_takes_the_paths_that_info_takes(library: Library, target: str) -> None:
    done = library.user.call("validate", target, cwd=library.user.runs / library.completed)
    assert done.code == 0, done.err


@pytest.mark.parametrize("command", ["info", "validate"])
def test_a_folder_that_holds_no_run_is_told_as_such(user: User, command: str) -> None:
    is_refused(user.call(command, "."), 3, "run_manifest.json")


@pytest.mark.parametrize("command", READERS)
def test_an_ambiguous_name_is_told_with_the_runs_it_means(library: Library, command: str) -> None:
    prefix = library.completed[:10]
    done = library.user.call(command, prefix)
    is_refused(done, 4, f"`{prefix}` means 4 runs", library.queued, library.failed, "hint: give the id of one of them")


def test_going_back_too_far_tells_how_many_there_are(library: Library) -> None:
    is_refused(library.user.call("info", "@~4"), 3, "`@~4` goes back too far: you have queued 4 runs")


def test_the_status_lists_what_waits_before_what_ended(library: Library) -> None:
    done = library.user.call("status")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("1 queued · 1 completed · 1 failed · 1 cancelled")
    assert "no worker is running: `fetchml up`" in lines[0]
    assert lines[2].split() == ["RUN", "NAME", "STATE", "PRIO", "QUEUED", "RAN", "ENGINE", "WHY"]
    assert [line.split()[0] for line in lines[3:]] == [
        library.queued,
        library.cancelled,
        library.failed,
        library.completed,
    ]
    assert "code_error (exit 3)" in lines[5]


def test_a_limit_shows_fewer_and_says_so(library: Library) -> None:
    done = library.user.call("status", "--limit", "1")
    assert library.queued in done.out
    assert library.failed not in done.out
    assert "1 of 4 runs; `--limit` shows more" in done.out
    listed = library.user.call("status", "--limit", "1", "--json").json()
    assert (len(listed["runs"]), listed["total"]) == (1, 4)


def test_the_status_as_json_has_every_field(library: Library) -> None:
    listed = library.user.call("status", "--json").json()
    run: dict[str, Any] = next(run for run in listed["runs"] if run["run_id"] == library.failed)
    assert run["state"] == "failed"
    assert run["end_reason"] == "code_error"
    assert run["exit_code"] == 3
    assert run["command"] == ["python", "fails.py"]
    assert run["engine"] == "process"
    assert listed["counts"] == {"queued": 1, "cancelled": 1, "failed": 1, "completed": 1}
    assert {tuple(run) for run in listed["runs"]} == {tuple(run)}


def test_at_length_the_record_names_systems_settings_and_packages(library: Library) -> None:
    user, run_id = library.user, library.completed
    text = user.call("info", "--verbose", run_id)
    assert text.code == 0, text.err
    record = user.call("info", "--json", run_id).json()
    environment, hardware = record["environment"], record["hardware"]
    assert hardware["system"] == environment["system"]  # a plain process has the host's
    assert f"kernel {hardware['system']['kernel']}" in text.out
    assert environment["interpreter"]["build"] in text.out
    for setting in environment["settings"]:
        assert re.search(rf"^{re.escape(setting['key'])} .* {setting['layer']}$", text.out, re.MULTILINE), setting
    for package in environment["packages"]:
        assert f"\n{package}" in text.out
    assert "SETTING" not in user.call("info", run_id).out


def test_the_record_is_shown_for_people_and_as_it_is_for_programs(library: Library) -> None:
    user, run_id = library.user, library.completed
    text = user.call("info", run_id)
    assert text.code == 0
    for line in (
        r"state +completed",
        r"result +ok: .*exit code 0",
        r"metric +loss = 0.25",
        r"model\.txt  7B",
        r"seal +\w{16}, not signed",
    ):
        assert re.search(line, text.out), line
    assert user.call("status", run_id).out == text.out
    value = user.call("info", "--json", run_id).json()
    stored = json.loads(user.manifest_path(run_id).read_bytes())
    assert value.pop("folder") == str(user.runs / run_id)
    assert value.pop("stall") is None
    assert value.pop("copy") is None
    assert value == stored


def test_metrics_are_shown_when_asked_for(library: Library) -> None:
    done = library.user.call("info", "--show-metrics", library.completed)
    assert "METRIC  VALUE  STEP\nloss    0.5    1\nloss    0.25   2\n" in done.out
    values = library.user.call("info", "--show-metrics", "--json", library.completed).json()["metric_values"]
    assert [(item["name"], item["value"], item["step"]) for item in values] == [("loss", 0.5, 1), ("loss", 0.25, 2)]
    assert "no metrics were logged" in library.user.call("info", "--show-metrics", library.failed).out


def test_a_failure_says_what_to_do_next(library: Library) -> None:
    done = library.user.call("info", library.failed)
    assert re.search(r"result +code_error: .*exit code 3", done.out)
    assert re.search(r"^next +\S", done.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ((), "first line\nlast line\n"),
        (("--tail", "1"), "last line\n"),
        (("-n", "0"), ""),
        (("-n", "99"), "first line\nlast line\n"),
        (("--follow",), "first line\nlast line\n"),
        (("-f", "-n", "1"), "last line\n"),
    ],
    ids=repr,
)
def test_the_output_is_shown_byte_for_byte(library: Library, words: tuple[str, ...], output: str) -> None:
    done = library.user.call("logs", *words, "good")
    assert (done.code, done.out, done.err) == (0, output, "")


def test_a_run_without_output_yet_says_how_to_wait_for_it(library: Library) -> None:
    is_refused(library.user.call("logs", library.queued), 3, "has printed nothing yet", "`fetchml logs --follow`")


def test_waiting_tells_by_its_exit_code_whether_all_completed(library: Library) -> None:
    user = library.user
    assert user.call("wait", library.completed).code == 0
    assert user.call("wait", library.completed, library.failed).code == 1
    assert user.call("wait", library.cancelled).code == 1
    runs = user.call("wait", "--json", library.failed, library.completed, library.failed).json()["runs"]
    assert [(run["run_id"], run["exit_code"]) for run in runs] == [(library.failed, 3), (library.completed, 0)]


def test_waiting_gives_up_after_the_time_and_the_run_goes_on(library: Library) -> None:
    done = library.user.call("wait", "--quiet", "--timeout", "1s", library.queued)
    is_refused(done, 6, f"still not ended: {library.queued}", "hint: they go on")


def test_what_has_ended_is_not_cancelled_and_nothing_else_is_touched(own_library: Library) -> None:
    user = own_library.user
    for words in (
        (own_library.completed,),
        (own_library.queued, own_library.completed),
        (own_library.queued, "nosuch"),
    ):
        assert user.call("cancel", *words).code in (3, 4)
    assert json.loads(user.manifest_path(own_library.queued).read_bytes())["status"]["state"] == "queued"
    assert not (user.runs / own_library.queued / "cancel.json").exists()
    is_refused(user.call("cancel", own_library.completed), 4, "has ended: it is `completed`")


def test_a_waiting_run_is_cancelled_at_once_and_for_good(own_library: Library) -> None:
    user, run_id = own_library.user, own_library.queued
    done = user.call("cancel", "--wait", "--reason", "a typing error", run_id)
    assert (done.code, done.out) == (0, f"{run_id}  cancelled\n")
    assert user.call("info", "--json", run_id).json()["end_reason"] == "cancelled"
    assert user.call("validate", run_id).code == 0
    is_refused(user.call("cancel", run_id), 4, "has ended: it is `cancelled`")


def test_a_sound_record_passes_every_check(library: Library) -> None:
    for run_id in (library.completed, library.failed, library.cancelled, library.queued):
        done = library.user.call("validate", run_id)
        assert done.code == 0, done.out
        assert re.fullmatch(rf"{run_id}: \d+ checks, all passed\n", done.out)
    verbose = library.user.call("validate", "-v", library.completed).out
    for name in ("plan_sha256", "snapshot", "seal", "record:attempts/1/output.log", "artifact:model.txt"):
        assert re.search(rf"^ok +{name}$", verbose, re.MULTILINE), name
    report = library.user.call("validate", "--json", library.completed).json()
    assert report["ok"] is True
    assert all(check["ok"] for check in report["checks"])


def test_a_copied_run_folder_is_checked_by_its_path(library: Library, tmp_path: Path) -> None:
    shutil.copytree(library.user.runs / library.completed, tmp_path / "copy", symlinks=True)
    assert library.user.call("validate", str(tmp_path / "copy")).code == 0
    assert library.user.call("info", str(tmp_path / "copy")).code == 0
