"""The checks a plan must pass: a pure function that collects every fault.

Asked before a run is queued, where a fault keeps it out of the queue, and again by the worker with what it finds in
the store, where a fault refuses the run before anything starts.
"""

from collections import Counter
from dataclasses import dataclass

from fetchml.admission.decide import Resource, fits_never
from fetchml.models.manifest import TrustLevel
from fetchml.models.plan import EngineKind, EnvironmentMode, Network, Plan
from fetchml.models.resources import GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import format_size


@dataclass(frozen=True, slots=True)
class Fault:
    """One check that failed."""

    check: str
    """Stable id of the check."""
    expected: str
    actual: str
    hint: str

    def __str__(self) -> str:
        return f"{self.check}: expected {self.expected}, found {self.actual}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about a plan; None means it was not looked at."""

    plan: Plan
    capacity: HostCapacity
    recorded_sha256: str | None = None
    """Plan hash in the manifest."""
    snapshot_fault: str | None = None
    """Why the snapshot could not be verified."""
    script_present: bool | None = None
    """Whether the script is a file of the snapshot."""
    workdir_present: bool | None = None
    """Whether the working folder is in the snapshot."""
    image_digest: str | None = None
    """Digest of the image of that name on this host; empty if there is none."""


def check(facts: Facts) -> tuple[Fault, ...]:
    """Returns every fault of a plan, in a fixed order; empty if it may run."""
    plan = facts.plan
    faults: list[Fault] = []
    if facts.recorded_sha256 is not None and facts.recorded_sha256 != plan.sha256:
        faults.append(
            Fault(
                "plan_sha256",
                facts.recorded_sha256,
                plan.sha256,
                "the plan was changed after it was queued; queue again",
            )
        )
    if facts.snapshot_fault is not None:
        faults.append(
            Fault("snapshot", "every file with its digest", facts.snapshot_fault, "queue again from the code")
        )
    if facts.script_present is False:
        faults.append(
            Fault(
                "script",
                f"`{plan.command.script}` in the snapshot",
                "no such file",
                "take it out of .gitignore and .fetchmlignore",
            )
        )
    if facts.workdir_present is False:
        faults.append(
            Fault(
                "workdir",
                f"`{plan.command.workdir}` in the snapshot",
                "no such folder",
                "queue from a folder with code",
            )
        )
    if facts.image_digest is not None and plan.image is not None and facts.image_digest != plan.image.digest:
        found = facts.image_digest or "no such image"
        faults.append(
            Fault(
                "image",
                plan.image.digest,
                found,
                f"the image `{plan.image.reference}` was removed since; get it back, or queue again with another",
            )
        )
    faults += _resource_faults(facts)
    if plan.network is Network.NONE and not plan.engine.isolates:
        faults.append(
            Fault(
                "network",
                "an engine that can cut a run off",
                "the process engine, which cannot",
                "use `--engine docker`, or set `network: bridge`",
            )
        )
    return tuple(faults)


def trust_level(plan: Plan) -> TrustLevel:
    """Returns the rung of the trust ladder that a plan reaches (DESIGN.md section 5).

    L1: the snapshot is verified. L2: the environment is built from a hashed manifest. L3: the image is pinned too.
    A plain process shares the host's libraries and ends at L2.
    """
    if plan.environment.mode is not EnvironmentMode.LOCKED:
        return "L1"
    return "L3" if plan.engine.isolates and plan.image is not None else "L2"


def _has_nvidia(capacity: HostCapacity) -> bool:
    return not capacity.devices or any(device.vendor is GpuVendor.NVIDIA for device in capacity.devices)


def _gpu_fault(request: ResourceRequest, capacity: HostCapacity) -> Fault:
    kinds = Counter(
        f"{device.vendor} {format_size(device.memory_bytes)}" if device.memory_bytes else f"{device.vendor}"
        for device in capacity.devices
    )
    has = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items())) or "none"
    least = f" of at least {format_size(request.gpu_memory_bytes)}" if request.gpu_memory_bytes else ""
    vendor = f" by {request.gpu_vendor}" if request.gpu_vendor not in (None, GpuVendor.NONE) else ""
    return Fault(
        "resources.gpus",
        f"GPUs that host `{capacity.host}` has ({has})",
        f"{request.gpus:g}{least}{vendor}",
        "ask for less with `--gpus` or `--gpu-memory`",
    )


def _resource_faults(facts: Facts) -> list[Fault]:
    request = facts.plan.resources
    faults: list[Fault] = []
    if 0 < request.gpus < 1:
        faults.append(
            Fault(
                "gpus", "a whole number of GPUs", f"{request.gpus:g}", "shares of a GPU are not placed yet; ask for 1"
            )
        )
    if request.gpu_memory_bytes is not None and not request.gpus:
        faults.append(
            Fault("gpu_memory", "at least one GPU with it", "no GPU asked for", "add `--gpus 1`, or leave it out")
        )
    if request.gpus and facts.plan.engine is EngineKind.PODMAN:
        faults.append(
            Fault("gpus", "an engine that can pass GPUs on", "podman, whose API ignores them", "use `--engine docker`")
        )
    if request.gpus and facts.plan.engine is EngineKind.DOCKER and not _has_nvidia(facts.capacity):
        faults.append(
            Fault(
                "gpus",
                "GPUs by nvidia, the only ones that are passed to containers",
                "none on this host",
                "use `--engine process`",
            )
        )
    for reason in fits_never(request, facts.capacity):
        if reason.resource is Resource.GPUS:
            faults.append(_gpu_fault(request, facts.capacity))
            continue
        needed = format_size(int(reason.needed)) if reason.resource == "memory" else f"{reason.needed:g}"
        has = format_size(int(reason.available)) if reason.resource == "memory" else f"{reason.available:g}"
        faults.append(
            Fault(
                f"resources.{reason.resource}",
                f"at most the {has} that host `{facts.capacity.host}` has",
                needed,
                f"ask for less with `--{reason.resource}`",
            )
        )
    return faults
