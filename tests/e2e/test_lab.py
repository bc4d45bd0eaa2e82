"""A lab: a control host, a second host that joined it with one command, and a person's computer; one line can be cut.

Whoever is killed and whatever is cut, a run ends once, its payload was started once, and its record is on the control
host, sealed and whole.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateways import Wire
from stack import WITNESS, Stack, sealed_and_valid, until

pytestmark = pytest.mark.e2e

SILENT_S = 9


@dataclass
class Lab:
    """Three homes and the line between two of them."""

    control: Stack
    gpu1: Stack
    laptop: Stack
    wire: Wire

    def start_worker(self) -> None:
        self.gpu1.run("worker", "start", "--quiet")

    def worker_pid(self) -> int:
        return self.gpu1.pid("worker")

    def kill_worker(self) -> None:
        os.kill(self.worker_pid(), signal.SIGKILL)
        until(lambda: not self.gpu1_is_alive(), "the worker to be gone")

    def gpu1_is_alive(self) -> bool:
        from fetchml.daemons.process import Daemon

        return Daemon(self.gpu1.home.services, "worker").is_alive()

    def run_one(self, seconds: float) -> str:
        self.laptop.script("witness.py", WITNESS)
        return self.laptop.queue("--engine", "process", "witness.py", str(seconds))

    def check(self, run_id: str) -> None:
        """Fails unless the run ended once, well, and is whole on the control host."""
        (manifest,) = self.control.ended(run_id)
        assert manifest.status.state == "completed", manifest.diagnosis
        assert manifest.placement is not None
        assert manifest.placement.host == "gpu1"
        assert len(self.control.witnesses(run_id)) == 1
        assert self.control.home.store.folder(run_id).attempt(1).output.read_bytes().startswith(b"tick 0\n")
        sealed_and_valid(self.control, [run_id])
        until(lambda: not list((self.gpu1.home_path / "spool").glob("*.jsonl")), "everything to be sent")
        assert not (self.gpu1.home_path / "store" / "runs" / run_id).exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("lab")
    port = free_port()
    wire = Wire(f"https://127.0.0.1:{port}")
    own = {"FETCHML_GATEWAY_LISTEN": f"127.0.0.1:{port}", "FETCHML_WORKER_LEASE": f"{SILENT_S}s"}
    control = Stack(path / "control", migrated_database, own)
    made = Lab(control, Stack(path / "gpu1"), Stack(path / "laptop"), wire)
    try:
        control.run("up")
        control.run("worker", "stop")  # what is queued is for the other host
        control.extra_env["FETCHML_GATEWAY_URL"] = wire.url
        command = control.run("host", "add", "gpu1", "--quiet").stdout.split()
        made.gpu1.run(*command[1:])
        control.extra_env["FETCHML_GATEWAY_URL"] = f"https://localhost:{port}"
        code = control.run("user", "add", "ada", "--quiet").stdout
        made.laptop.run("login", stdin=code)
        yield made
    finally:
        wire.mend()
        made.gpu1.close()
        control.close()
        wire.__exit__()


@pytest.fixture(autouse=True)
def _whole(lab: Lab) -> Iterator[None]:
    yield
    lab.wire.mend()
    if not lab.gpu1_is_alive():
        lab.start_worker()


def test_a_run_of_a_laptop_goes_through_on_another_host(lab: Lab) -> None:
    run_id = lab.run_one(3)
    followed = lab.laptop.run("logs", "--follow", run_id).stdout
    assert followed.startswith("tick 0\ntick 1\n")
    lab.laptop.run("wait", run_id)
    lab.check(run_id)
    output = lab.control.home.store.folder(run_id).attempt(1).output.read_text()
    assert followed == output
    assert lab.laptop.run("logs", "--tail", "2", run_id).stdout.splitlines() == output.splitlines()[-2:]
    listed = lab.laptop.json("status")["runs"]
    assert [(row["run_id"], row["user"], row["host"]) for row in listed if row["run_id"] == run_id] == [
        (run_id, "ada", "gpu1")
    ]
    assert lab.laptop.json("info", "@")["identity"]["run_id"] == run_id


def test_output_is_seen_while_it_is_printed(lab: Lab) -> None:
    run_id = lab.run_one(6)
    until(lambda: "tick 3" in lab.laptop.run("logs", run_id, check=False).stdout, "output to arrive")
    assert lab.laptop.state(run_id) in ("preparing", "running")
    lab.check(run_id)


def test_a_run_is_cancelled_from_a_laptop(lab: Lab) -> None:
    run_id = lab.run_one(120)
    lab.laptop.is_state(run_id, "running")
    lab.laptop.run("cancel", run_id)
    (manifest,) = lab.control.ended(run_id)
    assert (manifest.status.state, getattr(manifest.status, "by", None)) == ("cancelled", "ada")
    sealed_and_valid(lab.control, [run_id])


@pytest.mark.parametrize("after_s", [0.4, 2.0])
@pytest.mark.parametrize("victim", ["worker", "worker and flow"])
def test_a_run_ends_once_though_its_worker_is_killed(lab: Lab, victim: str, after_s: float) -> None:
    run_id = lab.run_one(3)
    time.sleep(after_s)
    flows = lab.gpu1.flow_processes() if victim != "worker" else []
    lab.kill_worker()
    for pid in flows:
        os.kill(pid, signal.SIGKILL)
    lab.start_worker()
    lab.check(run_id)


def test_a_host_that_is_cut_off_goes_on_and_is_heard_of_again(lab: Lab) -> None:
    run_id = lab.run_one(4)
    lab.laptop.is_state(run_id, "running")
    lab.wire.cut()
    assert lab.laptop.is_state(run_id, "unreachable") == "unreachable"
    # It has ended meanwhile, and nobody here knows; nothing is started in its place.
    time.sleep(3)
    assert lab.laptop.state(run_id) == "unreachable"
    assert lab.laptop.json("status")["counts"].get("unreachable") == 1
    lab.wire.mend()
    lab.check(run_id)


def test_a_host_that_is_back_before_its_run_has_ended_is_running_again(lab: Lab) -> None:
    run_id = lab.run_one(SILENT_S + 14)
    lab.laptop.is_state(run_id, "running")
    lab.wire.hang()
    lab.laptop.is_state(run_id, "unreachable")
    lab.wire.mend()
    lab.laptop.is_state(run_id, "running", "finalizing", "completed")
    lab.check(run_id)


@pytest.mark.parametrize("when", ["while it runs", "when it has ended"])
def test_a_worker_that_is_killed_while_it_is_cut_off_loses_nothing(lab: Lab, when: str) -> None:
    run_id = lab.run_one(3)
    lab.laptop.is_state(run_id, "running")
    lab.wire.cut()
    if when == "when it has ended":
        sealed = lab.gpu1.home_path / "store" / "runs" / run_id / "run_manifest.json"
        until(lambda: '"sealed_at"' in sealed.read_text() and '"seal": null' not in sealed.read_text(), "its end")
    lab.kill_worker()
    starting = threading.Thread(target=lab.start_worker)
    starting.start()
    time.sleep(2)
    lab.wire.mend()
    starting.join()
    lab.check(run_id)


def test_a_host_whose_key_is_revoked_is_not_heard(lab: Lab) -> None:
    lab.control.run("host", "add", "gpu2", "--quiet")
    assert "gpu2" in lab.control.run("host", "list").stdout
    lab.control.run("host", "rm", "gpu2")
    assert "gpu2" not in lab.control.run("host", "list").stdout


def test_prefect_shows_the_run_as_completed(lab: Lab) -> None:
    run_id = lab.run_one(1)
    lab.check(run_id)

    def state() -> str:
        with lab.control.prefect() as client:
            found = client.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [run_id]}}})
        return str(found[0]["state_type"])

    until(lambda: state() == "COMPLETED", "Prefect to know it")
