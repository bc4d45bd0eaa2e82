"""The lab of `requirements.md` §13: 14 nodes, three instruction sets' worth of hosts, four GPUs of three makers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from fetchml.admission.decide import Admit, Decision, Refuse, Wait, decide
from fetchml.admission.lab import Dedication, Forecast, Holding, HostState, Lab, Pending
from fetchml.admission.policy import Policy
from fetchml.models.resources import Arch, Device, DeviceShare, GpuVendor, HostCapacity, MemoryKind, ResourceRequest
from fetchml.models.units import GIB
from fetchml.testing.builders import MOMENT

HOUR_S = 3600.0
NOBODY = Dedication()
"""Kept for no one, for ever: the control plane."""


def node(
    name: str,
    cpus: float,
    memory_gib: int,
    *,
    arch: Arch = Arch.AMD64,
    vendor: GpuVendor | None = None,
    model: str = "",
    gpu_gib: int | None = None,
    kind: MemoryKind = MemoryKind.DEDICATED,
    slots: int | None = None,
    **state: object,
) -> HostState:
    """Returns a node with at most one GPU, which is called after it."""
    device = Device(
        id=f"{name}-gpu",
        vendor=vendor or GpuVendor.NONE,
        model=model,
        memory_bytes=None if gpu_gib is None else gpu_gib * GIB,
        memory_kind=kind,
        slots=slots,
    )
    capacity = HostCapacity(
        host=name, cpus=cpus, memory_bytes=memory_gib * GIB, devices=(device,) if vendor else (), arch=arch
    )
    return HostState(capacity, **state)


NODES: dict[str, HostState] = {
    item.name: item
    for item in (
        node("storm", 4, 16, dedication=NOBODY),
        node("bruenor", 4, 16, dedication=NOBODY),
        node("catti", 4, 16, dedication=NOBODY),
        node("elminster", 16, 62, vendor=GpuVendor.NVIDIA, model="NVIDIA GeForce RTX 2070", gpu_gib=8),
        node("khelben", 32, 94, vendor=GpuVendor.AMD, model="AMD Strix Halo", gpu_gib=32),
        node("drizzt", 16, 27, vendor=GpuVendor.AMD, model="AMD Radeon 680M", gpu_gib=12),
        node("danilo", 22, 62, vendor=GpuVendor.INTEL, model="Intel Arc", gpu_gib=16, kind=MemoryKind.SHARED),
        node("regis", 4, 16),
        node("wulfgar", 4, 31),
        *(node(name, 4, 4, arch=Arch.ARM64) for name in ("durnan", "jarlaxle", "mirt", "volo")),
        node("elaith", 4, 8, arch=Arch.ARM64),
    )
}


def using(node_name: str, share: float, memory_gib: float | None, run_id: str = "", **fields: object) -> Holding:
    """Returns a service that holds a share of the GPU of a node."""
    memory = None if memory_gib is None else int(memory_gib * GIB)
    shares = (DeviceShare(device_id=f"{node_name}-gpu", share=share, memory_bytes=memory),)
    given = {"cpus": 1, "memory_bytes": GIB, **fields}
    return Holding(run_id or f"on-{node_name}", node_name, shares=shares, **given)


PRESENT = (
    using("elminster", 0.5, 4, "whisper"),
    using("elminster", 0.5, 4, "xtts"),
    using("khelben", 0.95, 30.4, "vllm"),
    using("drizzt", 0.8, None, "embeddings"),
    using("danilo", 0.8, None, "reranker"),
)


def lab(*holding: Holding, without: Sequence[str] = (), **changed: HostState) -> Lab:
    """Returns the lab with what is held, and with some nodes changed or left out."""
    nodes = {**NODES, **changed}
    return Lab(tuple(state for name, state in nodes.items() if name not in without), holding)


def kept(name: str, days: float | None = None) -> HostState:
    """Returns a node that is kept for the user `ops`."""
    until = None if days is None else MOMENT + timedelta(days=days)
    return replace(NODES[name], dedication=Dedication(("ops",), until=until))


def run(run_id: str = "run", minute: float = 0, hours: float | None = None, **fields: object) -> Pending:
    """Returns a small run that waits.

    Args:
        run_id: Its id.
        minute: When it was queued.
        hours: What its forecast says; None: it has none.
        fields: Those of `Pending` and of `ResourceRequest`.
    """
    own = {name: fields.pop(name) for name in Pending.__slots__ if name in fields}
    request = ResourceRequest(**{"cpus": 1, "memory_bytes": GIB, **fields})
    forecast = None if hours is None else Forecast(hours * HOUR_S / 2, hours * HOUR_S, "a test")
    return Pending(
        run_id,
        **{"priority": 5, "queued_at": MOMENT + timedelta(minutes=minute), "forecast": forecast, **own},
        request=request,
    )


def outcome(pending: Pending, where: Lab, policy: Policy | None = None) -> Decision:
    """Returns the decision about one run."""
    (decision,) = decide([pending], where, policy or Policy(), MOMENT)
    return decision


def host_of(decision: Decision) -> str:
    """Returns the one host a run was admitted to."""
    assert isinstance(decision, Admit), decision
    (part,) = decision.parts
    return part.host


def words_of(decision: Decision) -> list[str]:
    """Returns why a run does not start."""
    assert isinstance(decision, Wait | Refuse), decision
    return [str(reason) for reason in decision.reasons]
