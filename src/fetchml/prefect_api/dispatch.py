"""What fetchml keeps in Prefect: a work pool, one queue for each priority, one deployment, one flow run an attempt.

All of it can be made again at any time and making it twice changes nothing; the run store is the truth.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, cast

from fetchml.errors import Conflict, NotFound
from fetchml.models.ids import idempotency_key
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.models.status import Queued
from fetchml.prefect_api.client import PrefectClient

POOL_TYPE = "fetchml"
FLOW_NAME = "run-experiment"
DEPLOYMENT_NAME = "fetchml"
ENTRYPOINT = "fetchml.flows.run_experiment.run_experiment"
"""By module, never by path: a project may have a `flows` folder of its own."""

PRIORITIES = range(11)

STORE_TAG = "store:"
_PAGE = 200


def queue_name(priority: int) -> str:
    """Returns the work queue of a priority."""
    return f"priority-{priority}"


def priority_of(queue: str) -> int | None:
    """Returns the priority of a work queue, or None if it is none of ours."""
    prefix, _, number = queue.rpartition("-")
    return int(number) if prefix == "priority" and number.isdecimal() else None


def store_tag(store_id: str) -> str:
    """Returns the tag that marks the flow runs of a store."""
    return f"{STORE_TAG}{store_id}"


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The pool and deployment of one Prefect API."""

    client: PrefectClient
    pool: str
    deployment_id: str

    def create_flow_run(self, manifest: RunManifest, plan: Plan, attempt: int, store_id: str) -> str:
        """Creates the flow run of an attempt, or finds it if it was created before; returns its id.

        Args:
            manifest: The run.
            plan: Its plan, shown in the UI.
            attempt: Number of the attempt.
            store_id: Marks whose run it is: several stores may share one server.
        """
        identity, status = manifest.identity, manifest.status
        due = status.not_before if isinstance(status, Queued) else None
        scheduled = max(datetime.now(UTC), due or datetime.now(UTC))
        answer = self.client.post(
            f"/deployments/{self.deployment_id}/create_flow_run",
            {
                "name": identity.run_id,
                "parameters": {"run_id": identity.run_id, "attempt": attempt, "plan": plan.model_dump(mode="json")},
                "idempotency_key": idempotency_key(identity.run_id, attempt),
                "work_queue_name": queue_name(identity.priority),
                "tags": [store_tag(store_id), *_tags(manifest, attempt)],
                "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": scheduled.isoformat()}},
            },
        )
        return str(answer["id"])

    def remove_flow_runs(self, run_id: str, attempt: int, store_id: str) -> None:
        """Removes the flow runs of an attempt that has not started, so that another can be made.

        Args:
            run_id: The run.
            attempt: Number of the attempt.
            store_id: Marks whose run it is.
        """
        body = {
            "flow_runs": {
                "name": {"any_": [run_id]},
                "tags": {"all_": [store_tag(store_id)]},
                "state": {"type": {"any_": ["SCHEDULED"]}},
            },
            "limit": _PAGE,
        }
        for flow_run in cast("list[dict[str, Any]]", self.client.post("/flow_runs/filter", body)):
            if attempt_of(flow_run) == attempt:
                self.client.delete(f"/flow_runs/{flow_run['id']}")


def attempt_of(flow_run: Mapping[str, Any]) -> int:
    """Returns the attempt that a flow run is for; one that was made by hand counts as the first."""
    _, _, number = str(flow_run.get("idempotency_key") or "").rpartition(":")
    return int(number) if number.isdecimal() else 1


def connect(client: PrefectClient, pool: str) -> Dispatcher:
    """Returns the dispatcher of an API where everything is in place.

    Raises:
        NotFound: `bootstrap` has to be called first.
    """
    answer = client.get(f"/deployments/name/{FLOW_NAME}/{_deployment_name(pool)}")
    return Dispatcher(client, pool, str(answer["id"]))


def bootstrap(client: PrefectClient, pool: str) -> Dispatcher:
    """Makes the work pool, its queues and the deployment, as far as they are missing."""
    try:
        client.get(f"/work_pools/{pool}")
    except NotFound:
        try:
            client.post(
                "/work_pools/",
                {
                    "name": pool,
                    "type": POOL_TYPE,
                    "description": "fetchml runs, placed on this lab's devices",
                    "base_job_template": base_job_template(),
                },
            )
        except Conflict:
            pass  # someone else made it at this moment
    listed = cast("list[dict[str, Any]]", client.post(f"/work_pools/{pool}/queues/filter", {"limit": _PAGE}))
    existing = {str(item["name"]) for item in listed}
    # From low to high: a new queue goes to the top and moves the others down, so the order comes out right.
    for priority in PRIORITIES:
        if queue_name(priority) not in existing:
            body = {
                "name": queue_name(priority),
                "priority": 1,
                "description": f"runs of priority {priority}; higher priorities go first",
            }
            try:
                client.post(f"/work_pools/{pool}/queues", body)
            except Conflict:
                continue
    flow = client.post("/flows/", {"name": FLOW_NAME})
    deployment = client.post(
        "/deployments/",
        {
            "name": _deployment_name(pool),
            "flow_id": flow["id"],
            "entrypoint": ENTRYPOINT,
            "path": ".",
            "work_pool_name": pool,
            "work_queue_name": queue_name(5),
            "description": "One experiment from preflight to a sealed manifest. `fetchml queue` creates its runs.",
            "tags": ["fetchml"],
            "enforce_parameter_schema": False,
        },
    )
    return Dispatcher(client, pool, str(deployment["id"]))


@cache
def base_job_template() -> dict[str, Any]:
    """Returns the base job template of the pool type, as the worker class defines it."""
    text = files("fetchml.prefect_api").joinpath("base_job_template.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


def _deployment_name(pool: str) -> str:
    """Two pools on one server have a deployment each."""
    return DEPLOYMENT_NAME if pool == POOL_TYPE else f"{DEPLOYMENT_NAME}-{pool}"


def _tags(manifest: RunManifest, attempt: int) -> list[str]:
    identity = manifest.identity
    tags = ["fetchml", f"user:{identity.user}", *(f"tag:{tag}" for tag in identity.tags)]
    if identity.group:
        tags.append(f"group:{identity.group}")
    if attempt > 1:
        tags.append(f"attempt:{attempt}")
    return tags
