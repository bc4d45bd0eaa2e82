"""With `--json`, stdout is one document and nothing else, and an error is one document on stderr."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.calls import User, words_id
from cli.conftest import Library

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "exit-codes.md"


def with_json(words: tuple[str, ...]) -> tuple[str, ...]:
    """Puts the option where it is fetchml's."""
    return (words[0], "--json", *words[1:]) if words[0] == "queue" else (*words, "--json")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("queue", "train.py"), 0),
        (("queue", "--dry-run", "train.py"), 0),
        (("status",), 0),
        (("status", "good"), 0),
        (("info", "good"), 0),
        (("info", "--show-metrics", "good"), 0),
        (("cancel", "waiting"), 0),
        (("wait", "good"), 0),
        (("wait", "good", "@~2"), 1),
        (("validate", "good"), 0),
        (("validate", "--all"), 0),
        (("keys", "init"), 0),
        (("keys", "list"), 0),
        (("down",), 0),
        (("server", "status"), 6),
        (("config", "show"), 0),
        (("doctor", "--no-repair"), 6),
        (("init",), 0),
    ],
    ids=words_id,
)
def test_stdout_is_one_versioned_object(own_library: Library, words: tuple[str, ...], code: int) -> None:
    env: dict[str, str | None] = {"FETCHML_PRIORITI": "a misspelt variable, to provoke a note"}
    done = own_library.user.call(*with_json(words), env=env)
    assert done.code == code, done.err
    document: dict[str, Any] = done.json()
    assert type(document) is dict
    assert "schema_version" in document
    assert "did you mean `FETCHML_PRIORITY`?" in done.err or words[0] in ("init", "down", "server")
    again = own_library.user.call(*with_json(words), "--quiet") if words[0] in ("status", "info", "validate") else None
    assert again is None or (again.err, set(again.json())) == ("", set(document))


ERRORS = [
    (("queue", "nosuch.py"), "no-such-script", 2),
    (("queue", "--gpus", "x", "train.py"), "bad-input", 2),
    (("queue", "--priority", "1", "--priority", "2", "train.py"), "bad-input", 2),
    (("queue", "--cpus", "4096", "train.py"), "preflight-refused", 5),
    (("queue", "--engine", "podman", "train.py"), "engine-unavailable", 6),
    (("queue",), "usage", 2),
    (("status", "nosuch"), "no-such-run", 3),
    (("info", "nosuch"), "no-such-run", 3),
    (("info", "./nosuch"), "no-manifest", 3),
    (("cancel", "good"), "already-ended", 4),
    (("cancel", "2026"), "ambiguous-run", 4),
    (("wait", "--timeout", "1s", "waiting"), "timeout", 6),
    (("wait", "--timeout", "x", "waiting"), "bad-input", 2),
    (("validate", "nosuch"), "no-such-run", 3),
    (("validate", "0" * 64), "no-such-run", 3),
    (("validate",), "usage", 2),
    (("keys", "rotate"), "no-key", 3),
    (("queue", "--sign", "train.py"), "no-key", 3),
    (("up",), "prefect-unavailable", 6),
    (("server", "nosuch"), "usage", 2),
]


@pytest.mark.parametrize(("words", "name", "code"), ERRORS, ids=words_id)
def test_an_error_is_one_object_on_stderr(library: Library, words: tuple[str, ...], name: str, code: int) -> None:
    env: dict[str, str | None] = {"FETCHML_PODMAN_SOCKET": "/nowhere.sock"}
    done = library.user.call(*with_json(words), "--quiet", env=env) if words[0] == "wait" else None
    done = done or library.user.call(*with_json(words), env=env)
    error = done.json_error()
    assert (error["code"], done.code) == (name, code)
    assert f"| `{name}` | {code} |" in REFERENCE.read_text(encoding="utf-8")


def test_broken_settings_are_an_object_too(user: User) -> None:
    user.settings("zzz: 1\n")
    assert user.call("status", "--json").json_error()["code"] == "bad-config"
    user.settings("a: [")
    assert user.call("status", "--json").json_error()["code"] == "bad-yaml"


@pytest.mark.parametrize("command", ["wait", "status"])
def test_notes_beside_a_json_error_do_not_spoil_it(library: Library, command: str) -> None:
    words = {"wait": ("wait", "--timeout", "1s", "--json", "waiting"), "status": ("status", "--json", "nosuch")}[
        command
    ]
    done = library.user.call(*words, env={"FETCHML_PRIORITI": "1"})
    json.loads(done.err)


def test_every_reading_command_has_json(library: Library) -> None:
    assert library.user.call("logs", "--json", "good").code == 0


def test_numbers_that_are_not_finite_leave_the_json_valid(own_library: Library) -> None:
    user, run_id = own_library.user, own_library.completed
    metrics = user.runs / run_id / "attempts" / "1" / "metrics.jsonl"
    metrics.chmod(0o644)
    with metrics.open("a") as file:
        for value in ("NaN", "Infinity", "-Infinity"):
            file.write(json.dumps({"name": "loss", "value": value, "step": 3, "time": 1}) + "\n")
    done = user.call("info", "--show-metrics", "--json", run_id)
    assert done.code == 0, done.err

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads(done.out, parse_constant=refuse)
