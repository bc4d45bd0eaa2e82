"""Records that are damaged: each is told as what it is, and none takes the others down with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.calls import changed, is_refused, is_safe_text
from cli.conftest import Library
from fetchml.canonical import canonical_sha256
from fetchml.models.manifest import EDITABLE_SECTIONS

Damage = Callable[[Path], None]


def text(content: str | bytes) -> Damage:
    """Replaces the whole manifest."""

    def damage(path: Path) -> None:
        path.unlink()
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def value(*keys: str, to: Any) -> Damage:
    """Replaces one value of the manifest."""

    def change(manifest: dict[str, Any]) -> None:
        section = manifest
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = to

    return lambda path: changed(path, change)


DAMAGES: dict[str, Damage] = {
    "empty": text(""),
    "cut off": text('{"identity": {"run_id"'),
    "another object": text("{}"),
    "a list": text("[]"),
    "no UTF-8": text(b"\xff\x00\x1b[31m"),
    "nested too deeply": text("[" * 200_000),
    "no identity": value("identity", to=None),
    "no name": value("identity", "name", to=None),
    "a name that is a list": value("identity", "name", to=["a"]),
    "a state that is unknown": value("status", "state", to="exploded"),
    "a state that is a list": value("status", "state", to=["a"]),
    "a time that is a number": value("times", "queued_at", to=5),
    "a time that is none": value("times", "queued_at", to="soon"),
    "a start that is no time": value("times", "started_at", to="soon"),
    "GPUs that are text": value("resources", "requested", "gpus", to="many"),
    "tags that are none": value("identity", "tags", to=None),
}
each_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())


@each_damage
def test_a_damaged_manifest_leaves_the_list_of_runs_whole(own_library: Library, damage: Damage) -> None:
    user = own_library.user
    damage(user.manifest_path(own_library.queued))
    listed = user.call("status", "--json")
    assert listed.code == 0, listed.err
    others = {own_library.completed, own_library.failed, own_library.cancelled}
    assert others < {run["run_id"] for run in listed.json()["runs"]}
    text_form = user.call("status")
    assert text_form.code == 0, text_form.err
    assert own_library.queued in text_form.out
    is_safe_text(text_form.out)


@each_damage
def test_a_damaged_manifest_leaves_the_other_runs_readable(own_library: Library, damage: Damage) -> None:
    user = own_library.user
    damage(user.manifest_path(own_library.queued))
    assert user.call("info", own_library.completed).code == 0
    assert user.call("logs", own_library.completed).code == 0
    assert user.call("validate", own_library.completed).code == 0


@each_damage
def test_a_damaged_manifest_is_told_as_corrupt_with_its_path(own_library: Library, damage: Damage) -> None:
    user, run_id = own_library.user, own_library.queued
    path = user.manifest_path(run_id)
    damage(path)
    for words in (("info", run_id), ("status", run_id), ("wait", run_id)):
        is_refused(user.call(*words), 7, f"`run_manifest.json` of run `{run_id}` is damaged", f"hint: look at `{path}`")
    done = user.call("validate", run_id)
    assert done.code == 7
    assert done.out.startswith("wrong  manifest\n")
    assert done.out.endswith(f"{run_id}: 1 check, 1 failed\n")
    assert user.call("info", "--json", run_id).json_error()["code"] == "record-damaged"


def test_cancelling_a_damaged_run_tells_that_it_is_damaged(own_library: Library) -> None:
    text("{}")(own_library.user.manifest_path(own_library.queued))
    is_refused(own_library.user.call("cancel", own_library.queued), 7, "damaged")


def test_a_state_with_control_codes_does_not_reach_the_terminal(own_library: Library) -> None:
    value("status", "state", to="queued\x1b[2J")(own_library.user.manifest_path(own_library.queued))
    is_safe_text(own_library.user.call("status").out)


def test_a_run_that_lost_its_manifest_is_listed_as_damaged(own_library: Library) -> None:
    user = own_library.user
    user.manifest_path(own_library.queued).unlink()
    runs = user.call("status", "--json").json()["runs"]
    assert {run["run_id"]: run["state"] for run in runs}[own_library.queued] == "damaged"


def test_a_folder_in_place_of_the_manifest_is_corrupt(own_library: Library) -> None:
    path = own_library.user.manifest_path(own_library.queued)
    path.unlink()
    path.mkdir()
    assert own_library.user.call("validate", own_library.queued).code == 7


@pytest.mark.parametrize("added", ["prefect", "warnings", "metadata"])
def test_a_record_sealed_before_a_field_was_added_stays_valid(own_library: Library, added: str) -> None:
    user, run_id = own_library.user, own_library.completed

    def as_an_earlier_version_sealed_it(manifest: dict[str, Any]) -> None:
        del manifest[added]
        covered = {name: value for name, value in manifest.items() if name not in {"seal", *EDITABLE_SECTIONS}}
        manifest["seal"]["digest"] = canonical_sha256(covered)

    changed(user.manifest_path(run_id), as_an_earlier_version_sealed_it)
    done = user.call("validate", run_id)
    assert done.code == 0, done.out


def test_the_index_is_only_a_cache(own_library: Library) -> None:
    user = own_library.user
    index = user.home / "store" / "index.sqlite"
    expected = user.call("status", "--json").json()
    for content in (b"", b"no database", None):
        index.unlink(missing_ok=True)
        if content is not None:
            index.write_bytes(content)
        assert user.call("status", "--json").json() == expected


FLIPS = {
    "run_manifest.json": ["seal"],
    "plan.json": ["plan_sha256", "record:plan.json"],
    "attempts/1/output.log": ["record:attempts/1/output.log"],
    "attempts/1/metrics.jsonl": ["record:attempts/1/metrics.jsonl"],
    "results/model.txt": ["artifact:model.txt"],
}


@pytest.mark.parametrize(("file", "checks"), FLIPS.items())
def test_one_flipped_byte_is_found_and_named(own_library: Library, file: str, checks: list[str]) -> None:
    user, run_id = own_library.user, own_library.completed
    path = user.runs / run_id / file
    path.chmod(0o644)
    content = path.read_bytes()
    # A letter for a letter, so that it stays valid JSON where it was.
    words = {"run_manifest.json": b'"good"', "plan.json": b"train.py", "attempts/1/metrics.jsonl": b"loss"}
    word = words.get(file, content[:4])
    path.write_bytes(content.replace(word, word.swapcase(), 1))
    assert path.stat().st_size == len(content)
    done = user.call("validate", run_id)
    assert done.code == 7
    assert f"wrong  {checks[0]}\n" in done.out
    assert "       expected " in done.out
    report = user.call("validate", "--json", run_id)
    assert report.code == 7
    assert [item["name"] for item in report.json()["checks"] if not item["ok"]] == checks


@pytest.mark.parametrize("change", ["removed", "grown", "added"])
def test_files_that_come_or_go_after_the_seal_are_found(own_library: Library, change: str) -> None:
    user, run_id = own_library.user, own_library.completed
    results = user.runs / run_id / "results"
    results.chmod(0o755)
    path = results / "model.txt"
    path.chmod(0o644)
    match change:
        case "removed":
            path.unlink()
        case "grown":
            path.write_text("weights and more")
        case _:
            (results / "smuggled\x1b[2J.txt").write_text("x")
    done = user.call("validate", run_id)
    assert done.code == 7
    is_safe_text(done.out)
    assert {"removed": "artifact:model.txt", "grown": "16 bytes", "added": "artifacts_complete"}[change] in done.out


def test_a_damaged_snapshot_is_found_and_the_file_named(own_library: Library) -> None:
    user, run_id = own_library.user, own_library.completed
    manifest = json.loads(user.manifest_path(run_id).read_bytes())
    tree_id = manifest["identity"]["commit_id"]
    objects = user.home / "store" / "objects" / "sha256"
    for path in objects.rglob("*"):
        if path.is_file() and path.name != tree_id[2:]:
            path.chmod(0o644)
            path.write_bytes(b"x" + path.read_bytes()[1:])
    done = user.call("validate", run_id)
    assert done.code == 7
    assert "wrong  snapshot\n" in done.out
    assert "train.py" in done.out
