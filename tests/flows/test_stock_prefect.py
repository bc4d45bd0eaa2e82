"""Stock Prefect commands find what fetchml brings: pool type, worker, blocks, flow."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fetchml.daemons.server import PrivateServer
from fetchml.prefect_api.client import PrefectClient
from fetchml.prefect_api.dispatch import base_job_template
from stack import WITNESS, Stack, until

pytestmark = pytest.mark.prefect


def prefect(stack: Stack, api_url: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**stack.env, "PREFECT_API_URL": api_url, "PREFECT_HOME": str(stack.path / "prefect-cli")}
    return subprocess.run(
        [sys.executable, "-m", "prefect", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_prefect_creates_a_pool_of_our_type(server_stack: Stack, api_url: str, client: PrefectClient) -> None:
    done = prefect(server_stack, api_url, "work-pool", "create", "stock-pool", "--type", "fetchml")
    assert done.returncode == 0, done.stdout + done.stderr
    found = client.get("/work_pools/stock-pool")
    assert found["type"] == "fetchml"
    assert found["base_job_template"] == base_job_template()


def test_prefect_registers_our_blocks(server_stack: Stack, api_url: str, client: PrefectClient) -> None:
    done = prefect(server_stack, api_url, "block", "register", "-m", "fetchml.blocks")
    assert done.returncode == 0, done.stdout + done.stderr
    found = client.post("/block_types/filter", {"limit": 200})
    assert {"fetchml-container-engine", "fetchml-run-store"} <= {item["slug"] for item in found}


def test_the_shipped_template_is_the_workers_own() -> None:
    code = (
        "import json; from fetchml.worker.prefect_worker import FetchmlWorker; "
        "print(json.dumps(FetchmlWorker.get_default_base_job_template()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import json

    assert json.loads(done.stdout) == base_job_template()


def test_the_stock_worker_command_runs_what_was_queued(tmp_path: Path, migrated_database: Path) -> None:
    stack = Stack(tmp_path / "stack", migrated_database)
    worker: subprocess.Popen[bytes] | None = None
    try:
        stack.home.create()
        PrivateServer(stack.home.settings).start(lambda _: None)
        api_url = PrivateServer(stack.home.settings).api_url
        assert api_url is not None
        environment = {
            **stack.env,
            "PREFECT_API_URL": api_url,
            "PREFECT_HOME": str(stack.home_path / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "fetchml", "--type", "fetchml"]
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        until(lambda: stack.json("server", "status")["worker_alive"] if _up(stack) else None, "the worker to be seen")
        stack.script("witness.py", WITNESS)
        run_id = stack.queue("--engine", "process", "witness.py", "0.2")
        (manifest,) = stack.ended(run_id)
        assert manifest.status.state == "completed"
        assert len(stack.witnesses(run_id)) == 1
        second = stack.run("up", check=False)
        assert second.returncode == 0, "the worker that runs is left alone"
    finally:
        if worker is not None:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
        stack.close()


def test_a_flow_run_nobody_queued_is_turned_away(running_stack: Stack) -> None:
    with running_stack.prefect() as client:
        deployment = client.get("/deployments/name/run-experiment/fetchml")
        made = client.post(
            f"/deployments/{deployment['id']}/create_flow_run",
            {"name": "by-hand", "parameters": {"run_id": "by-hand"}, "state": {"type": "SCHEDULED"}},
        )
        ended = until(
            lambda: found if (found := client.get(f"/flow_runs/{made['id']}"))["state_type"] == "CANCELLED" else None,
            "the worker to turn it away",
        )
    assert "fetchml queue" in ended["state"]["message"]


def test_the_flow_runs_of_another_store_are_left_alone(running_stack: Stack) -> None:
    with running_stack.prefect() as client:
        deployment = client.get("/deployments/name/run-experiment/fetchml")
        made = client.post(
            f"/deployments/{deployment['id']}/create_flow_run",
            {
                "name": "2026-11-20_aaaaaa",
                "parameters": {"run_id": "2026-11-20_aaaaaa"},
                "tags": ["fetchml", "store:another"],
                "state": {"type": "SCHEDULED"},
            },
        )
        until(
            lambda: client.get(f"/flow_runs/{made['id']}")["state_name"] == "Late",
            "Prefect to call it late, so the worker has looked several times",
        )
        assert client.get(f"/flow_runs/{made['id']}")["state_type"] == "SCHEDULED"


def _up(stack: Stack) -> bool:
    done = stack.run("server", "status", check=False)
    return done.returncode == 0 and os.path.exists(stack.home_path / "services" / "worker.json")
