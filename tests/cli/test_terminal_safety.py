"""Whatever a name, a note or a path holds, nothing of it moves the cursor, hides or reorders what a terminal shows."""

import json
from typing import Any

import pytest

from cli.calls import User, changed, is_safe_text
from cli.conftest import Library

HOSTILE = "a\x1b[2J\x1b]52;c;eA==\x07\x9b31m\u202eb\r\x08[link=x][/b]"


@pytest.mark.parametrize("command", ["info", "status", "queue --dry-run"])
def test_hostile_words_of_a_command_are_escaped(user: User, command: str) -> None:
    words = ("--note", HOSTILE, "--env", f"A={HOSTILE}", "train.py", HOSTILE)
    if command == "queue --dry-run":
        done = user.call("queue", "--dry-run", *words)
    else:
        done = user.call(command, user.queue(*words))
    assert done.code == 0, done.err
    is_safe_text(done.out)
    is_safe_text(done.err)
    assert "\\x1b[2J" in done.out
    assert "[link=x][/b]" in done.out


def test_a_script_with_a_hostile_name_is_escaped_everywhere(user: User) -> None:
    name = "a\x1b[2J\u202e.py"
    user.script(name)
    for words in (
        ("queue", name),
        ("queue", "--dry-run", name),
        ("status",),
        ("info", "@"),
        ("wait", "--timeout", "1s", "@"),
    ):
        done = user.call(*words)
        is_safe_text(done.out)
        is_safe_text(done.err)


def poison(manifest: dict[str, Any]) -> None:
    """Writes hostile text wherever a manifest takes text that others wrote."""
    manifest["identity"].update(name=HOSTILE, user=HOSTILE, group=HOSTILE, tags=[HOSTILE])
    manifest["command"]["argv"] = ["python", HOSTILE]
    manifest["metadata"]["note"] = HOSTILE
    manifest["diagnosis"].update(
        summary=HOSTILE, detail=f"{HOSTILE}\n{HOSTILE}", resolution=HOSTILE, category="code_error"
    )
    manifest["warnings"] = [HOSTILE]
    manifest["environment"].update(image=HOSTILE)
    manifest["metrics"] = {HOSTILE: next(iter(manifest["metrics"].values()))}
    manifest["artifacts"]["files"][0]["path"] = HOSTILE


def test_a_hostile_record_is_shown_escaped(own_library: Library) -> None:
    user, run_id = own_library.user, own_library.completed
    changed(user.manifest_path(run_id), poison)
    (user.home / "store" / "index.sqlite").unlink()
    for words in (("info", run_id), ("status",), ("validate", run_id), ("wait", run_id), ("cancel", run_id)):
        done = user.call(*words)
        assert done.code != 70, done.err
        is_safe_text(done.out)
        is_safe_text(done.err)
    assert "\\x1b[2J" in user.call("info", run_id).out


def host(manifest: dict[str, Any]) -> None:
    manifest["placement"]["host"] = HOSTILE
    manifest["environment"]["python"] = HOSTILE
    manifest["sandbox"]["engine_version"] = HOSTILE


def test_what_a_worker_reported_is_shown_escaped(own_library: Library) -> None:
    user, run_id = own_library.user, own_library.completed
    changed(user.manifest_path(run_id), host)
    done = user.call("info", run_id)
    assert done.code == 0, done.err
    is_safe_text(done.out)


def test_json_on_a_terminal_is_escaped_too(user: User) -> None:
    done = user.call("info", "--json", user.queue("--note", HOSTILE, "train.py"))
    assert done.json()["metadata"]["note"] == HOSTILE
    is_safe_text(done.out)


def test_json_keeps_every_character(user: User) -> None:
    note = f"größe 日本 \U0001f600 {HOSTILE}"
    run_id = user.queue("--note", note, "train.py", note)
    value = json.loads(user.call("info", "--json", run_id).out)
    assert value["metadata"]["note"] == note
    assert value["command"]["argv"][-1] == note
    assert user.call("status", "--json").json()["runs"][0]["command"][-1] == note


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "info @",
        "server status",
        "queue nosuch.py",
        "config show",
        "doctor",
    ],
)
def test_a_hostile_folder_name_is_escaped(user: User, command: str) -> None:
    folder = user.path / "d\x1b[2J\u202e"
    project = folder / "project"
    project.mkdir(parents=True)
    (project / "train.py").write_text("print(1)\n")
    env: dict[str, str | None] = {"FETCHML_HOME": str(folder / "home")}
    if command == "info @":
        assert user.call("queue", "train.py", cwd=project, env=env).code == 0
    done = user.call(*command.split(), cwd=project, env=env)
    assert done.code != 70
    is_safe_text(done.out)
    is_safe_text(done.err)


def test_a_home_that_is_no_text_leaves_the_json_readable(user: User) -> None:
    home = str(user.path) + "/h\udcff"
    assert user.call("queue", "train.py", env={"FETCHML_HOME": home}).code == 0
    done = user.call("info", "--json", "@", env={"FETCHML_HOME": home})
    assert "\\xff" not in done.out.replace("\\\\", "")
