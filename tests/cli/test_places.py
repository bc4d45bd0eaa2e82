"""Places that cannot be used: a home that is a file, a full or read-only disk, a folder that is gone."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.calls import UNPRIVILEGED, User, is_refused
from cli.conftest import Library

Disk = Callable[[str], Path]


@pytest.mark.parametrize("inside", ["", "sub/home"], ids=["the home", "above the home"])
@pytest.mark.parametrize("command", [("queue", "train.py"), ("up",)], ids=" ".join)
def test_a_home_that_is_a_file_is_refused_as_a_home(user: User, command: tuple[str, ...], inside: str) -> None:
    user.home.write_text("a file")
    place = str(user.home / inside)
    is_refused(
        user.call(*command, env={"FETCHML_HOME": place}),
        2,
        place.rstrip("/"),
        "cannot be the home folder",
        "FETCHML_HOME",
    )
    assert user.home.read_text() == "a file"


@pytest.mark.parametrize("command", ["status", "info x", "logs x", "cancel x", "wait x", "validate x", "down"])
def test_reading_commands_know_a_home_that_is_a_file(user: User, command: str) -> None:
    user.home.write_text("a file")
    is_refused(user.call(*command.split()), 2, "cannot be the home folder", "hint: choose another folder")


def test_the_doctor_finds_a_home_that_is_a_file(user: User) -> None:
    user.home.write_text("a file")
    done = user.call("doctor", "--json", env={"FETCHML_PREFECT_API_URL": None})
    assert done.code == 6
    findings = {item["subject"]: item["level"] for item in done.json()["findings"]}
    assert findings["home"] == "error"
    assert "process" in findings


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/x", "/proc/nosuch"])
def test_a_home_no_folder_can_be_made_in_is_refused(user: User, place: str) -> None:
    is_refused(user.call("queue", "train.py", env={"FETCHML_HOME": place}), 2, place, "cannot be the home folder")


def test_a_home_with_too_long_a_name_is_refused(user: User) -> None:
    place = str(user.path / ("x" * 300))
    is_refused(user.call("queue", "train.py", env={"FETCHML_HOME": place}), 2, "File name too long", "hint: ")
    assert os.listdir(user.path) == ["project"]


@pytest.mark.parametrize("value", ["~nosuchuser", "~nosuchuser/x"])
def test_a_home_of_nobody_is_refused(user: User, value: str) -> None:
    for words in (("status",), ("queue", "train.py")):
        done = user.call(*words, env={"FETCHML_HOME": value})
        is_refused(done, 2, "home folder of this user is unknown", "FETCHML_HOME")


def test_an_empty_variable_is_no_home(user: User) -> None:
    is_refused(user.call("status", env={"FETCHML_HOME": ""}), 2, "FETCHML_HOME", "is not a path")


def test_without_any_home_the_one_of_the_password_file_is_used(user: User) -> None:
    done = user.call("config", "show", "--json", env={"HOME": None, "FETCHML_HOME": None})
    home = Path(done.json()["settings"]["home"]["value"])
    assert done.code == 0
    assert home.is_absolute()
    assert home.name == ".fetchml"


@pytest.mark.parametrize("value", ["", "relative"])
def test_a_home_variable_that_is_no_absolute_path_is_not_believed(user: User, value: str) -> None:
    done = user.call("config", "show", "--json", env={"HOME": value, "FETCHML_HOME": None})
    place = Path(done.json()["settings"]["home"]["value"]) if done.code == 0 else None
    assert done.code == 2 or place not in (Path("/.fetchml"), user.project / "relative" / ".fetchml")


@pytest.mark.root
def test_a_home_one_may_not_read_is_told_with_what_to_check(own_library: Library) -> None:
    user = own_library.user
    user.runs.chmod(0)
    done = user.call("status", before=UNPRIVILEGED)
    is_refused(done, 8, str(user.runs), "Permission denied", "hint: check its owner and mode")
    user.runs.chmod(0o755)


@pytest.mark.root
def test_a_home_one_may_not_write_accepts_nothing(user: User) -> None:
    user.home.mkdir(mode=0o500)
    done = user.call("queue", "train.py", before=UNPRIVILEGED)
    is_refused(done, 8, str(user.home), "Permission denied", "hint: ")
    assert os.listdir(user.home) == []
    assert user.call("status", before=UNPRIVILEGED).code == 0
    is_refused(user.call("up", before=UNPRIVILEGED), 8)


def gone(user: User, *words: str) -> subprocess.CompletedProcess[str]:
    """Calls a command in a folder that was deleted under it."""
    folder = user.project / "gone"
    folder.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec fetchml "$@"'
    return subprocess.run(
        ["sh", "-c", script, "sh", str(folder), *words],
        env=user.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "queue train.py",
        "info x",
        "info ./x",
        "logs x",
        "validate x",
        "config show",
        "init",
    ],
)
def test_a_current_folder_that_is_gone_is_told(user: User, command: str) -> None:
    done = gone(user, *command.split())
    assert done.returncode == 2, done.stderr
    assert done.stderr == ("error: the current folder does not exist any more\nhint: change into another folder\n")
    assert not user.home.exists()


@pytest.mark.parametrize("command", ["--help", "--version", "down", "queue --help"])
def test_what_needs_no_folder_works_without_one(user: User, command: str) -> None:
    done = gone(user, *command.split())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.root
def test_a_disk_without_room_accepts_nothing(user: User, disk: Disk) -> None:
    user.home = disk("1m") / "home"
    done = user.call("queue", "train.py", env={"FETCHML_HOME": str(user.home)})
    is_refused(done, 6, "the disk or its quota is full", "hint: free space")
    user.nothing_is_left()
    assert [path for path in user.home.rglob("*") if path.is_file()] == []


@pytest.mark.root
@pytest.mark.parametrize("size", ["70m", "81m"])
def test_room_is_kept_for_the_runs_that_are_running(user: User, disk: Disk, size: str) -> None:
    user.home = disk(size) / "home"
    with (user.home.parent / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 2 << 20)
    done = user.call("queue", "--json", "train.py", env={"FETCHML_HOME": str(user.home)})
    assert done.code == 6
    error = done.json_error()
    assert error["code"] == "storage-full"
    assert "64M are kept for runs that are running" in error["detail"]
    assert "FETCHML_HOME" in error["hint"]
    user.nothing_is_left()


def filled(user: User, place: Path) -> str:
    """Queues a run on a disk and fills the disk; returns the run's id."""
    user.home = place / "home"
    user.env["FETCHML_HOME"] = str(user.home)
    run_id = user.queue("train.py")
    ballast = os.open(place / "ballast", os.O_WRONLY | os.O_CREAT)
    while (free := os.statvfs(place).f_bavail * os.statvfs(place).f_bsize) > 0:
        os.write(ballast, b"x" * min(free, 1 << 20))
    os.close(ballast)
    return run_id


@pytest.mark.root
def test_on_a_full_disk_everything_can_still_be_read(user: User, disk: Disk) -> None:
    run_id = filled(user, disk("100m"))
    assert run_id in user.call("status").out
    assert user.call("info", run_id).code == 0
    assert user.call("validate", run_id).code == 0
    is_refused(user.call("queue", "train.py"), 6, "hint: free space")
    assert os.listdir(user.runs) == [run_id]


@pytest.mark.root
def test_on_a_full_disk_a_run_can_be_cancelled(user: User, disk: Disk) -> None:
    run_id = filled(user, disk("100m"))
    done = user.call("cancel", run_id)
    assert done.code == 0, done.err


@pytest.mark.root
def test_a_cancel_that_finds_no_room_leaves_the_run_as_it_was(user: User, disk: Disk) -> None:
    run_id = filled(user, disk("100m"))
    before = sorted(user.runs.rglob("*"))
    if user.call("cancel", run_id).code != 0:
        assert sorted(user.runs.rglob("*")) == before
    assert user.call("validate", run_id).code == 0


@pytest.mark.root
def test_a_read_only_store_can_be_read_and_says_why_it_cannot_be_written(user: User, disk: Disk) -> None:
    place = disk("100m")
    user.home = place / "home"
    user.env["FETCHML_HOME"] = str(user.home)
    run_id = user.queue("train.py")
    (user.home / "store" / "index.sqlite").unlink(missing_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    for words in (("status",), ("info", run_id), ("validate", run_id), ("down",)):
        done = user.call(*words)
        assert (done.code, done.err) == (0, ""), words
    for words in (("queue", "train.py"), ("cancel", run_id), ("up",)):
        is_refused(user.call(*words), 8, "Read-only file system", "hint: choose a writable folder with FETCHML_HOME")
    findings = user.call("doctor", "--json").json()["findings"]
    assert findings[0]["level"] == "error"
    assert "cannot be written" in findings[0]["text"]


@pytest.mark.root
def test_a_read_only_project_is_queued_from_and_not_written_to(user: User, disk: Disk) -> None:
    place = disk("1m")
    (place / "train.py").write_text("print(1)\n")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    is_refused(user.call("init", cwd=place), 8, str(place / "fetchml.yaml"), "Read-only file system")
    done = user.call("queue", "--quiet", "train.py", cwd=place)
    assert done.code == 0, done.err
