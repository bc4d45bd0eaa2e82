"""A lab of several hosts from the command line: who waits for what, who holds what, and what operators change."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.calls import User
from fetchml.execution.claims import run_claim
from fetchml.models.lab_host import PublishedHost, SeenStranger
from fetchml.models.queueing import RETRIED, AttemptRecord, Queueing
from fetchml.models.resources import Device, DeviceShare, GpuVendor, HostCapacity
from fetchml.models.status import EndReason, Queued
from fetchml.models.units import GIB
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.hosts import DirectoryHosts

NOW = datetime.now(UTC)


def card(name: str, memory: int = 24) -> Device:
    return Device(id=f"GPU-{name}", vendor=GpuVendor.NVIDIA, model="NVIDIA A5000", memory_bytes=memory * GIB)


class Lab:
    """Two hosts that have published, and a user."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.store = DirectoryRunStore(user.home / "store")
        self.hosts = DirectoryHosts(self.store.root)
        self.publish("big", card("1"), card("2"))
        self.publish("small", card("3", 8))

    def publish(self, name: str, *devices: Device, **fields: Any) -> None:
        capacity = HostCapacity(host=name, cpus=16, memory_bytes=64 * GIB, devices=devices)
        state: dict[str, Any] = {
            "capacity": capacity,
            "worker": f"fetchml-{name}",
            "pid": 1,
            "version": "0.1.0",
            "boot_id": "boot",
            "started_at": NOW,
            "published_at": NOW,
        }
        self.hosts.publish(PublishedHost(**{**state, **fields}))

    def start(self, run_id: str, host: str, *device_ids: str, share: float = 1) -> None:
        """Lets a worker claim a run and begin with it."""
        shares = tuple(DeviceShare(device_id=name, share=share, memory_bytes=GIB) for name in device_ids)
        claim = run_claim(self.store.read_plan(run_id), run_id, 1, worker="w", now=NOW, shares=shares)
        assert self.store.claim(claim.model_copy(update={"host": host}))
        from fetchml.models.status import Preparing

        self.store.update(run_id, lambda found: found.with_status(Preparing(since=NOW, attempt=1, host=host)))

    def queue(self, *words: str) -> str:
        return self.user.queue("--cpus", "1", "--memory", "1G", *words, "train.py")

    def json(self, *words: str) -> Any:
        done = self.user.call(*words, "--json")
        assert done.code == 0, done.err
        return done.json()


@pytest.fixture
def lab(user: User) -> Lab:
    return Lab(user)


# Queueing


def test_what_one_host_of_the_lab_has_is_accepted_and_what_none_has_is_refused(lab: Lab) -> None:
    lab.queue("--gpus", "2")
    lab.queue("--gpus", "1", "--gpu-model", "a5000")
    lab.queue("--gpus", "0.25", "--gpu-memory", "6G", "--host", "small")
    for words in (
        ("--gpus", "3"),
        ("--gpus", "1", "--gpu-memory", "48G"),
        ("--gpus", "1", "--gpu-vendor", "amd"),
        ("--gpus", "2", "--host", "small"),
        ("--host", "nowhere"),
        ("--cpus", "32"),
    ):
        done = lab.user.call("queue", "--memory", "1G", *words, "train.py")
        assert done.code == 5, (words, done.err)
        assert "any host of the lab" in done.err or "host" in done.err


def test_explain_says_whether_it_would_start(lab: Lab) -> None:
    found = lab.user.call("explain", "--cpus", "1", "--memory", "1G", "--gpus", "1", "train.py")
    assert "would start now, on small with GPU-3" in found.out
    lab.start(lab.queue("--gpus", "2"), "big", "GPU-1", "GPU-2")
    lab.start(lab.queue("--gpus", "1"), "small", "GPU-3")
    found = lab.user.call("explain", "--cpus", "1", "--memory", "1G", "--gpus", "1", "train.py")
    assert "1 of 1 that wait: needs 1" in found.out


# Why


def test_why_says_what_a_run_waits_for_and_what_would_start_now(lab: Lab) -> None:
    lab.start(lab.queue("--gpus", "1"), "big", "GPU-1")
    waits = lab.queue("--gpus", "2", "--name", "wide")
    found = lab.json("why", waits)
    assert (found["position"], found["waiting"], found["is_impossible"]) == (1, 1, False)
    assert [(item["blocker"], item["needed"], item["available"]) for item in found["reasons"]] == [("gpus", 2, 1)]
    assert "`--gpus 1`" in found["smaller"]
    text = lab.user.call("why", "wide").out
    assert "waits at place 1 of 1" in text
    assert "would start now with: `--gpus 1`" in text


def test_why_tells_when_a_run_may_start_and_from_what_that_is_known(lab: Lab) -> None:
    lab.start(lab.queue("--gpus", "2", "--max-runtime", "1h"), "big", "GPU-1", "GPU-2")
    found = lab.json("why", lab.queue("--gpus", "2"))
    earliest = datetime.fromisoformat(found["starts"]["earliest"])
    assert timedelta(minutes=50) < earliest - datetime.now(UTC) <= timedelta(hours=1)
    assert found["starts"]["basis"] == ["its own limit"]


def test_a_stranger_a_drained_host_and_one_that_is_kept_for_others_are_named(lab: Lab) -> None:
    stranger = SeenStranger(device_id="GPU-3", memory_bytes=7 * GIB, processes=("python of bob (pid 4711), 7G",))
    lab.publish("small", card("3", 8), strangers=(stranger,))
    waits = lab.queue("--gpus", "1", "--host", "small")
    assert "bob" in lab.user.call("why", waits).out
    lab.publish("small", card("3", 8))
    assert lab.user.call("drain", "small", "--reason", "new disk").code == 0
    assert [item["blocker"] for item in lab.json("why", waits)["reasons"]] == ["drained"]
    assert lab.user.call("resume", "small").out == "small  takes runs\n"
    assert lab.user.call("dedicate", "small", "--user", "carol", "--for", "2d").code == 0
    assert [item["who"] for item in lab.json("why", waits)["reasons"]] == [["carol"]]
    assert lab.user.call("dedicate", "small", "--everyone").code == 0
    assert lab.json("why", waits)["position"] is None


def test_a_host_that_is_kept_for_others_for_good_is_none_for_me(lab: Lab) -> None:
    lab.user.call("dedicate", "big", "--group", "vision")
    refused = lab.user.call("queue", "--gpus", "2", "--cpus", "1", "--memory", "1G", "train.py")
    assert refused.code == 5
    lab.queue("--gpus", "2", "--group", "vision")


def test_why_of_a_run_that_does_not_wait_says_where_it_is_or_how_it_ended(lab: Lab) -> None:
    run_id = lab.queue("--gpus", "1")
    lab.user.call("cancel", run_id)
    assert "cancelled by" in lab.user.call("why", run_id).out
    assert lab.user.call("why", "nosuch").code == 3


def test_a_run_that_waits_for_its_next_attempt_says_when_and_after_what(lab: Lab) -> None:
    run_id = lab.queue()
    first = AttemptRecord(
        attempt=1,
        host="big",
        started_at=None,
        ended_at=NOW,
        exit_code=None,
        end_reason=EndReason.HOST_LOST,
        summary="the run was lost",
    )
    later = Queued(since=NOW, attempt=2, not_before=NOW + timedelta(hours=1))
    lab.store.update(run_id, lambda found: found.with_sections(status=later, attempts=(first,)))
    text = lab.user.call("why", run_id).out
    assert "waits for its next attempt" in text
    assert "after `host_lost`: the run was lost" in text
    assert lab.json("why", run_id)["due"] is not None


# Hosts


def test_hosts_shows_devices_and_who_holds_them(lab: Lab) -> None:
    run_id = lab.queue("--gpus", "1")
    lab.start(run_id, "big", "GPU-1")
    shared = lab.queue("--gpus", "0.5", "--gpu-memory", "1G")
    lab.start(shared, "small", "GPU-3", share=0.5)
    text = lab.user.call("hosts").out
    assert "15/16" in text
    assert f"{run_id}" in text
    assert f"0.5, 7G  {shared} (0.5)" in " ".join(text.split(" ")).replace("   ", "  ")
    found = {item["name"]: item for item in lab.json("hosts")["hosts"]}
    assert [held["run_id"] for held in found["big"]["holding"]] == [run_id]
    assert found["small"]["is_silent"] is False


def test_a_host_that_nobody_knows_cannot_be_marked_and_none_is_changed(lab: Lab) -> None:
    done = lab.user.call("drain", "big", "nowhere")
    assert done.code == 3
    assert "big, small" in done.err
    assert not any(item["marks"]["is_drained"] for item in lab.json("hosts")["hosts"])


@pytest.mark.parametrize(
    "words", [("big",), ("big", "--user", "a", "--everyone"), ("big", "--user", "a", "--for", "x")]
)
def test_a_dedication_that_says_nothing_or_too_much_is_refused(lab: Lab, words: tuple[str, ...]) -> None:
    assert lab.user.call("dedicate", *words).code == 2


def test_nobody_is_known_before_a_worker_has_run(user: User) -> None:
    done = user.call("hosts")
    assert (done.code, done.out) == (0, "")
    assert "no host is known yet" in done.err


# Moving and repeating


def test_a_waiting_run_gets_another_priority_or_goes_first(lab: Lab) -> None:
    first, second = lab.queue("--host", "small", "--gpus", "1"), lab.queue("--host", "small", "--gpus", "1")
    lab.start(lab.queue("--gpus", "1"), "small", "GPU-3")
    assert [lab.json("why", name)["position"] for name in (first, second)] == [1, 2]
    assert lab.json("queue-order", second, "--priority", "7") == {
        "schema_version": 1,
        "run_id": second,
        "priority": 7,
        "top": False,
    }
    assert [lab.json("why", name)["position"] for name in (first, second)] == [2, 1]
    lab.user.call("queue-order", first, "--top")
    assert [lab.json("why", name)["position"] for name in (first, second)] == [1, 2]


def test_only_what_waits_can_be_moved(lab: Lab) -> None:
    run_id = lab.queue()
    assert lab.user.call("queue-order", run_id).code == 2
    assert lab.user.call("queue-order", run_id, "--priority", "11").code == 2
    lab.start(run_id, "big")
    assert lab.user.call("queue-order", run_id, "--top").code == 4


def test_a_run_out_of_retries_is_listed_until_it_is_queued_again(user: User) -> None:
    user.script("killed.py", "import os\nos.kill(os.getpid(), 9)\n")
    env = {"FETCHML_EXECUTION_MODE": "direct", "FETCHML_RETRIES_BACKOFF": "1s"}
    done = user.call("queue", "--quiet", "--max-retries", "1", "killed.py", env=env)
    assert done.code == 1
    run_id = done.out.strip()
    listed = json.loads(user.call("status", "--dead", "--json").out)["runs"]
    assert [(item["run_id"], item["attempt"], item["out_of_retries"]) for item in listed] == [(run_id, 2, True)]
    assert user.call("validate", run_id).code == 0
    again = json.loads(user.call("requeue", "--dead", "--json").out)["runs"]
    assert [item["parent_run"] for item in again] == [run_id]
    assert json.loads(user.call("status", "--dead", "--json").out)["runs"] == []
    plans = [(user.runs / name / "plan.json").read_bytes() for name in (run_id, again[0]["run_id"])]
    assert plans[0] == plans[1]
    assert user.call("requeue", again[0]["run_id"]).code == 4
    assert user.call("requeue").code == 2


def test_the_output_of_each_attempt_can_be_read(user: User) -> None:
    user.script("killed.py", "import os\nprint('hello', flush=True)\nos.kill(os.getpid(), 9)\n")
    env = {"FETCHML_EXECUTION_MODE": "direct", "FETCHML_RETRIES_BACKOFF": "1s"}
    run_id = user.call("queue", "--quiet", "--max-retries", "1", "killed.py", env=env).out.strip()
    for words in ((), ("--attempt", "1"), ("--attempt", "2")):
        assert user.call("logs", run_id, *words).out == "hello\n"
    assert user.call("logs", run_id, "--attempt", "3").code == 3


def test_what_may_be_retried_is_a_setting(user: User) -> None:
    user.script("fails.py", "raise SystemExit(3)\n")
    env = {
        "FETCHML_EXECUTION_MODE": "direct",
        "FETCHML_RETRIES_BACKOFF": "1s",
        "FETCHML_RETRIES_ON": "code_error",
        "FETCHML_RETRIES_MAX": "1",
    }
    run_id = user.call("queue", "--quiet", "fails.py", env=env).out.strip()
    manifest = json.loads((user.runs / run_id / "run_manifest.json").read_bytes())
    assert [item["end_reason"] for item in manifest["attempts"]] == ["code_error"]
    assert manifest["queueing"]["retry_on"] == ["code_error"]
    assert Queueing().retry_on == RETRIED
    assert user.call("queue", "fails.py", env={"FETCHML_RETRIES_ON": "ok"}).code == 2


# Figures


def test_stats_tell_waits_and_use(lab: Lab) -> None:
    lab.queue("--gpus", "1")
    env = {"FETCHML_EXECUTION_MODE": "direct"}
    assert lab.user.call("queue", "--cpus", "1", "--memory", "1G", "train.py", env=env).code == 0
    found = lab.json("stats", "--since", "1h")
    assert (found["runs"], found["gpus"], found["ends"]) == (2, 3, {"ok": 1})
    assert found["waits"]["count"] == 2
    assert [item["waits"]["count"] for item in found["users"]] == [2]
    assert "utilisation" in lab.user.call("stats").out
    assert lab.user.call("stats", "--since", "soon").code == 2


def test_stats_of_an_empty_store_are_empty(user: User) -> None:
    found = json.loads(user.call("stats", "--json").out)
    assert (found["runs"], found["waits"], found["utilisation"]) == (0, None, None)
