"""The private server and the worker: started once, found again, stopped, on loopback only."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stack import TIMEOUT_S, Stack, until

pytestmark = pytest.mark.prefect


def test_up_and_down_and_up_again(stack: Stack) -> None:
    assert stack.run("server", "status", check=False).returncode == 6
    first = stack.json("up")
    assert first["server_answers"]
    assert first["worker_alive"]
    again = stack.json("up")
    assert (again["server_pid"], again["worker_pid"]) == (first["server_pid"], first["worker_pid"])
    assert stack.run("server", "status").returncode == 0
    stack.run("down")
    assert stack.processes() == []
    assert stack.run("server", "status", check=False).returncode == 6
    assert stack.run("down").stdout == "nothing was running\n"
    assert stack.json("up")["worker_alive"]


def test_two_callers_start_one_of_each(stack: Stack) -> None:
    results: list[dict[str, object]] = []
    threads = [threading.Thread(target=lambda: results.append(stack.json("up"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len({result["server_pid"] for result in results}) == 1
    assert len({result["worker_pid"] for result in results}) == 1


def test_homes_that_come_up_at_once_have_servers_of_their_own(tmp_path: Path, migrated_database: Path) -> None:
    stacks = [Stack(tmp_path / str(number), migrated_database) for number in range(3)]
    try:
        for process in [stack.start("up") for stack in stacks]:
            assert process.wait(TIMEOUT_S) == 0
        found = [stack.json("server", "status") for stack in stacks]
        assert all(status["server_answers"] for status in found)
        assert len({status["api_url"] for status in found}) == len(stacks)
    finally:
        for stack in stacks:
            stack.close()


def test_the_api_listens_on_loopback_only(running_stack: Stack) -> None:
    url = running_stack.json("server", "status")["api_url"]
    port = int(url.split(":")[2].split("/")[0])
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ]
    assert listening == [f"0100007F:{port:04X}"]


def test_a_port_that_is_taken_is_said_so(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack.extra_env["FETCHML_PREFECT_PORT"] = str(port)
        done = stack.run("up", check=False)
    assert done.returncode == 2
    assert f"port {port} is taken" in done.stderr
    assert "hint:" in done.stderr
    assert stack.processes() == []


def test_an_existing_server_is_used_and_left_alone(tmp_path: Path, running_stack: Stack) -> None:
    api_url = running_stack.json("server", "status")["api_url"]
    guest = Stack(tmp_path / "guest", None, {"FETCHML_PREFECT_POOL": "guest"})
    try:
        status = guest.json("up", "--prefect-api-url", api_url)
        assert not status["private"]
        assert status["worker_alive"]
        assert not (guest.home_path / "prefect").exists()
        guest.extra_env["PREFECT_API_URL"] = api_url
        run_id = guest.queue("--engine", "process", "--", "true")
        (manifest,) = guest.ended(run_id)
        assert manifest.status.state == "completed"
        assert manifest.prefect is not None
        assert manifest.prefect.api_url == api_url
    finally:
        guest.close()
    assert running_stack.run("server", "status").returncode == 0


def test_an_existing_server_that_is_silent_is_an_error(stack: Stack) -> None:
    done = stack.run("up", "--prefect-api-url", "http://127.0.0.1:9/api", check=False)
    assert done.returncode == 6
    assert "does not answer" in done.stderr


@pytest.mark.parametrize(
    "words", [("fetchml.worker",), ("prefect", "worker", "start", "--type", "fetchml")], ids=["ours", "prefect's"]
)
def test_a_second_worker_of_one_home_is_refused(running_stack: Stack, words: tuple[str, ...]) -> None:
    api_url = running_stack.json("server", "status")["api_url"]
    done = subprocess.run(
        [sys.executable, "-m", *words, "--pool", "fetchml"],
        env={**running_stack.env, "PREFECT_API_URL": api_url, "PREFECT_HOME": str(running_stack.path / "p")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4
    said = done.stdout + done.stderr
    assert "another worker serves" in said
    assert "`fetchml down` stops it" in said
    assert "Traceback" not in said


def test_what_runs_outlives_down_and_is_adopted(stack: Stack) -> None:
    stack.run("up")
    run_id = stack.queue("--engine", "process", "--", *stack.gate())
    stack.is_state(run_id, "running")
    done = stack.run("down")
    assert "1 runs go on" in done.stderr
    stack.open_gate()
    stack.run("up")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed"
    assert stack.run("logs", run_id).stdout == "done\n"


def test_a_bad_override_keeps_the_worker_from_starting(stack: Stack) -> None:
    stack.extra_env["FETCH_ML_GPU_COUNT"] = "-1"
    done = stack.run("up", check=False)
    assert done.returncode == 6
    assert "FETCH_ML_GPU_COUNT" in done.stderr


def test_overrides_are_logged_and_published(stack: Stack) -> None:
    stack.extra_env |= {"FETCH_ML_GPU_TYPE": "nvidia", "FETCH_ML_GPU_COUNT": "2", "FETCH_ML_TOTAL_CPU": "7"}
    stack.run("up")
    log = (stack.home_path / "services" / "worker.log").read_text()
    assert "FETCH_ML_GPU_COUNT=2" in log
    run_id = stack.queue("--engine", "process", "--gpus", "2", "--cpus", "6", "--", "env")
    (manifest,) = stack.ended(run_id)
    assert manifest.placement is not None
    assert len(manifest.placement.device_ids) == 2
    assert manifest.hardware is not None
    assert manifest.hardware.gpu_detection == "env"
    assert "CUDA_VISIBLE_DEVICES=0,1" in stack.run("logs", run_id).stdout
    refused = stack.run("queue", "--engine", "process", "--gpus", "3", "--", "true", check=False)
    assert refused.returncode == 5
    until(lambda: stack.json("server", "status")["worker_alive"], "the worker to live")
