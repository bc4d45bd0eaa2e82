"""A lab as people meet it: the gateway is started, somebody is let in, and uses it from another computer."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.calls import Done, User, is_refused
from fetchml.link.login import CODE_PREFIX, login_of
from fetchml.models.ids import is_run_id


@dataclass
class Desk:
    """A control host and a person's computer."""

    control: User
    laptop: User

    def queue(self) -> str:
        done = self.laptop.call("queue", "--quiet", "train.py")
        assert done.code == 0, done.err
        return done.out.strip()

    def record(self, run_id: str) -> Any:
        return json.loads(self.control.manifest_path(run_id).read_bytes())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A gateway that runs, and a laptop that is logged in as ada; no Prefect is there, so what is queued waits."""
    path = tmp_path_factory.mktemp("lab")
    port = free_port()
    own: dict[str, str | None] = {
        "FETCHML_GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "FETCHML_GATEWAY_URL": f"https://localhost:{port}",
    }
    made = Desk(User(path / "control", own), User(path / "laptop"))
    made.laptop.script()
    started = made.control.call("gateway", "start")
    assert started.code == 0, started.err
    try:
        code = made.control.call("user", "add", "ada", "--quiet").out
        done = made.laptop.call("login", typed=code)
        assert (done.code, done.out) == (0, f"logged in to https://localhost:{port} as ada\n"), done.err
        yield made
    finally:
        made.control.call("gateway", "stop")


@pytest.fixture
def other(tmp_path: Path) -> User:
    """Another computer, that belongs to no lab."""
    made = User(tmp_path / "other")
    made.script()
    return made


def code_for(desk: Desk, kind: str, name: str) -> str:
    done = desk.control.call(kind, "add", name, "--quiet")
    assert done.code == 0, done.err
    return done.out.split()[-1]


def shows_no_key(desk: Desk, done: Done) -> None:
    key = json.loads((desk.laptop.home / "gateway.json").read_bytes())["key"]
    assert key not in done.out + done.err


def test_a_gateway_is_started_once_and_says_where_it_is(desk: Desk) -> None:
    assert desk.control.call("gateway", "start").code == 0
    status = desk.control.call("gateway", "status", "--json").json()
    assert (status["schema_version"], status["answers"]) == (1, True)
    assert desk.control.call("gateway", "status").out.startswith("gateway  answers, pid ")


def test_without_an_address_there_is_no_gateway(other: User) -> None:
    for words in (("gateway", "start"), ("gateway", "status"), ("host", "add", "gpu1"), ("user", "add", "ada")):
        is_refused(other.call(*words), 2, "gateway.listen", "hint:")


@pytest.mark.parametrize("value", ["8470", "0.0.0.0", ":8470", "0.0.0.0:0", "0.0.0.0:99999", "host:port", "[::1]"])
def test_an_address_that_is_none_is_refused(other: User, value: str) -> None:
    is_refused(other.call("gateway", "start", env={"FETCHML_GATEWAY_LISTEN": value}), 2, "gateway.listen")


def test_a_port_that_is_taken_is_told(other: User, desk: Desk) -> None:
    taken = desk.control.env["FETCHML_GATEWAY_LISTEN"]
    is_refused(other.call("gateway", "start", env={"FETCHML_GATEWAY_LISTEN": taken}), 6, "cannot listen on")


def test_a_run_is_queued_from_a_laptop_under_its_user(desk: Desk) -> None:
    run_id = desk.queue()
    assert is_run_id(run_id)
    record = desk.record(run_id)
    assert (record["identity"]["user"], record["status"]["state"]) == ("ada", "queued")
    assert not (desk.laptop.home / "store" / "runs").exists()
    tree = desk.control.home / "store" / "objects" / "sha256"
    commit = record["identity"]["commit_id"]
    assert (tree / commit[:2] / commit[2:]).exists()


def test_the_same_code_is_not_sent_twice(desk: Desk) -> None:
    desk.queue()
    before = sorted((desk.control.home / "store" / "objects").rglob("*"))
    desk.queue()
    assert sorted((desk.control.home / "store" / "objects").rglob("*")) == before


def test_runs_are_seen_from_a_laptop(desk: Desk) -> None:
    run_id = desk.queue()
    assert run_id in desk.laptop.call("status").out
    listed = desk.laptop.call("status", "--json").json()
    assert listed["runs"][0].keys() == desk.control.call("status", "--json").json()["runs"][0].keys()
    assert run_id in [row["run_id"] for row in listed["runs"]]
    assert desk.laptop.call("status", "@").out.startswith(f"run            {run_id}")
    assert desk.laptop.call("info", run_id, "--json").json()["identity"]["run_id"] == run_id
    is_refused(desk.laptop.call("logs", run_id), 3, "has printed nothing yet")
    is_refused(desk.laptop.call("info", "nothing"), 3, "there is no run `nothing`")
    waited = desk.laptop.call("wait", run_id, "--timeout", "1s")
    assert (waited.code, "still not ended" in waited.err) == (6, True)


def test_output_is_shown_from_its_end(desk: Desk) -> None:
    run_id = desk.queue()
    attempt = desk.control.runs / run_id / "attempts" / "1"
    attempt.mkdir(parents=True)
    lines = b"".join(b"line %d\n" % number for number in range(30_000))
    (attempt / "output.log").write_bytes(lines)
    assert desk.laptop.call("logs", run_id).out.encode() == lines
    for count in (0, 1, 3, 20_000):
        wanted = b"".join(lines.splitlines(keepends=True)[30_000 - count :])
        assert desk.laptop.call("logs", "--tail", str(count), run_id).out.encode() == wanted


def test_a_run_that_waits_is_cancelled_from_a_laptop(desk: Desk) -> None:
    run_id = desk.queue()
    assert desk.laptop.call("cancel", run_id, "--reason", "a typo").code == 0
    record = desk.record(run_id)
    assert (record["status"]["state"], record["status"]["by"]) == ("cancelled", "ada")
    assert desk.control.call("validate", run_id).code == 0
    is_refused(desk.laptop.call("cancel", run_id), 4, "has ended")
    assert desk.laptop.call("wait", run_id).code == 1


def test_the_runs_of_others_are_not_ones_own(desk: Desk, other: User) -> None:
    run_id = desk.queue()
    assert other.call("login", typed=code_for(desk, "user", "bob")).code == 0
    is_refused(other.call("cancel", run_id), 8, "belongs to `ada`")
    is_refused(other.call("status", "@"), 3, "you have not queued a run yet")
    assert desk.record(run_id)["status"]["state"] == "queued"


def test_a_revoked_key_is_refused(desk: Desk, other: User) -> None:
    assert other.call("login", typed=code_for(desk, "user", "carol")).code == 0
    assert "carol" in desk.control.call("user", "list").out
    assert desk.control.call("user", "rm", "carol").code == 0
    is_refused(other.call("status"), 8, "a key is needed")
    is_refused(other.call("queue", "train.py"), 8, "a key is needed")
    is_refused(desk.control.call("user", "rm", "carol"), 3, "has no key")


def test_a_key_cannot_be_made_twice_and_lists_show_none(desk: Desk) -> None:
    code = code_for(desk, "host", "gpu7")
    is_refused(desk.control.call("host", "add", "gpu7"), 4, "has a key already")
    listed = desk.control.call("host", "list", "--json")
    assert [key["name"] for key in listed.json()["keys"]].count("gpu7") == 1
    assert login_of(code).key not in listed.out
    shows_no_key(desk, desk.laptop.call("config", "show"))


@pytest.mark.parametrize("name", ["", ".", "../a", "a b", "-a", "ä", "a" * 65, "a\n"])
def test_a_name_that_could_be_a_path_is_refused(desk: Desk, name: str) -> None:
    assert desk.control.call("user", "add", "--", name).code == 2


@pytest.mark.parametrize("typed", ["", "\n", "hello", CODE_PREFIX, CODE_PREFIX + "AAAA", "fml9.AAAA", "\0\0", "é"])
def test_a_code_that_is_none_is_refused(other: User, typed: str) -> None:
    is_refused(other.call("login", typed=typed), 2, "code")
    assert not (other.home / "gateway.json").exists()


def test_a_code_is_for_one_thing(desk: Desk, other: User) -> None:
    is_refused(other.call("login", typed=code_for(desk, "host", "gpu8")), 2, "the code is for a host", "--join")
    code = code_for(desk, "user", "dora")
    is_refused(other.call("worker", "start", "--join", code), 2, "the code is for a user")
    is_refused(other.call("worker", "start", "--join", "-", typed=code), 2, "the code is for a user")
    is_refused(other.call("worker", "start"), 2, "this host has joined no lab")


def test_a_login_is_for_its_owner_only_and_is_forgotten(desk: Desk, other: User) -> None:
    code = code_for(desk, "user", "erin")
    assert other.call("login", typed=code).code == 0
    stored = other.home / "gateway.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    is_refused(other.call("up"), 2, "nothing has to be started here")
    is_refused(other.call("host", "add", "x"), 2, "belongs to a lab of another host")
    is_refused(other.call("login", typed=code_for(desk, "user", "frank")), 4, "fetchml logout")
    stored.chmod(0o644)
    is_refused(other.call("status"), 7, "others may read it")
    assert other.call("logout").code == 0
    assert not stored.exists()
    assert other.call("logout").out == "this home belongs to no other lab\n"
    assert "no runs yet" in other.call("status").out


def test_a_home_with_runs_of_its_own_stays_itself(desk: Desk, other: User) -> None:
    other.queue("train.py")
    is_refused(other.call("login", typed=code_for(desk, "user", "gina")), 4, "has runs of its own")


def test_another_gateway_at_the_address_is_noticed(desk: Desk, other: User, tmp_path: Path) -> None:
    code = code_for(desk, "user", "hans")
    impostor = User(tmp_path / "impostor", {**desk.control.env, "FETCHML_GATEWAY_LISTEN": f"127.0.0.1:{free_port()}"})
    assert impostor.call("gateway", "start").code == 0
    try:
        url = "https://" + (impostor.env["FETCHML_GATEWAY_LISTEN"] or "")
        done = other.call("login", url, typed=code)
        is_refused(done, 8, "cannot prove that it is the right one")
        assert login_of(code).key not in done.err
    finally:
        impostor.call("gateway", "stop")


def test_a_gateway_that_is_gone_is_told(desk: Desk, tmp_path: Path) -> None:
    own = {**desk.control.env, "FETCHML_GATEWAY_LISTEN": f"127.0.0.1:{free_port()}"}
    own["FETCHML_GATEWAY_URL"] = "https://" + (own["FETCHML_GATEWAY_LISTEN"] or "")
    control, laptop = User(tmp_path / "control", own), User(tmp_path / "laptop")
    laptop.script()
    assert control.call("gateway", "start").code == 0
    assert laptop.call("login", typed=control.call("user", "add", "ada", "-q").out).code == 0
    os.kill(control.call("gateway", "status", "--json").json()["pid"], signal.SIGKILL)
    for words in (("status",), ("queue", "train.py"), ("logs", "@"), ("cancel", "@")):
        is_refused(laptop.call(*words), 6, "the gateway does not answer", "hint:")
    assert control.call("gateway", "start").code == 0
    assert "no runs yet" in laptop.call("status").out
    assert control.call("gateway", "stop").out == "stopped\n"
    assert control.call("gateway", "stop").out == "it was not running\n"
    assert control.call("gateway", "status").code == 6
