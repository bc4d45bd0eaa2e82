"""What a run looks like in Prefect: tasks, states, logs, an artifact; and how store and Prefect are kept in step."""

import os
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fetchml.prefect_api.client import PrefectClient
from stack import Stack, until

pytestmark = pytest.mark.prefect


@pytest.fixture
def client(running_stack: Stack) -> Iterator[PrefectClient]:
    with running_stack.prefect() as made:
        yield made


def flow_run_of(client: PrefectClient, run_id: str) -> dict[str, Any]:
    (found,) = client.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [run_id]}}})
    return found


def in_state(client: PrefectClient, run_id: str, *states: str) -> Callable[[], dict[str, Any] | None]:
    def look() -> dict[str, Any] | None:
        found = flow_run_of(client, run_id)
        return found if found["state_type"] in states else None

    return look


def tasks_of(client: PrefectClient, flow_run_id: str) -> dict[str, str]:
    body = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
    found = client.post("/task_runs/filter", body)
    return {item["name"].rsplit("-", 1)[0]: item["state_type"] for item in found}


def test_a_run_is_a_flow_run_with_four_tasks(running_stack: Stack, client: PrefectClient) -> None:
    run_id = running_stack.queue("--engine", "process", "--", "echo", "hello from the payload")
    (manifest,) = running_stack.ended(run_id)
    found = until(in_state(client, run_id, "COMPLETED"), "Prefect to see the end")
    assert manifest.prefect is not None
    assert manifest.prefect.flow_run_id == found["id"]
    tasks = until(
        lambda: t if len(t := tasks_of(client, found["id"])) == 4 and set(t.values()) == {"COMPLETED"} else None,
        "four task runs",
    )
    assert set(tasks) == {"preflight", "prewarm", "container-run", "manifest-finalize"}


def test_the_payloads_output_is_in_the_log_of_the_flow_run(running_stack: Stack, client: PrefectClient) -> None:
    run_id = running_stack.queue("--engine", "process", "--", "printf", r"one\ntwo \033[31mred\n")
    running_stack.ended(run_id)
    flow_run = flow_run_of(client, run_id)

    def shown() -> str | None:
        found = client.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [flow_run["id"]]}}, "limit": 200})
        text = "\n".join(item["message"] for item in found)
        return text if "two" in text else None

    text = until(shown, "the output in Prefect")
    assert "one" in text
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text
    log = (running_stack.home_path / "services" / "worker.log").read_text()
    assert "two \\x1b" not in log, "payloads do not print into the worker's log"


def test_a_markdown_page_shows_plan_and_result(running_stack: Stack, client: PrefectClient) -> None:
    run_id = running_stack.queue("--engine", "process", "--name", "a | b <c>", "--", "sh", "-c", "echo bad; exit 3")
    running_stack.ended(run_id)
    until(in_state(client, run_id, "FAILED"), "Prefect to see the end")
    key = f"run-{run_id.replace('_', '-')}"
    (artifact,) = client.post("/artifacts/filter", {"artifacts": {"key": {"any_": [key]}}})
    page = artifact["data"]
    assert artifact["type"] == "markdown"
    assert running_stack.manifest(run_id).plan.plan_sha256 in page
    assert "exited with code 3" in page
    assert "<c>" not in page


def test_a_failed_run_is_a_failed_flow_run_that_says_why(running_stack: Stack, client: PrefectClient) -> None:
    run_id = running_stack.queue("--engine", "process", "--", "sh", "-c", "exit 4")
    running_stack.ended(run_id)
    found = until(in_state(client, run_id, "FAILED"), "Prefect to see the end")
    assert "code_error" in found["state"]["message"]
    expected = {
        "preflight": "COMPLETED",
        "prewarm": "COMPLETED",
        "container-run": "FAILED",
        "manifest-finalize": "COMPLETED",
    }
    # Prefect's server learns the states of tasks from events, some time later.
    until(lambda: tasks_of(client, found["id"]) == expected, "the states of the four tasks")


def test_a_deleted_flow_run_is_made_again(running_stack: Stack, client: PrefectClient) -> None:
    cpus = str(len(os.sched_getaffinity(0)))
    blocker = running_stack.queue("--engine", "process", "--cpus", cpus, "--", *running_stack.gate("deleted"))
    running_stack.is_state(blocker, "running")
    waiting = running_stack.queue("--engine", "process", "--cpus", cpus, "--", "true")
    _delete(client, flow_run_of(client, waiting)["id"])
    running_stack.run("doctor", check=False)
    running_stack.open_gate("deleted")
    (manifest,) = running_stack.ended(waiting)
    assert manifest.status.state == "completed"


def test_a_retry_asked_for_in_prefect_starts_nothing_twice(running_stack: Stack, client: PrefectClient) -> None:
    run_id = running_stack.queue("--engine", "process", "--", "true")
    (manifest,) = running_stack.ended(run_id)
    found = until(in_state(client, run_id, "COMPLETED"), "Prefect to see the end")
    client.post(f"/flow_runs/{found['id']}/set_state", {"state": {"type": "SCHEDULED"}, "force": True})
    running_stack.run("doctor", check=False)
    until(in_state(client, run_id, "COMPLETED"), "the flow run to be closed again")
    assert running_stack.manifest(run_id) == manifest


def test_a_paused_pool_holds_runs_back(running_stack: Stack, client: PrefectClient) -> None:
    client.patch("/work_pools/fetchml", {"is_paused": True})
    try:
        held = running_stack.queue("--engine", "process", "--", "true")
        until(
            lambda: flow_run_of(client, held)["state_name"] == "Late",
            "Prefect to call it late, so the worker has looked several times",
        )
        assert running_stack.state(held) == "queued"
    finally:
        client.patch("/work_pools/fetchml", {"is_paused": False})
    (manifest,) = running_stack.ended(held)
    assert manifest.status.state == "completed"


def _delete(client: PrefectClient, flow_run_id: str) -> None:
    request = urllib.request.Request(f"{client.api_url}/flow_runs/{flow_run_id}", method="DELETE")
    with urllib.request.urlopen(request) as response:
        assert response.status == 204
