"""The checks a plan must pass: a pure function that collects every fault.

Asked before a run is queued, where a fault keeps it out of the queue, and again by the worker with what it finds in
the store, where a fault refuses the run before anything starts.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from fetchml.admission.decide import fits_never
from fetchml.admission.lab import HostState
from fetchml.admission.needs import Needs
from fetchml.admission.reasons import Blocker
from fetchml.containers import runs_on
from fetchml.models.dataset import mount_fault, overlaps, variable_of
from fetchml.models.manifest import ReproPolicy
from fetchml.models.plan import (
    Command,
    DatasetPlan,
    EngineKind,
    EnvironmentMode,
    EnvironmentPlan,
    ImagePlan,
    Network,
    Plan,
)
from fetchml.models.resources import Device, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import format_size

_AMOUNTS = (Blocker.CPUS, Blocker.MEMORY, Blocker.DISK)
_ADD_MANIFEST = "add one (`uv lock`, or `pip freeze > requirements.txt`)"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out about a run; None means that it was not looked at, or that a fault kept it from being known.

    The parts of the plan are apart, so that one which cannot be told does not hide what is wrong with the others.
    """

    capacity: HostCapacity
    """What the host offers that looks."""
    hosts: tuple[HostState, ...] = ()
    """The hosts of the lab, in whatever state; empty: the one that looks is all there is."""
    host: str | None = None
    """The one host it may go to; None: any."""
    user: str = ""
    group: str | None = None
    """Whose run it is: some hosts are kept for others."""
    policy: ReproPolicy = "best-effort"
    command: Command | None = None
    environment: EnvironmentPlan | None = None
    engine: EngineKind | None = None
    image: ImagePlan | None = None
    resources: ResourceRequest | None = None
    network: Network | None = None
    datasets: tuple[DatasetPlan, ...] = ()
    dataset_faults: tuple[Fault, ...] = ()
    """Datasets that are not what the plan says, as found on this host."""
    as_is_chosen: bool | None = None
    """Whether the user asked for an environment that is used as it is."""
    plan_sha256: str | None = None
    """Hash of the plan, computed now."""
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
    image_architecture: str = ""
    """What the image is made for; empty if it does not say."""
    engine_architecture: str = ""
    """What the engine's containers run on; empty if it does not say."""

    @classmethod
    def of(cls, plan: Plan, capacity: HostCapacity, **found: Any) -> Self:
        """Returns the facts about a whole plan.

        Args:
            plan: The plan.
            capacity: What the host offers.
            found: The other fields.
        """
        return cls(
            capacity=capacity,
            command=plan.command,
            environment=plan.environment,
            engine=plan.engine,
            image=plan.image,
            resources=plan.resources,
            network=plan.network,
            datasets=plan.datasets,
            plan_sha256=plan.sha256,
            **found,
        )

    @property
    def lab(self) -> tuple[HostState, ...]:
        """The hosts it may go to."""
        return self.hosts or (HostState(self.capacity),)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices of all of them."""
        return tuple(device for state in self.lab for device in state.capacity.devices)


def check(facts: Facts) -> tuple[Fault, ...]:
    """Returns every fault, in a fixed order; empty if the run may start."""
    return (
        *_identity_faults(facts),
        *_architecture_faults(facts),
        *_policy_faults(facts),
        *(_resource_faults(facts, facts.resources) if facts.resources is not None else ()),
        *_network_faults(facts),
        *facts.dataset_faults,
        *_place_faults(facts),
    )


def _identity_faults(facts: Facts) -> Iterator[Fault]:
    """Compares what is there with what was recorded."""
    if None not in (facts.recorded_sha256, facts.plan_sha256) and facts.recorded_sha256 != facts.plan_sha256:
        yield Fault(
            "plan_sha256",
            str(facts.recorded_sha256),
            str(facts.plan_sha256),
            "the plan was changed after it was queued; queue again",
        )
    if facts.snapshot_fault is not None:
        yield Fault("snapshot", "every file with its digest", facts.snapshot_fault, "queue again from the code")
    if facts.command is not None and facts.script_present is False:
        yield Fault(
            "script",
            f"`{facts.command.script}` in the snapshot",
            "no such file",
            "take it out of .gitignore and .fetchmlignore",
        )
    if facts.command is not None and facts.workdir_present is False:
        yield Fault(
            "workdir", f"`{facts.command.workdir}` in the snapshot", "no such folder", "queue from a folder with code"
        )
    if facts.image_digest is not None and facts.image is not None and facts.image_digest != facts.image.digest:
        yield Fault(
            "image",
            facts.image.digest,
            facts.image_digest or "no such image",
            f"the image `{facts.image.reference}` was removed since; get it back, or queue again with another",
        )


def _architecture_faults(facts: Facts) -> Iterator[Fault]:
    if facts.image is not None and not runs_on(facts.image_architecture, facts.engine_architecture):
        yield Fault(
            "image.architecture",
            f"an image for `{facts.engine_architecture}`, as the engine of this host",
            f"`{facts.image.reference}` for `{facts.image_architecture}`",
            f"`{facts.engine} pull --platform linux/{facts.engine_architecture} {facts.image.reference}`, "
            "or another image",
        )


def _policy_faults(facts: Facts) -> Iterator[Fault]:
    """Applies what the policy `strict` asks for: every input of the run is named by its digest."""
    environment = facts.environment
    if facts.policy != "strict" or environment is None or environment.mode is EnvironmentMode.LOCKED:
        return
    if facts.engine is not None and not facts.engine.isolates:
        yield Fault(
            "dependencies",
            "a dependency manifest, as the policy is strict",
            "none: the packages of this host would be used as they are",
            f"{_ADD_MANIFEST}, or queue with `--repro-policy best-effort`",
        )
    elif facts.as_is_chosen is False:
        yield Fault(
            "dependencies",
            "a dependency manifest, as the policy is strict",
            "none",
            f"{_ADD_MANIFEST}, take the packages of the image with `environment.mode: as-is`, "
            "or queue with `--repro-policy best-effort`",
        )


def _network_faults(facts: Facts) -> Iterator[Fault]:
    if facts.network is Network.NONE and facts.engine is not None and not facts.engine.isolates:
        yield Fault(
            "network",
            "an engine that can cut a run off",
            "the process engine, which cannot",
            "use `--engine docker`, or set `network: bridge`",
        )


def _place_faults(facts: Facts) -> Iterator[Fault]:
    """Checks where the datasets go; what a spec alone can tell was checked when it was read."""
    seen: dict[str, str] = {}
    for item in facts.datasets:
        name = variable_of(item.name)
        if name in seen:
            yield Fault(
                "dataset",
                f"a variable of its own for `{item.name}`",
                f"`{name}`, which is that of `{seen[name]}`",
                "add one of the two under another name",
            )
        seen[name] = item.name
        if facts.engine is not None and not facts.engine.isolates and item.mount is not None:
            yield Fault(
                "dataset",
                f"an engine that can mount `{item.name}` at `{item.mount}`",
                "the process engine, which cannot",
                f"read the place from `{name}` and leave `:{item.mount}` out, or use a container",
            )
        fault = mount_fault(item.mount) if item.mount is not None else None
        if fault is not None:
            yield Fault("dataset", f"a place for `{item.name}`", f"`{item.mount}`: {fault}", "choose another place")
    mounts = [(item.mount, item.name) for item in facts.datasets if item.mount is not None]
    for number, (mount, name) in enumerate(mounts):
        for other, owner in mounts[:number]:
            if overlaps(mount, other):
                yield Fault(
                    "dataset",
                    f"a place of its own for `{name}`",
                    f"`{mount}`, where `{owner}` is at `{other}`",
                    f"give it another place: `--data {name}:/path`",
                )


def _is_passed(device: Device, engine: EngineKind) -> bool:
    """Tells whether an engine can give a device to a container: by its files, or as Docker's request of NVIDIA's."""
    return bool(device.nodes) or (device.vendor is GpuVendor.NVIDIA and engine is EngineKind.DOCKER)


def _passing_faults(facts: Facts, request: ResourceRequest) -> Iterator[Fault]:
    engine, devices = facts.engine, facts.devices
    if not request.gpus or engine is None or not engine.isolates:
        return
    wanted = [device for device in devices if request.gpu_vendor in (None, GpuVendor.NONE, device.vendor)]
    if wanted and not any(_is_passed(device, engine) for device in wanted):
        vendors = " and ".join(sorted({str(device.vendor) for device in wanted}))
        hint = "use `--engine process`"
        if engine is EngineKind.PODMAN and any(_is_passed(device, EngineKind.DOCKER) for device in wanted):
            hint = "use `--engine docker`"
        yield Fault("gpus", f"GPUs that {engine} can pass to a container", f"only those of {vendors}", hint)


def _whose(facts: Facts) -> str:
    """Names the hosts, for people."""
    return f"host `{facts.lab[0].name}`" if len(facts.lab) == 1 else "any host of the lab"


def _gpu_fault(request: ResourceRequest, facts: Facts) -> Fault:
    kinds = Counter(
        f"{device.vendor} {format_size(device.memory_bytes)}" if device.memory_bytes else f"{device.vendor}"
        for device in facts.devices
    )
    has = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items())) or "none"
    least = f" of at least {format_size(request.gpu_memory_bytes)}" if request.gpu_memory_bytes else ""
    most = f" of at most {format_size(request.gpu_memory_max_bytes)}" if request.gpu_memory_max_bytes else ""
    model = f" of model `{request.gpu_model}`" if request.gpu_model else ""
    vendor = f" by {request.gpu_vendor}" if request.gpu_vendor not in (None, GpuVendor.NONE) else ""
    return Fault(
        "resources.gpus",
        f"GPUs that {_whose(facts)} has ({has})",
        f"{request.gpus:g}{least}{most}{model}{vendor}",
        "ask for less with `--gpus` or `--gpu-memory`",
    )


def _resource_faults(facts: Facts, request: ResourceRequest) -> list[Fault]:
    faults: list[Fault] = []
    about_devices = {
        "gpu_memory": request.gpu_memory_bytes or request.gpu_memory_max_bytes,
        "gpu_model": request.gpu_model,
    }
    for check_id, value in about_devices.items() if not request.gpus else ():
        if value is not None:
            faults.append(
                Fault(check_id, "at least one GPU with it", "no GPU asked for", "add `--gpus 1`, or leave it out")
            )
    faults += _passing_faults(facts, request)
    reasons = fits_never(Needs.of(request, host=facts.host), facts.lab, facts.user, facts.group)
    for reason in reasons:
        if reason.blocker.is_about_gpus:
            continue
        if reason.blocker not in _AMOUNTS:
            faults.append(Fault("resources.host", "a host that can run it", str(reason), "ask for another host"))
            continue
        is_size = reason.blocker is not Blocker.CPUS
        needed = format_size(int(reason.needed)) if is_size else f"{reason.needed:g}"
        has = format_size(int(reason.available)) if is_size else f"{reason.available:g}"
        faults.append(
            Fault(
                f"resources.{reason.blocker}",
                f"at most the {has} that {_whose(facts)} has",
                needed,
                f"ask for less with `--{reason.blocker}`",
            )
        )
    if any(reason.blocker.is_about_gpus for reason in reasons):
        faults.append(_gpu_fault(request, facts))
    return faults
