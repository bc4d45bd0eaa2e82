"""The examples of `json-output.md` have the shape of what the commands really print."""

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from contract.s3_servers import CREDENTIALS, S3Server
from docs.markdown import page
from fetchml.cli.main import main
from fetchml.home import Home
from fetchml.objects.directory import DirectoryObjects
from fetchml.testing.builders import RUN_ID, make_manifest, make_plan


def example(command: str) -> Any:
    """Returns the first JSON block of a command's section."""
    section = page("reference/json-output.md").text.partition(f"## `{command}`\n")[2].partition("\n## ")[0]
    return json.loads(section.partition("```json\n")[2].partition("```")[0])


def shape(value: Any) -> Any:
    """Returns the keys of a value, of lists those of the first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [shape(items[0])] if items and isinstance(items[0], dict) else "list"
    return "value"


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Runs a command in this process and returns what it printed."""
    capsys.readouterr()
    main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def stored(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home folder with one run that waits, and a project."""
    plan = make_plan()
    home.store.create(plan, make_manifest(plan))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return home


@pytest.mark.parametrize("command", ["init", "status", "down", "server status"])
def test_the_example_has_the_shape_of_the_output(
    command: str, stored: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    real, shown = printed(capsys, *command.split()), example(f"fetchml {command}")
    for value in (real, shown):
        value.pop("counts", None)  # its keys are the states that there are
    assert shape(real) == shape(shown)


@pytest.mark.parametrize(("command", "section"), [("config show", "settings"), ("doctor", "findings")])
def test_examples_that_are_cut_short_have_the_shape_of_the_output(
    command: str, section: str, stored: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    real, shown = shape(printed(capsys, *command.split())), shape(example(f"fetchml {command}"))
    if section == "settings":
        real[section] = {name: real[section][name] for name in shown[section]}
    assert real == shown


def test_queue(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--engine", "process", "--repro-policy", "best-effort", "--dry-run", "--json", "--", "true")
    real = shape(printed(capsys, "queue", *words))
    assert real.pop("plan")
    assert real == shape(example("fetchml queue"))


def test_explain(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    shown = example("fetchml explain")
    real = printed(capsys, "explain", "--engine", "process", "--json", "--", "true")
    assert shape(real["faults"]) == shape(shown["faults"])
    assert real["faults"][0]["hint"] == shown["faults"][0]["hint"]
    assert set(real) == set(shown)
    assert set(real["trust"]) == {"level", "evidence", "next_level", "next_needs"}


def test_cancel_and_wait(stored: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    user = stored.store.read_manifest(RUN_ID).identity.user
    monkeypatch.setenv("LOGNAME", user)
    assert shape(printed(capsys, "cancel", RUN_ID)) == shape(example("fetchml cancel"))
    assert shape(printed(capsys, "wait", RUN_ID)) == shape(example("fetchml wait"))


def test_validate(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert shape(printed(capsys, "validate", RUN_ID)) == shape(example("fetchml validate"))


def test_validate_all(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    section = page("reference/json-output.md").text.partition("With `--all`:")[2]
    shown = json.loads(section.partition("```json\n")[2].partition("```")[0])
    real = printed(capsys, "validate", "--all")
    (report,) = real.pop("reports")
    assert shape(real) == shape({name: value for name, value in shown.items() if name != "reports"})
    assert shape({"schema_version": 1, **report}) == shape(example("fetchml validate"))


def test_keys(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert shape(printed(capsys, "keys", "init")) == shape(example("fetchml keys init"))
    assert shape(printed(capsys, "keys", "list")) == shape(example("fetchml keys list"))
    assert shape(printed(capsys, "keys", "rotate")) == shape(example("fetchml keys init"))


def test_datasets(stored: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").touch()
    shown = example("fetchml dataset add")
    assert shape(printed(capsys, "dataset", "add", "mnist", str(tmp_path / "data"))) == shape(shown)
    assert shape(printed(capsys, "dataset", "list")) == shape(example("fetchml dataset list"))
    assert shape(printed(capsys, "dataset", "verify", "mnist")) == shape(example("fetchml dataset verify"))
    del shown["created"]
    assert shape(printed(capsys, "dataset", "info", "mnist")) == shape(shown)
    assert shape(printed(capsys, "dataset", "rm", "mnist")) == shape(shown)


def test_migrate(stored: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with stored.objects.batch() as batch:
        batch.put_bytes(b"code")
    words = ("objects", "migrate", "--to", str(tmp_path / "elsewhere"))
    assert shape(printed(capsys, *words)) == shape(example("fetchml objects migrate"))


def test_push_and_fetch(
    home: Home, capsys: pytest.CaptureFixture[str], moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
    monkeypatch.setenv("FETCHML_OBJECTS_S3_ENDPOINT", moto_server.endpoint)
    monkeypatch.setenv("FETCHML_OBJECTS_S3_REGION", "us-east-1")
    monkeypatch.setenv("LOGNAME", make_manifest().identity.user)
    url = f"s3://{moto_server.new_bucket()}"
    for name in ("2026-11-20_k3f9q2", "2026-11-20_k3f9q3"):  # sealed, and without their code: none can be copied
        manifest = make_manifest(run_id=name)
        home.store.create(make_plan(), manifest)
        assert main(["cancel", name, "--quiet"]) == 0
    shown = shape(example("fetchml objects push"))
    assert shape(printed(capsys, "objects", "push", "--all", "--to", url)) == shown
    real = shape(printed(capsys, "objects", "fetch", "--all", "--from", url))
    assert real.pop("fetched") == shown.pop("copied")
    assert real.pop("failed") == "list"
    del shown["failed"]
    assert real == shown


def test_sync(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert shape(printed(capsys, "sync")) == shape(example("fetchml sync"))


def test_prune(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with home.objects.batch() as batch:
        kept, gone = batch.put_bytes(b"kept"), batch.put_bytes(b"gone")
    assert isinstance(home.objects, DirectoryObjects)
    os.utime(home.objects.path(gone), (0, 0))
    assert kept != gone
    assert shape(printed(capsys, "prune")) == shape(example("fetchml prune"))


def test_info_is_a_manifest_with_its_folder(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    fields = set(make_manifest(make_plan()).model_dump())
    assert set(printed(capsys, "info", RUN_ID)) == {*fields, "folder", "stall", "copy"}
    assert set(printed(capsys, "info", RUN_ID, "--show-metrics")) == {
        *fields,
        "folder",
        "stall",
        "copy",
        "metric_values",
    }


def test_errors(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", "nosuch", "--json"])
    text = page("reference/exit-codes.md").text
    assert json.loads(capsys.readouterr().err) == json.loads(text.partition("```json\n")[2].partition("```")[0])
