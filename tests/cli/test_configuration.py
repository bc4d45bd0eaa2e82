"""Settings as users write them: what is wrong is named with the file and the nearest word, and origins are shown."""

import os
from typing import Any

import pytest

from cli.calls import User, is_refused, words_id

DEEP = "a: " + "{a: " * 3000 + "1" + "}" * 3000


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: [1", ("line 1, column 6", "not valid YAML")),
        ("\tengine: docker\n", ("line 1",)),
        ("enginee: docker\n", ("unknown key `enginee`; did you mean `engine`?",)),
        ("resources:\n  gpu: 1\n", ("unknown key `resources.gpu`; did you mean `resources.gpus`?",)),
        ("zzz: 1\n", ("unknown key `zzz`",)),
        ("resources: 5\n", ("unknown key `resources`",)),
        ("priority: 5\npriority: 6\n", ("line 2: `priority` is set twice",)),
        ('priority: "5"\n', ("`priority`: `5` is not a number", "without quotes")),
        ("priority: 5.5\n", ("`priority`",)),
        ("priority: yes\n", ("`priority`: `yes` is not a number",)),
        ("priority: .nan\n", ("`priority`",)),
        ("priority: 0x5\n", ("`priority`",)),
        ("engine: 5\n", ("`engine`: `5` is not accepted",)),
        ("image: 5\n", ("`image`: `5` is not text",)),
        ("home: /x\n", ("`home` cannot be set in a file", "FETCHML_HOME")),
        ("stop_grace: 5s\n", ("`stop_grace` is a setting of the machine", "FETCHML_STOP_GRACE")),
        ("env: {A: 1}\n", ("the value of `A` is not text",)),
        ("env: {A B: x}\n", ("`A B` is not the name",)),
        ("env: {LD_PRELOAD: x}\n", ("`LD_PRELOAD` is reserved",)),
        ("a: &x 1\nb: *x\n", ("anchors or aliases", "write the value out")),
        ("a: !!python/object/apply:os.system [ls]\n", ("YAML tag", "remove the tag")),
        ("--- {}\n--- {}\n", ("fetchml.yaml",)),
        ("- 1\n", ("fetchml.yaml",)),
        ("just text\n", ("fetchml.yaml",)),
        ('"\\e[31mred": 1\n', ("unknown key `\\x1b[31mred`",)),
        ('network: "\\e[2J"\n', ("`network`: `\\x1b[2J`",)),
        ('image: "\\ud800"\n', ("`image`",)),
        ("resources: {memory: 1e3}\n", ("`resources.memory`: `1e3` is not a size",)),
        (DEEP, ("deeper than 32 levels",)),
        ("# " + "x" * (1 << 20), ("larger than 1 MB",)),
    ],
    ids=words_id,
)
def test_a_broken_project_file_is_told_with_its_path(user: User, text: str, parts: tuple[str, ...]) -> None:
    path = user.settings(text)
    done = user.call("status")
    is_refused(done, 2, str(path), *parts)
    is_refused(user.call("queue", "train.py"), 2)
    assert not user.home.exists()


def test_all_faults_of_all_layers_are_listed_at_once(user: User) -> None:
    user.settings("engine: 5\nimage: 5\nzzz: 1\n")
    user.home.mkdir()
    (user.home / "config.yaml").write_text("enginee: docker\n")
    done = user.call("status", env={"FETCHML_PRIORITY": "99"})
    is_refused(done, 2, "5 settings are wrong", "FETCHML_PRIORITY: `99`", "config.yaml: unknown key `enginee`", "`zzz`")


@pytest.mark.parametrize(
    ("value", "parts"),
    [("nonsense", ("auto, docker, podman, process",)), ("", ("``",)), ("\x1b[31m", ("\\x1b[31m",))],
)
def test_a_wrong_variable_is_named(user: User, value: str, parts: tuple[str, ...]) -> None:
    is_refused(user.call("status", env={"FETCHML_ENGINE": value}), 2, "FETCHML_ENGINE", *parts)


def test_a_misspelt_variable_is_warned_about_and_changes_nothing(user: User) -> None:
    done = user.call("status", env={"FETCHML_PRIORITI": "3"})
    assert done.code == 0
    assert done.err == "warning: `FETCHML_PRIORITI` is no setting; did you mean `FETCHML_PRIORITY`?\n"


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "not UTF-8", "huge"])
def test_what_is_no_settings_file_is_refused_without_reading_it_whole(user: User, kind: str) -> None:
    path = user.project / "fetchml.yaml"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "huge":
            with path.open("wb") as file:
                file.truncate(4 << 30)
        case _:
            path.write_bytes(b"\xff\xfe")
    is_refused(user.call("status"), 2, str(path))


def test_a_long_value_in_a_file_is_not_printed_back_whole(user: User) -> None:
    user.settings(f"priority: {'9' * 5000}\n")
    is_refused(user.call("status"), 2, "`priority`")


def shown(user: User, **changes: Any) -> dict[str, Any]:
    """Returns the settings as `config show --json` tells them."""
    done = user.call("config", "show", "--json", **changes)
    assert done.code == 0, done.err
    return done.json()["settings"]


def test_every_value_is_shown_with_where_it_came_from(user: User) -> None:
    user.home.mkdir()
    (user.home / "config.yaml").write_text("image: from-the-user\nstop_grace: 45s\npriority: 1\nnetwork: none\n")
    path = user.settings("priority: 2\nresources: {gpus: 1}\nnetwork: bridge\n")
    found = shown(user, env={"FETCHML_PRIORITY": "3"})
    origins = {key: (item["value"], item["layer"], item["from"]) for key, item in found.items()}
    assert origins["priority"] == (3, "environment", "FETCHML_PRIORITY")
    assert origins["resources.gpus"] == (1.0, "project", str(path))
    assert origins["network"] == ("bridge", "project", str(path))
    assert origins["image"] == ("from-the-user", "user", str(user.home / "config.yaml"))
    assert origins["stop_grace"] == ("45s", "user", str(user.home / "config.yaml"))
    assert origins["execution_mode"] == ("queue", "default", "built in")
    assert origins["home"] == (str(user.home), "environment", "FETCHML_HOME")
    assert found["priority"]["variable"] == "FETCHML_PRIORITY"
    assert all(item["description"] for item in found.values())


def test_the_nearest_project_file_above_counts(user: User) -> None:
    user.settings("priority: 2\n")
    folder = user.project / "a" / "b"
    folder.mkdir(parents=True)
    assert shown(user, cwd=folder)["priority"]["value"] == 2
    (user.project / "a" / "fetchml.yaml").write_text("priority: 4\n")
    assert shown(user, cwd=folder)["priority"]["value"] == 4


def test_prefects_own_variable_names_the_server_and_ours_wins(user: User) -> None:
    variables = {"PREFECT_API_URL": "http://prefect.test/api", "FETCHML_PREFECT_API_URL": None}
    assert shown(user, env=variables)["prefect.api_url"]["from"] == "PREFECT_API_URL"
    variables["FETCHML_PREFECT_API_URL"] = "http://ours.test/api"
    assert shown(user, env=variables)["prefect.api_url"]["value"] == "http://ours.test/api"


@pytest.mark.parametrize("key", ["color", "debug"])
def test_a_setting_that_is_shown_is_obeyed(user: User, key: str) -> None:
    user.settings({"color": "color: always\n", "debug": "debug: true\n"}[key])
    done = user.call("info", "nosuch")
    assert done.code != 0
    assert {"color": "\x1b[", "debug": "Traceback"}[key] in done.err


def test_init_writes_a_file_that_is_valid_as_it_is(user: User) -> None:
    done = user.call("init")
    path = user.project / "fetchml.yaml"
    assert (done.code, done.out) == (0, f"wrote {path}\n")
    before = shown(user)
    assert {item["layer"] for item in before.values()} == {"default", "environment"}
    lines = path.read_text(encoding="utf-8").splitlines()[2:]  # the first two are a remark
    path.write_text("\n".join(line.removeprefix("# ") for line in lines), encoding="utf-8")
    after = shown(user)
    assert after["env"]["value"] == {"EXAMPLE": "value"}
    for key, item in after.items():
        if key != "env":
            assert item["value"] == before[key]["value"], key
    written = {key for key, item in after.items() if item["layer"] == "project"}
    expected = {key for key, item in after.items() if item["scope"] == "project"}
    # Variables win over the file for engine and policy; colour and tracebacks are the user's, not the project's.
    assert written == expected - {"engine", "repro_policy", "color", "debug"}


def test_a_value_as_shown_can_be_written_down_again(user: User) -> None:
    value = shown(user)["worker.poll"]["value"]
    assert user.call("status", env={"FETCHML_WORKER_POLL": value}).code == 0


def test_init_leaves_an_existing_file_alone_unless_forced(user: User) -> None:
    path = user.settings("priority: 3\n")
    done = user.call("init")
    is_refused(done, 4, f"`{path}` exists already", "hint: `fetchml init --force` replaces it")
    assert path.read_text() == "priority: 3\n"
    assert user.call("init", "--json").json_error()["code"] == "file-exists"
    forced = user.call("init", "--force", "--json")
    assert (forced.code, forced.json()) == (0, {"schema_version": 1, "path": str(path)})
    assert "priority: 3" not in path.read_text()
    assert sorted(os.listdir(user.project)) == ["fetchml.yaml", "train.py"]


def test_init_does_not_replace_a_link_without_force(user: User) -> None:
    path = user.project / "fetchml.yaml"
    path.symlink_to("not-yet-mounted.yaml")
    is_refused(user.call("init"), 4)
    assert path.is_symlink()
