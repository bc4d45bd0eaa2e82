"""Keys and signed records, as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.calls import Done, User, changed, is_refused
from fetchml.canonical import canonical_sha256
from fetchml.models.manifest import EDITABLE_SECTIONS

DIRECT: dict[str, str | None] = {"FETCHML_EXECUTION_MODE": "direct"}


def run(user: User, *words: str, **env: str) -> str:
    """Carries out a run and returns its id."""
    done = user.call("queue", "--quiet", *words, "train.py", env={**DIRECT, **env})
    assert done.code == 0, done.err
    return done.out.strip()


def seal_of(user: User, run_id: str) -> dict[str, Any]:
    return json.loads(user.manifest_path(run_id).read_bytes())["seal"]


def report(user: User, run_id: str) -> Any:
    return user.call("validate", "--json", run_id).json()


def keys(user: User) -> list[dict[str, Any]]:
    return user.call("keys", "list", "--json").json()["keys"]


def shows_no_secret(user: User, *calls: Done) -> None:
    """Fails if the private half of any key was printed."""
    files = [json.loads(path.read_bytes()) for path in (user.home / "keys").glob("*.json")]
    secrets = [file["private_key"] for file in files if file["private_key"]]
    assert secrets
    for done in calls:
        assert not any(secret in done.out + done.err for secret in secrets)


def test_a_key_is_made_listed_and_rotated(user: User) -> None:
    assert keys(user) == []
    made = user.call("keys", "init", "--json")
    assert made.code == 0
    (first,) = keys(user)
    assert {"schema_version": 1, **first} == made.json()
    assert (first["active"], first["retired_at"]) == (True, None)
    is_refused(user.call("keys", "init"), 4, first["key_id"], "`fetchml keys rotate`")
    rotated = user.call("keys", "rotate")
    old, new = keys(user)
    assert (old["key_id"], old["active"], old["retired_at"]) == (first["key_id"], False, new["created_at"])
    assert new["key_id"] in rotated.out
    listed = user.call("keys", "list")
    assert old["public_key"] in listed.out
    assert new["public_key"] in listed.out
    shows_no_secret(
        user, made, rotated, listed, user.call("keys", "list", "--json"), user.call("--debug", "keys", "init")
    )


def test_without_a_key_nothing_is_queued_that_is_to_be_signed(user: User) -> None:
    for words, env in (
        (("--sign",), {}),
        ((), {"FETCHML_SEAL_SIGN": "true"}),
        (("--sign", "--dry-run"), {}),
    ):
        done = user.call("queue", *words, "train.py", env=env)
        is_refused(done, 3, "there is no key to sign with", "hint: `fetchml keys init`")
    assert not user.runs.exists()
    is_refused(user.call("keys", "rotate"), 3, "`fetchml keys init`")


def test_a_run_is_signed_by_a_flag_a_variable_or_a_file(user: User) -> None:
    user.call("keys", "init")
    (key,) = keys(user)
    unsigned, flag, variable = run(user), run(user, "--sign"), run(user, FETCHML_SEAL_SIGN="1")
    user.settings("seal:\n  sign: true\n")
    by_file, taken_back = run(user), run(user, "--no-sign")
    for run_id in (flag, variable, by_file):
        seal = seal_of(user, run_id)
        assert (seal["key_id"], seal["public_key"]) == (key["key_id"], key["public_key"])
        found = report(user, run_id)
        assert (found["ok"], found["signature"], found["warnings"]) == (True, "trusted", [])
    for run_id in (unsigned, taken_back):
        assert seal_of(user, run_id)["signature"] is None
        assert report(user, run_id)["signature"] is None


def test_a_cancelled_run_is_signed(user: User) -> None:
    user.call("keys", "init")
    run_id = user.queue("--sign", "train.py")
    assert user.call("cancel", run_id).code == 0
    assert report(user, run_id)["signature"] == "trusted"


def test_a_key_that_went_away_meanwhile_costs_the_signature_only(user: User) -> None:
    user.call("keys", "init")
    run_id = user.queue("--sign", "train.py")
    for path in (user.home / "keys").glob("*.json"):
        path.chmod(0o644)
    is_refused(user.call("queue", "--sign", "train.py"), 8, "others may read", "chmod 600")
    assert user.call("cancel", run_id).code == 0
    found = report(user, run_id)
    assert (found["ok"], found["signature"]) == (True, None)
    assert "not signed" in found["warnings"][0]
    warnings = json.loads(user.manifest_path(run_id).read_bytes())["warnings"]
    assert warnings[0].startswith("the seal is not signed: others may read")


def test_a_retired_key_still_vouches(user: User) -> None:
    user.call("keys", "init")
    run_id = run(user, "--sign")
    user.call("keys", "rotate")
    found = report(user, run_id)
    assert (found["signature"], found["warnings"]) == ("trusted", [])


def test_a_signature_after_the_key_was_retired_is_told(user: User) -> None:
    user.call("keys", "init")
    run_id = run(user, "--sign")
    user.call("keys", "rotate")
    (old, _) = keys(user)

    def earlier(key: dict[str, Any]) -> None:
        key["retired_at"] = key["created_at"]

    path = user.home / "keys" / f"{old['key_id']}.json"
    changed(path, earlier)
    path.chmod(0o600)
    found = report(user, run_id)
    assert (found["ok"], found["signature"]) == (True, "trusted")
    assert found["warnings"] == [f"signed by key {old['key_id']} after it was retired"]


def test_an_unknown_key_is_a_warning_until_it_is_trusted(user: User, tmp_path: Path) -> None:
    user.call("keys", "init")
    folder = str(user.runs / run(user, "--sign"))
    (key,) = keys(user)
    other = user.copy(tmp_path / "other")
    for path in (other.home / "keys").glob("*.json"):
        path.unlink()
    found = report(other, folder)
    assert (found["ok"], found["signature"]) == (True, "unknown")
    assert found["warnings"] == [f"signed by an unknown key: {key['key_id']}"]
    assert "note   signed by an unknown key" in other.call("validate", folder).out
    trusted = other.home / "keys" / "trusted"
    trusted.mkdir()
    (trusted / "desk.pub").write_text(f"{key['public_key']}  the desk\n")
    assert report(other, folder)["signature"] == "trusted"
    (other.home / "keys").chmod(0o755)
    found = report(other, folder)
    assert (found["signature"], len(found["warnings"])) == ("unknown", 2)


def test_a_record_that_was_sealed_anew_has_no_valid_signature(user: User) -> None:
    """This is what a signature is for: the digest alone can be computed by whoever changed the record."""
    user.call("keys", "init")
    run_id = run(user, "--sign")

    def forge(manifest: dict[str, Any]) -> None:
        manifest["identity"]["user"] = "mallory"
        covered = {name: value for name, value in manifest.items() if name not in {"seal", *EDITABLE_SECTIONS}}
        manifest["seal"]["digest"] = canonical_sha256(covered)

    changed(user.manifest_path(run_id), forge)
    done = user.call("validate", run_id)
    assert done.code == 7
    assert "wrong  signature\n" in done.out
    assert "wrong  seal" not in done.out
    assert report(user, run_id)["signature"] == "invalid"


@pytest.mark.parametrize("command", ["init", "rotate"])
def test_a_folder_that_is_open_to_others_is_refused(user: User, command: str) -> None:
    user.call("keys", "init")
    (user.home / "keys").chmod(0o755)
    is_refused(user.call("keys", command), 8, "others may look", "chmod 700")
    assert user.call("keys", "list").code == 0


def test_a_key_that_others_may_read_is_told_when_keys_are_listed(user: User) -> None:
    user.call("keys", "init")
    for path in (user.home / "keys").glob("*.json"):
        path.chmod(0o640)
    assert "others may read key" in user.call("keys", "list").err
