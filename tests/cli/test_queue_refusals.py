"""What `fetchml queue` refuses: exit code, message, way on; and that nothing of the run is left behind."""

import os
import shutil
import subprocess

import pytest

from cli.calls import UNPRIVILEGED, User, is_refused, words_id
from conftest import BASE_IMAGE


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("nosuch.py", ("there is no script `nosuch.py`", "hint: give the path of a file", "`--`")),
        ("folder/nosuch.py", ("there is no script `folder/nosuch.py`",)),
        ("folder", ("`folder` is a folder, not a script", "hint: name a script in it")),
        (".", ("`.` is a folder",)),
        ("pipe.py", ("`pipe.py` is not a regular file",)),
        ("/dev/stdin", ("`/dev/stdin` is not a regular file",)),
        ("loop.py", ("`loop.py` cannot be read", "symbolic links")),
        ("dangling.py", ("there is no script `dangling.py`",)),
        ("/etc/passwd", ("`/etc/passwd` is outside the project", "hint: ")),
        ("../outside.py", ("`../outside.py` is outside the project",)),
        ("data.bin", ("not clear how to run `data.bin`", "`.py`", "-- bash data.bin")),
        ("x" * 300 + ".py", ("cannot be read", "File name too long")),
    ],
    ids=words_id,
)
def test_what_is_no_script_is_refused(user: User, word: str, parts: tuple[str, ...]) -> None:
    (user.project / "folder").mkdir()
    (user.project / "data.bin").write_bytes(b"\0")
    (user.path / "outside.py").write_text("print(1)\n")
    os.mkfifo(user.project / "pipe.py")
    (user.project / "loop.py").symlink_to("loop.py")
    (user.project / "dangling.py").symlink_to("nowhere.py")
    is_refused(user.call("queue", word), 2, *parts)
    user.nothing_is_left()


def test_an_empty_script_name_is_named_as_what_it_is(user: User) -> None:
    done = user.call("queue", "")
    is_refused(done, 2, "empty")
    assert "is a folder" not in done.err


@pytest.mark.parametrize("words", [("--", ""), ("--", "", "x")], ids=repr)
def test_an_empty_command_is_refused(user: User, words: tuple[str, ...]) -> None:
    is_refused(user.call("queue", *words), 2)
    user.nothing_is_left()


@pytest.mark.root
def test_an_unreadable_script_is_refused(user: User) -> None:
    user.script("secret.py").chmod(0)
    done = user.call("queue", "secret.py", before=UNPRIVILEGED)
    is_refused(done, 2, "the script `secret.py` cannot be read", "Permission denied", "hint: check its mode")
    user.nothing_is_left()


@pytest.mark.root
def test_every_unreadable_file_of_the_project_is_named(user: User) -> None:
    for name in ("one.txt", "two.txt"):
        (user.project / name).touch()
        (user.project / name).chmod(0)
    done = user.call("queue", "train.py", before=UNPRIVILEGED)
    is_refused(done, 5, "one.txt: Permission denied", "two.txt: Permission denied", ".fetchmlignore")
    user.nothing_is_left()


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (("--gpus", "-1"), 2, ("--gpus: `-1`", "from 0 to 64")),
        (("--gpus", "1.5x"), 2, ("--gpus: `1.5x`", "from 0 to 64")),
        (("--gpus", ""), 2, ("--gpus: ``",)),
        (("--gpus", "nan"), 2, ("--gpus: `nan`",)),
        (("--gpus", "inf"), 2, ("--gpus: `inf`",)),
        (("--gpus", "1e1"), 2, ("--gpus: `1e1`",)),
        (("--gpus", "0x1"), 2, ("--gpus: `0x1`",)),
        (("--gpus", "\uff11"), 2, ("--gpus: `\uff11`",)),
        (("--gpus", "65"), 2, ("--gpus: `65` is out of range",)),
        (("--gpus", "1.5"), 2, ("above one GPU the number must be whole",)),
        (("--gpus", "0.5"), 5, ("preflight refused the run", "resources.gpus", "found 0.5")),
        (("--gpu-memory", "1G"), 5, ("at least one GPU", "add `--gpus 1`")),
        (("--cpus", "0"), 2, ("--cpus: `0` is out of range",)),
        (("--cpus", "4096"), 5, ("resources.cpus", "ask for less with `--cpus`")),
        (("--memory", "9999T"), 2, ("--memory: `9999T` is larger than any machine", "`1024T`")),
        (("--memory", "abc"), 2, ("--memory: `abc` is not a size", "`8G`")),
        (("--memory", "-8G"), 2, ("--memory: `-8G` is not a size",)),
        (("--memory", "8 G B"), 2, ("--memory: `8 G B` is not a size",)),
        (("--memory", "1000T"), 5, ("resources.memory", "1000T", "`--memory`")),
        (("--priority", "11"), 2, ("--priority: `11` is out of range", "from 0 to 10")),
        (("--priority", "-1"), 2, ("--priority: `-1`",)),
        (("--priority", "1.5"), 2, ("--priority: `1.5`", "whole number")),
        (("--priority", "high"), 2, ("--priority: `high`",)),
        (("--max-runtime", "0"), 2, ("--max-runtime: `0` is not a duration", "`90s`")),
        (("--max-runtime", "0s"), 2, ("--max-runtime: `0s`", "1 second to 366 days")),
        (("--max-runtime", "5"), 2, ("give a unit",)),
        (("--max-runtime", "-1h"), 2, ("`-1h` is not a duration",)),
        (("--max-runtime", "9999d"), 2, ("`9999d` is outside the accepted range",)),
        (("--env", "NAME"), 2, ("--env: `NAME` has no value", "`--env NAME=value`")),
        (("--env", "=1"), 2, ("--env: `` is not the name",)),
        (("--env", "A B=1"), 2, ("--env: `A B` is not the name",)),
        (("--env", "1A=1"), 2, ("--env: `1A` is not the name",)),
        (("--env", "LD_PRELOAD=x"), 2, ("--env: the variable `LD_PRELOAD` is reserved",)),
        (("--env", "FETCHML_RUN_ID=x"), 2, ("`FETCHML_RUN_ID` is reserved",)),
        (("--env", "CUDA_VISIBLE_DEVICES=0"), 2, ("`CUDA_VISIBLE_DEVICES` is reserved",)),
        (("--env", "A=1", "--env", "A=2"), 2, ("`A` is given twice",)),
        (("--name", ""), 2, ("the name", "1 to 64 printable characters")),
        (("--name", " a"), 2, ("the name", "printable characters")),
        (("--name", "a/b"), 2, ("the name `a/b`", "`/`")),
        (("--name", "@"), 2, ("the name `@`", "may not begin with `@`")),
        (("--name", "-x"), 2, ("the name `-x`",)),
        (("--name", "x" * 65), 2, ("the name", "1 to 64")),
        (("--name", "a\nb"), 2, ("the name", "\\n")),
        (("--name", "a\x1b[2J"), 2, ("the name", "\\x1b[2J")),
        (("--name", "a\u202eb"), 2, ("the name", "\\u202e")),
        (("--tag", ""), 2, ("the tag", "printable characters")),
        (("--tag", "a/b"), 2, ("the tag `a/b`",)),
        (("--tag", "\x9b31m"), 2, ("the tag", "\\x9b")),
        (("--group", "@x"), 2, ("the group `@x`",)),
        (tuple(f"--tag=t{number}" for number in range(65)), 2, ("65 tags: at most 64",)),
        (("--note", "n" * 65_537), 2, ("the note is longer than 64K",)),
        (("--engine", "nonsense"), 2, ("--engine: `nonsense`", "auto, docker, podman, process")),
        (("--engine", ""), 2, ("--engine: ``",)),
        (("--image", "x"), 2, ("`--image` needs a container engine", "`process`")),
        (("--image", "a\x1bb"), 2, ("--image: `a\\x1bb`", "without control codes")),
        (("--priority", "1", "--priority", "9"), 2, ("given twice", "`--priority`", "hint: keep one of them")),
        (("--name=a", "--name", "b"), 2, ("given twice", "`--name`")),
    ],
    ids=words_id,
)
def test_wrong_options_are_refused(user: User, words: tuple[str, ...], code: int, parts: tuple[str, ...]) -> None:
    is_refused(user.call("queue", *words, "train.py"), code, *parts)
    user.nothing_is_left()


@pytest.mark.parametrize("words", [("--memory", "1"), ("--gpus", "1.5")], ids=" ".join)
def test_a_value_the_model_refuses_is_told_in_the_words_of_the_flag(user: User, words: tuple[str, str]) -> None:
    done = user.call("queue", *words, "train.py")
    is_refused(done, 2, words[0])
    assert "Value error" not in done.err
    assert "Input should be" not in done.err


def test_all_wrong_options_are_named_at_once(user: User) -> None:
    done = user.call("queue", "--gpus", "x", "--priority", "99", "--memory", "y", "--env", "Q", "train.py")
    is_refused(done, 2, "4 options are wrong", "--gpus: `x`", "--priority: `99`", "--memory: `y`", "--env: `Q`")


def test_the_same_value_twice_is_no_contradiction(user: User) -> None:
    words = ("--priority", "3", "--priority=3", "--env", "A=1", "--env", "A=1")
    done = user.call("queue", "--dry-run", "--json", *words, "train.py")
    assert done.code == 0, done.err
    assert done.json()["priority"] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--name", b"\xff"),
        ("--tag", b"\xff"),
        ("--group", b"\xff"),
        ("--env", b"A=\xff"),
        ("--env", b"\xff=A"),
        ("--image", b"\xff"),
        ("--engine", b"\xff"),
        ("--memory", b"\xff"),
        ("--note", b"\xff"),
    ],
    ids=repr,
)
def test_values_that_are_no_text_are_refused(user: User, words: tuple[str, bytes]) -> None:
    is_refused(user.call("queue", *words, "train.py"), 2)
    user.nothing_is_left()


@pytest.mark.parametrize("words", [(b"\xff.py",), ("train.py", b"\xff"), ("--", "echo", b"\xff")], ids=repr)
def test_a_command_that_is_no_text_is_refused(user: User, words: tuple[str | bytes, ...]) -> None:
    is_refused(user.call("queue", *words), 2, "not valid UTF-8", "\\udcff", "hint: ")
    user.nothing_is_left()


@pytest.mark.parametrize(
    ("words", "part"),
    [(["x"] * 20_000, "1024"), (["x" * 100_000, "y" * 100_000], "131072")],
    ids=["too many", "too long"],
)
def test_a_huge_argument_list_is_refused_with_the_limit(user: User, words: list[str], part: str) -> None:
    is_refused(user.call("queue", "train.py", *words), 2, "the command is not accepted", part)
    user.nothing_is_left()


@pytest.mark.parametrize(
    ("target", "part"),
    [
        (None, "out: is a FIFO"),
        ("/etc/passwd", "out: links to the absolute path"),
        ("../../x", "out: links out of the project"),
    ],
)
def test_a_tree_that_cannot_be_captured_is_refused(user: User, target: str | None, part: str) -> None:
    path = user.project / "out"
    if target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    is_refused(user.call("queue", "train.py"), 5, "cannot be captured", ".fetchmlignore", part)
    user.nothing_is_left()


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["queue", "dry run"])
def test_a_tree_that_is_too_large_names_the_largest_files(user: User, words: tuple[str, ...]) -> None:
    user.settings("snapshot: {max_size: 1M}\n")
    for name, size in (("data.bin", 3 << 20), ("model.pt", 2 << 20), ("small.txt", 10)):
        with (user.project / name).open("wb") as file:
            file.truncate(size)
    done = user.call("queue", *words, "train.py")
    is_refused(done, 5, "is too large: 5", "allowed: 1M", "- data.bin  3M", "- model.pt  2M", "`snapshot.max_size`")
    assert done.err.index("data.bin") < done.err.index("model.pt")
    user.nothing_is_left()


def test_a_tree_of_too_many_files_names_the_fullest_folder(user: User) -> None:
    user.settings("snapshot: {max_files: 10}\n")
    (user.project / "many").mkdir()
    for number in range(20):
        (user.project / "many" / str(number)).touch()
    done = user.call("queue", "--json", "train.py")
    error = done.json_error()
    assert (done.code, error["code"]) == (5, "snapshot-too-large")
    assert "- many  0B in 20 files" in error["detail"]
    assert "`snapshot.max_files`" in error["hint"]
    user.nothing_is_left()


@pytest.mark.parametrize("host", ["unix:///nowhere.sock", "tcp://127.0.0.1:1", "nonsense", "unix:///x\x1b[31m"])
def test_an_engine_that_does_not_answer_is_named(user: User, host: str) -> None:
    done = user.call("queue", "--engine", "docker", "train.py", env={"DOCKER_HOST": host})
    is_refused(done, 6, "the engine `docker` does not answer", "hint: start it", "`--engine auto`")
    user.nothing_is_left()


def test_a_podman_socket_that_is_not_there_is_named(user: User) -> None:
    done = user.call("queue", "--engine", "podman", "train.py", env={"FETCHML_PODMAN_SOCKET": "/nowhere.sock"})
    is_refused(done, 6, "the engine `podman` does not answer", "/nowhere.sock")
    user.nothing_is_left()


@pytest.mark.docker
def test_an_image_that_is_missing_is_named_with_three_ways_on(user: User) -> None:
    done = user.call("queue", "--engine", "docker", "--image", "nosuch:1", "train.py")
    is_refused(done, 3, "`nosuch:1` is not on this host", "docker pull nosuch:1", "`--engine process`")
    user.nothing_is_left()


@pytest.mark.docker
@pytest.mark.parametrize("image", ["UPPER", "--privileged", "a b", "../../x", "x:tag;rm", ":", "x" * 400])
def test_what_is_no_image_name_is_refused_as_wrong_input(user: User, image: str) -> None:
    done = user.call("queue", "--engine", "docker", f"--image={image}", "train.py")
    is_refused(done, 2, "image")
    user.nothing_is_left()


@pytest.mark.docker
def test_a_run_for_docker_is_accepted_with_the_digest_of_its_image(user: User) -> None:
    done = user.call("queue", "--dry-run", "--json", "--engine", "docker", "--image", BASE_IMAGE, "train.py")
    assert done.code == 0, done.err
    assert done.json()["plan"]["image"]["digest"].startswith("sha256:")


@pytest.mark.skipif(shutil.which("git") is None, reason="NOT TESTED: no git")
def test_a_script_that_is_ignored_is_refused_with_the_way_out(user: User) -> None:
    subprocess.run(["git", "init", "-q", str(user.project)], check=True)
    (user.project / ".gitignore").write_text("train.py\n")
    is_refused(user.call("queue", "train.py"), 5, "`train.py` in the snapshot", ".gitignore")
    user.nothing_is_left()


def test_what_looks_like_a_secret_is_refused_until_it_is_allowed_and_then_recorded(user: User) -> None:
    user.script()
    (user.project / ".env").write_text("TOKEN=1\n")
    (user.project / "id_rsa").write_text("x\n")
    is_refused(
        user.call("queue", "train.py"), 5, "- .env: has the name of a secret", "- id_rsa: ", "--allow-secret PATH"
    )
    for command in (("explain", "train.py"), ("sync",), ("queue", "--dry-run", "train.py")):
        assert user.call(*command).code == 5, command
    (user.project / "fetchml.yaml").write_text("snapshot:\n  allow_secrets: [id_rsa]\n")
    done = user.call("queue", "--quiet", "--allow-secret", ".env", "train.py")
    assert done.code == 0, done.err
    record = user.call("info", "--json", done.out.strip()).json()
    assert record["warnings"] == ["captured by request, though they look like secrets: `.env`, `id_rsa`"]
    settings = {item["key"]: item for item in record["environment"]["settings"]}
    assert settings["snapshot.allow_secrets"]["value"] == "id_rsa, .env"
    assert settings["snapshot.allow_secrets"]["layer"] == "flag"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "", ".", "a\nb"])
@pytest.mark.parametrize("command", [("queue", "train.py"), ("explain", "train.py"), ("sync",), ("watch",)])
def test_a_secret_can_be_allowed_by_a_path_of_the_project_alone(
    user: User, command: tuple[str, ...], path: str
) -> None:
    user.script()
    done = user.call(command[0], "--allow-secret", path, *command[1:])
    is_refused(done, 2, "--allow-secret: ", "is not a path below the project")
