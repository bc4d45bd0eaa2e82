"""Valid values to start a test from; each takes what the test is about as arguments."""

from datetime import UTC, datetime
from typing import Any

from fetchml.models.claim import Claim, ClaimKind
from fetchml.models.host import boot_id, host_name
from fetchml.models.manifest import (
    CommandRecord,
    Environment,
    Identity,
    PlanTrace,
    Resources,
    RunManifest,
    Times,
)
from fetchml.models.plan import Command, EngineKind, EnvironmentMode, EnvironmentPlan, ImagePlan, Network, Plan
from fetchml.models.resources import ResourceRequest
from fetchml.models.status import Queued
from fetchml.models.units import GIB

MOMENT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RUN_ID = "2026-11-20_k3f9q2"
SNAPSHOT_ID = "5e" * 32
IMAGE_DIGEST = "sha256:" + "1a" * 32


def make_plan(**changes: Any) -> Plan:
    """Returns the plan of `python train.py --lr 0.1` on the process engine."""
    fields: dict[str, Any] = {
        "snapshot_id": SNAPSHOT_ID,
        "command": Command(argv=("python", "train.py", "--lr", "0.1"), script="train.py"),
        "environment": EnvironmentPlan(mode=EnvironmentMode.AS_IS, python="/usr/bin/python3"),
        "engine": EngineKind.PROCESS,
        "resources": ResourceRequest(cpus=1, memory_bytes=GIB),
        "network": Network.BRIDGE,
    }
    return Plan(**{**fields, **changes})


def make_container_plan(**changes: Any) -> Plan:
    """Returns the same plan for Docker."""
    fields: dict[str, Any] = {
        "engine": EngineKind.DOCKER,
        "image": ImagePlan(reference="base", digest=IMAGE_DIGEST),
        "environment": EnvironmentPlan(mode=EnvironmentMode.AS_IS),
    }
    return make_plan(**{**fields, **changes})


def make_manifest(plan: Plan | None = None, run_id: str = RUN_ID, **changes: Any) -> RunManifest:
    """Returns the manifest of a run that was queued a moment ago."""
    plan = plan or make_plan()
    fields: dict[str, Any] = {
        "identity": Identity(
            run_id=run_id, name="train", user="ada", host=host_name(), commit_id=plan.snapshot_id, priority=5
        ),
        "command": CommandRecord(argv=plan.command.argv, workdir=plan.command.workdir),
        "status": Queued(since=MOMENT),
        "times": Times(queued_at=MOMENT),
        "plan": PlanTrace(repro_policy="best-effort", trust_level="L1", plan_sha256=plan.sha256),
        "environment": Environment(mode=plan.environment.mode.value, fetchml="0.1.0"),
        "resources": Resources(requested=plan.resources),
    }
    return RunManifest(**{**fields, **changes})


def make_claim(run_id: str = RUN_ID, attempt: int = 1, **changes: Any) -> Claim:
    """Returns a claim of this host to run an attempt."""
    fields: dict[str, Any] = {
        "run_id": run_id,
        "attempt": attempt,
        "kind": ClaimKind.RUN,
        "host": host_name(),
        "worker": "test",
        "boot_id": boot_id(),
        "token": "0" * 64,
        "claimed_at": MOMENT,
        "cpus": 1,
        "memory_bytes": GIB,
    }
    return Claim(**{**fields, **changes})
