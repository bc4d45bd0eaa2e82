"""What `fetchml queue` accepts: which words are whose, what a dry run shows, what the record says."""

import json
import os
import socketserver
import threading
from pathlib import Path
from typing import Any

import pytest

from cli.calls import User, words_id


def planned(user: User, *words: str, env: dict[str, str | None] | None = None, cwd: Path | None = None) -> Any:
    """Returns the plan of a dry run."""
    done = user.call("queue", "--dry-run", "--json", *words, env=env, cwd=cwd)
    assert done.code == 0, done.err
    return done.json()["plan"]


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        (("train.py",), ["python", "train.py"]),
        (("train.py", "--gpus", "3"), ["python", "train.py", "--gpus", "3"]),
        (("train.py", "--help"), ["python", "train.py", "--help"]),
        (("train.py", "--json", "--quiet", "--dry-run"), ["python", "train.py", "--json", "--quiet", "--dry-run"]),
        (("train.py", "--", "--foo"), ["python", "train.py", "--", "--foo"]),
        (("train.py", "--nosuch=1", "-x"), ["python", "train.py", "--nosuch=1", "-x"]),
        (("train.py", "", " ", "a\nb", "\x1b[31m"), ["python", "train.py", "", " ", "a\nb", "\x1b[31m"]),
        (("train.py", "; rm -rf ~", "$(id)", "`id`", "*"), ["python", "train.py", "; rm -rf ~", "$(id)", "`id`", "*"]),
        (("train.py", "日本語", "ñ"), ["python", "train.py", "日本語", "ñ"]),
        (("--", "echo", "hi"), ["echo", "hi"]),
        (("--", "echo", "--gpus", "3", "--"), ["echo", "--gpus", "3", "--"]),
        (("--", "-rf", "--privileged"), ["-rf", "--privileged"]),
        (("--", "nosuchscript.py"), ["nosuchscript.py"]),
        (("./train.py",), ["python", "train.py"]),
        (("folder/../train.py",), ["python", "train.py"]),
        (("folder/inner.py", "x"), ["python", "folder/inner.py", "x"]),
        (("a b.py",), ["python", "a b.py"]),
        (("run.sh",), ["bash", "run.sh"]),
        (("tool",), ["./tool"]),
        (("./-c.py",), ["python", "./-c.py"]),
        (("./--help.py",), ["python", "./--help.py"]),
    ],
    ids=words_id,
)
def test_every_word_reaches_whom_it_is_meant_for(user: User, words: tuple[str, ...], argv: list[str]) -> None:
    (user.project / "folder").mkdir()
    for name in ("folder/inner.py", "a b.py", "run.sh", "tool", "-c.py", "--help.py"):
        user.script(name)
    (user.project / "tool").chmod(0o755)
    assert planned(user, *words)["command"]["argv"] == argv


def test_flags_before_the_script_are_ours(user: User) -> None:
    words = ("--cpus", "1", "--memory", "512M", "--max-runtime", "1h30m", "--env", "A=b=c", "--env", "E=")
    plan = planned(user, *words, "train.py")
    assert plan["resources"]["cpus"] == 1
    assert plan["resources"]["memory_bytes"] == 512 << 20
    assert plan["resources"]["max_runtime_s"] == 5400
    assert plan["env"] == {"A": "b=c", "E": ""}


def test_a_script_is_run_from_where_it_was_queued(user: User) -> None:
    folder = user.project / "sub"
    folder.mkdir()
    user.settings("priority: 5\n")
    user.script("sub/inner.py")
    plan = planned(user, "inner.py", cwd=folder)
    assert plan["command"]["workdir"] == "sub"
    assert plan["command"]["argv"] == ["python", "inner.py"]
    assert plan["command"]["script"] == "sub/inner.py"
    assert planned(user, "../train.py", cwd=folder)["command"]["argv"] == ["python", "../train.py"]


@pytest.mark.parametrize("json_too", [False, True], ids=["text", "json"])
def test_a_dry_run_changes_nothing_and_starts_nothing(user: User, json_too: bool) -> None:
    options = ("--json",) if json_too else ()
    done = user.call("queue", "--dry-run", *options, "train.py", env={"FETCHML_PREFECT_API_URL": None})
    assert done.code == 0
    assert "nothing was queued (--dry-run)" in done.err or json_too
    assert not user.home.exists()
    assert sorted(os.listdir(user.project)) == ["train.py"]


def test_a_dry_run_tells_the_hash_the_run_will_have(user: User) -> None:
    dry = user.call("queue", "--dry-run", "--json", "train.py", "--lr", "1").json()
    real = user.call("queue", "--json", "train.py", "--lr", "1").json()
    assert dry["plan_sha256"] == real["plan_sha256"]
    assert (dry["dry_run"], dry["run_id"], dry["folder"]) == (True, None, None)
    assert real["dry_run"] is False
    assert (
        json.loads((Path(real["folder"]) / "run_manifest.json").read_bytes())["plan"]["plan_sha256"]
        == (real["plan_sha256"])
    )


def test_quiet_prints_the_id_and_nothing_else(user: User) -> None:
    done = user.call("queue", "--quiet", "train.py")
    assert done.code == 0
    assert done.err == ""
    assert done.out == f"{os.listdir(user.runs)[0]}\n"


def test_an_accepted_run_is_told_in_one_line_and_what_is_missing_beside_it(user: User) -> None:
    done = user.call("queue", "--name", "first", "--priority", "7", "train.py")
    (run_id,) = os.listdir(user.runs)
    assert done.code == 0
    assert done.out.startswith(f"queued {run_id}  first  priority 7  plan ")
    assert done.out.count("\n") == 1
    assert "no dependency manifest found" in done.err
    assert "no worker of this home runs on this host; `fetchml up` starts one" in done.err


def test_the_record_holds_what_was_typed(user: User) -> None:
    note = "why\nI \x1b[31mdo\x1b[0m this"
    words = ("--name", "n", "--tag", "a", "--tag", "b", "--group", "g", "--note", note, "--priority", "9")
    manifest = json.loads(user.manifest_path(user.queue(*words, "train.py", "--lr", "1")).read_bytes())
    assert manifest["identity"]["name"] == "n"
    assert manifest["identity"]["tags"] == ["a", "b"]
    assert manifest["identity"]["group"] == "g"
    assert manifest["identity"]["priority"] == 9
    assert manifest["metadata"]["note"] == note
    assert manifest["command"]["argv"] == ["python", "train.py", "--lr", "1"]
    assert manifest["status"]["state"] == "queued"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("train.py",), "train"),
        (("--", "echo", "hi"), "echo"),
        (("--", "/usr/bin/env"), "env"),
        (("esc\x1b[31m@.py",), "esc[31m"),
        (("x" * 90 + ".py",), "x" * 64),
        (("...py",), ".."),
    ],
    ids=repr,
)
def test_a_run_without_a_name_gets_one_that_is_safe(user: User, words: tuple[str, ...], name: str) -> None:
    if words[0] != "--":
        user.script(words[0])
    assert user.call("queue", "--dry-run", "--json", *words).json()["name"] == name


def test_an_engine_is_chosen_by_what_answers_and_the_reason_is_told(user: User) -> None:
    silent: dict[str, str | None] = {
        "FETCHML_ENGINE": "auto",
        "DOCKER_HOST": "unix:///nowhere.sock",
        "FETCHML_PODMAN_SOCKET": "/nowhere.sock",
    }
    found = user.call("queue", "--dry-run", "--json", "train.py", env=silent).json()
    assert found["engine"] == "process"
    assert "docker: there is no socket" in found["engine_reason"]
    assert "podman: there is no socket" in found["engine_reason"]


def test_direct_mode_reports_the_end_of_the_run(user: User) -> None:
    user.script("fails.py", "raise SystemExit(4)\n")
    direct: dict[str, str | None] = {"FETCHML_EXECUTION_MODE": "direct"}
    assert user.call("queue", "--wait", "train.py", env=direct).code == 0
    assert user.call("queue", "--wait", "fails.py", env=direct).code == 1
    assert [run["state"] for run in user.call("status", "--json").json()["runs"]] == ["failed", "completed"]


def test_direct_mode_shows_the_output_when_asked_to_follow(user: User) -> None:
    user.script("train.py", "print('hello from the script')\n")
    done = user.call("queue", "--follow", "train.py", env={"FETCHML_EXECUTION_MODE": "direct"})
    assert done.code == 0
    assert "hello from the script" in done.out


def test_waiting_with_json_returns_the_manifest_in_direct_mode_too(user: User) -> None:
    done = user.call("queue", "--wait", "--json", "train.py", env={"FETCHML_EXECUTION_MODE": "direct"})
    assert done.json()["manifest"]["status"]["state"] == "completed"


SHOWS = """\
import json, os, sys
# On many lines, as what is followed is cut where a line is very long.
print(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "path": sys.path}, indent=0))
"""


def shown_by(user: User, *words: str | bytes, env: dict[str, str | None] | None = None) -> dict[str, Any]:
    """Returns what a script says it was given, as a plain process at once."""
    user.script("shows.py", SHOWS)
    direct: dict[str, str | None] = {"FETCHML_EXECUTION_MODE": "direct", **(env or {})}
    done = user.call("queue", "--follow", *words, env=direct)
    assert done.code == 0, done.err
    return json.JSONDecoder().raw_decode(done.out)[0]


def test_a_script_gets_its_words_as_they_were_typed(user: User) -> None:
    words = [
        "; touch owned",
        "$(touch owned)",
        "`touch owned`",
        "&& touch owned",
        "| touch owned",
        "a\nb",
        "*",
        "'",
        '"',
    ]
    words += ["", " ", "${HOME}", "~", "{{ name }}", "%s", "\\", "--help", "--json", "é\u202e"]
    assert shown_by(user, "shows.py", *words)["argv"] == words
    assert not list(user.path.rglob("owned"))


def test_what_the_shell_of_the_user_loads_is_not_loaded_by_a_run(user: User) -> None:
    own = user.path / "own"
    own.mkdir()
    env: dict[str, str | None] = {
        "PYTHONPATH": str(own),
        "PYTHONSTARTUP": str(own / "x.py"),
        "LD_LIBRARY_PATH": str(own),
        "SECRET_OF_THE_SHELL": "canary",
    }
    given = shown_by(user, "shows.py", env=env)
    assert str(own) not in given["path"]
    assert not {"PYTHONSTARTUP", "LD_LIBRARY_PATH", "LD_PRELOAD", "SECRET_OF_THE_SHELL"} & set(given["env"])
    assert "canary" not in "".join(
        path.read_text(errors="replace") for path in (user.home / "store").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("text", ["{{ flow_run.name }}", "{0.__class__}", "%(name)s %s", "$name", "[link=x]y[/b]"])
def test_names_and_notes_are_never_taken_for_templates(user: User, text: str) -> None:
    shown = text.replace("/", "")
    given = shown_by(user, "--name", shown, "--note", text, "--env", f"TEXT={text}", "shows.py")
    assert given["env"]["TEXT"] == text
    record = user.call("info", "--json", "@").json()
    assert (record["identity"]["name"], record["metadata"]["note"]) == (shown, text)
    assert text in user.call("info", "@").out


def test_a_proxy_of_the_user_is_not_asked_for_servers_of_this_host(user: User) -> None:
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    with socketserver.TCPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/api"
        user.call("server", "status", "--json", env={**proxy, "FETCHML_PREFECT_API_URL": url})
        assert _Answers.asked == 1


class _Answers(socketserver.StreamRequestHandler):
    """A server that counts who comes."""

    asked = 0

    def handle(self) -> None:
        _Answers.asked += 1
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: application/json\r\n\r\ntrue")


def test_one_tree_is_stored_once_and_an_edit_adds_a_file_and_a_tree(user: User) -> None:
    for name in ("train.py", "model.py", "data/load.py"):
        (user.project / name).parent.mkdir(exist_ok=True)
        user.script(name, f"print({name!r})\n")

    def stored() -> dict[str, int]:
        root = user.home / "store" / "objects" / "sha256"
        return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}

    first = user.queue("train.py")
    before = stored()
    assert len(before) == 4
    second = user.queue("train.py", "--lr", "2")
    assert stored().keys() == before.keys()
    (user.project / "model.py").write_text("print('edited')\n")
    third = user.queue("train.py")
    assert len(stored().keys() - before.keys()) == 2
    commits = [user.call("info", "--json", run).json()["identity"]["commit_id"] for run in (first, second, third)]
    assert commits[0] == commits[1] != commits[2]
