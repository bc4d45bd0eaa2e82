"""Texts that people read, word for word. UPDATE_GOLDEN=1 writes the files anew; read the difference then."""

import os
import re
from pathlib import Path

import pytest

from cli.calls import User
from fetchml.config.settings import Settings
from fetchml.home import Home
from fetchml.testing.builders import make_manifest, make_plan

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("UPDATE_GOLDEN") == "1"


def is_golden(name: str, text: str) -> None:
    """Fails unless a text is the one in the file of that name."""
    path = GOLDEN / f"{name}.txt"
    if WRITE:
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"there is no `{path.name}`; write it with UPDATE_GOLDEN=1"
    assert text == path.read_text(encoding="utf-8")


def neutral(user: User, text: str) -> str:
    """Returns a text without what differs between two machines."""
    return re.sub(r"/\S*/sh\b", "<python>", text.replace(str(user.path), "<desk>"))


@pytest.mark.parametrize(
    "command",
    [
        *("", "init", "queue", "status", "info", "logs", "cancel", "wait", "validate", "server", "server status"),
        *("keys", "keys init", "keys list", "keys rotate", "doctor"),
        *("dataset", "dataset add", "dataset list", "dataset info", "dataset verify", "dataset rm"),
        *("objects", "objects migrate", "simulate"),
    ],
)
def test_the_help(user: User, command: str) -> None:
    done = user.call(*command.split(), "--help", env={"COLUMNS": "100"})
    assert (done.code, done.err) == (0, "")
    is_golden(f"help {command}".strip().replace(" ", "-"), done.out)


def test_the_help_has_no_line_wider_than_the_terminal(user: User) -> None:
    for command in ("", "queue", "status", "info", "doctor"):
        done = user.call(*command.split(), "--help", env={"COLUMNS": "60"})
        assert max(len(line) for line in done.out.splitlines()) <= 60, command


def test_a_dry_run(user: User) -> None:
    words = ("--cpus", "1", "--memory", "256M", "--env", "A=1", "--name", "n", "--max-runtime", "1h", "--priority", "7")
    env: dict[str, str | None] = {"FETCHML_ENVIRONMENT_PYTHON": "sh", "PATH": "/bin:/usr/bin"}
    done = user.call("queue", "--dry-run", *words, "train.py", "--lr", "0.1", env=env)
    assert done.code == 0, done.err
    # The hash of the plan covers the path of the interpreter.
    text = re.sub(r"(plan_sha256 +)[0-9a-f]{64}", r"\1<hash>", neutral(user, done.out + done.err))
    is_golden("dry-run", text)


def test_the_record_of_a_queued_run(user: User) -> None:
    home = Home(Settings(home=user.home))
    home.create()
    plan = make_plan()
    home.store.create(plan, make_manifest(plan))
    done = user.call("info", "2026-11-20_k3f9q2")
    is_golden("info-queued", neutral(user, done.out))


def test_the_settings(user: User) -> None:
    done = user.call("config", "show")
    is_golden("config-show", re.sub(r" {2,}", "  ", neutral(user, done.out)))


def test_the_project_file(user: User) -> None:
    assert user.call("init").code == 0
    is_golden("fetchml.yaml", (user.project / "fetchml.yaml").read_text(encoding="utf-8"))
