"""`fetchml explain`: what a command would be queued as, all that is wrong with it, and how far it could be trusted."""

import os

import pytest

from cli.calls import User, is_refused, is_safe_text

STRICT: dict[str, str | None] = {"FETCHML_REPRO_POLICY": None}
PINNED = "numpy==2.1.0\n"


@pytest.fixture
def pinned(user: User) -> User:
    """Somebody whose project pins its packages."""
    (user.project / "requirements.txt").write_text(PINNED)
    return user


def test_a_sound_command_is_shown_with_its_plan_and_its_trust(pinned: User) -> None:
    done = pinned.call("explain", "train.py", "--lr", "3e-4", env=STRICT)
    assert (done.code, done.err) == (0, "")
    for part in (
        "python train.py --lr 3e-4",
        "plan_sha256",
        "position      would start now, on ",
        "L2, under the policy strict",
    ):
        assert part in done.out
    assert "for L3        run it in a container" in done.out
    pinned.nothing_is_left()


def test_five_faults_are_listed_in_one_go(user: User) -> None:
    os.mkfifo(user.project / "pipe")
    words = ("--engine", "docker", "--gpus", "60", "--memory", "1000T", "nosuch.py")
    env: dict[str, str | None] = {**STRICT, "FETCHML_DOCKER_HOST": "tcp://127.0.0.1:9"}
    found = user.call("explain", "--json", *words, env=env)
    assert found.code == 5
    document = found.json()
    assert document["ok"] is False
    assert document["plan"] is None
    checks = [fault["check"] for fault in document["faults"]]
    assert checks == ["command", "engine", "snapshot", "resources.memory", "resources.gpus"]
    assert all(fault["expected"] and fault["actual"] and fault["hint"] for fault in document["faults"])
    shown = user.call("explain", *words, env=env)
    assert shown.code == 5
    assert "refused, for 5 reasons" in shown.out
    is_safe_text(shown.out)
    user.nothing_is_left()


@pytest.mark.parametrize("words", [("",), ("--", "")], ids=["script", "command"])
def test_an_empty_name_is_a_fault_like_others(user: User, words: tuple[str, ...]) -> None:
    done = user.call("explain", "--json", *words)
    assert done.code == 5
    assert [fault["check"] for fault in done.json()["faults"]] == ["command"]


@pytest.mark.parametrize("words", [("train.py",), ("--", "python", "-m", "train")], ids=["script", "command"])
def test_the_hash_is_that_of_the_dry_run_and_of_the_run(pinned: User, words: tuple[str, ...]) -> None:
    explained = pinned.call("explain", "--json", *words).json()
    tried = pinned.call("queue", "--dry-run", "--json", *words).json()
    queued = pinned.call("queue", "--json", *words).json()
    assert explained["plan_sha256"] == tried["plan_sha256"] == queued["plan_sha256"]
    assert explained["plan"] == tried["plan"]


def test_it_is_told_whether_it_would_start_now(pinned: User) -> None:
    small = ("--cpus", "0.1", "--memory", "64M")
    for number, priority in enumerate(("9", "5", "1")):
        pinned.queue(*small, "--priority", priority, "train.py", str(number))
    asked = ("explain", *small)
    assert "position      would start now, on " in pinned.call(*asked, "train.py").out
    found = pinned.call(*asked, "--json", "train.py").json()
    assert (found["position"], found["waiting"], found["reasons"]) == (None, 3, [])


# The policy


def test_strict_is_the_default_and_refuses_what_cannot_be_repeated(user: User) -> None:
    is_refused(
        user.call("queue", "train.py", env=STRICT),
        5,
        "dependencies: expected a dependency manifest, as the policy is strict",
        "`uv lock`",
        "--repro-policy best-effort",
    )
    user.nothing_is_left()


def test_best_effort_runs_it_and_records_what_it_lacks(user: User) -> None:
    done = user.call("queue", "--quiet", "--repro-policy", "best-effort", "train.py", env=STRICT)
    assert done.code == 0, done.err
    trace = user.call("info", "--json", done.out.strip()).json()["plan"]
    assert (trace["repro_policy"], trace["trust_level"]) == ("best-effort", "L1")
    lacking = {item["field"]: item["state"] for item in trace["trust_evidence"]}
    assert lacking["environment.dependencies"] == "missing"
    assert lacking["snapshot_id"] == "verified"


def test_packages_without_an_exact_version_are_told_of(user: User) -> None:
    (user.project / "requirements.txt").write_text("numpy\n")
    done = user.call("queue", "train.py", env=STRICT)
    assert done.code == 0
    assert "`requirements.txt` does not pin every version" in done.err


def test_a_policy_that_there_is_not_is_refused(user: User) -> None:
    is_refused(user.call("queue", "--repro-policy", "lax", "train.py"), 2, "--repro-policy", "strict, best-effort")
