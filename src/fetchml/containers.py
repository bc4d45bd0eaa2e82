"""From a plan to what an engine is asked for: a pure function.

Nothing here touches an engine, so a test can compare requests for equality and a dry run can print them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fetchml.models.dataset import variable_of
from fetchml.models.ids import container_name
from fetchml.models.plan import EngineKind, Network, Plan
from fetchml.models.resources import GpuVendor

RUN_LABEL = "fetchml.run"
ATTEMPT_LABEL = "fetchml.attempt"
PLAN_LABEL = "fetchml.plan_sha256"
STORE_LABEL = "fetchml.store"

PIDS_LIMIT = 4096
"""Processes and threads of one run; data loaders and BLAS need hundreds, a fork bomb needs more."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run finds its folders, as the payload sees them."""

    code: str
    results: str
    inbox: str
    support: str
    home: str


CONTAINER_PLACES = Places(code="/code", results="/results", inbox="/run/fetchml", support="/opt/fetchml", home="/tmp")  # noqa: S108  # the one folder every image lets a user write to
"""The same in every container, so that no host path is ever shown to a run."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host that a run sees."""

    source: Path
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Sources:
    """The folders of the host that go into a run."""

    code: Path
    results: Path
    inbox: Path
    support: Path


@dataclass(frozen=True, slots=True)
class Devices:
    """The GPUs a run was given, all of one maker."""

    ids: tuple[str, ...] = ()
    vendor: GpuVendor = GpuVendor.NONE
    ordinals: tuple[int | None, ...] = ()
    """Position of each on the host, for runtimes that take no id; empty if none is known."""
    nodes: tuple[str, ...] = ()
    """Device files that go into a container."""
    groups: tuple[int, ...] = ()
    """Groups that may use these files."""
    share: float = 1
    """Part of the one device it holds; 1: all of each."""
    memory_bytes: int | None = None
    """Memory that is kept for it on each device, in bytes; None: not said."""
    total_bytes: int | None = None
    """Memory of the smallest of them, in bytes; None: not known."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything an engine needs to start one attempt."""

    name: str
    labels: dict[str, str]
    image: str | None
    argv: tuple[str, ...]
    workdir: str
    env: dict[str, str]
    mounts: tuple[Mount, ...]
    user: str | None
    """`uid:gid` inside; None leaves the process engine's user as it is."""
    memory_bytes: int
    shm_bytes: int
    cpus: float
    pids_limit: int
    network: Network
    devices: Devices
    output_max_bytes: int
    path_prefix: tuple[str, ...] = field(default=())
    """Folders to put before PATH, as the payload sees them."""
    unset: tuple[str, ...] = ()
    """Variables of the image that the payload does not get."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt, with everything the engine request depends on."""

    run_id: str
    attempt: int
    plan: Plan
    plan_sha256: str
    store_id: str
    sources: Sources
    image: str | None
    """Image to start: the base image or the one built from it, by id."""
    user: str | None
    devices: Devices
    output_max_bytes: int
    interpreter: str | None = None
    """Python of the environment, as the payload sees it; None: `python` of the image."""
    datasets: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Where each dataset of the plan is on the host, by name."""
    import_roots: tuple[str, ...] = ()
    """Folders of the snapshot that an installed project would be imported from."""
    image_env: tuple[str, ...] = ()
    """Names of the variables that the image sets."""


def container_spec(job: Job, places: Places) -> ContainerSpec:
    """Returns what to ask the engine for."""
    plan = job.plan
    sources = job.sources
    env = run_environment(job, places)
    return ContainerSpec(
        name=container_name(job.run_id, job.attempt),
        labels={
            RUN_LABEL: job.run_id,
            ATTEMPT_LABEL: str(job.attempt),
            PLAN_LABEL: job.plan_sha256,
            STORE_LABEL: job.store_id,
        },
        image=job.image,
        argv=_argv(plan, job.interpreter),
        workdir=f"{places.code}/{plan.command.workdir}".rstrip("/"),
        env=env,
        mounts=(
            Mount(sources.code, places.code, read_only=True),
            Mount(sources.support, places.support, read_only=True),
            Mount(sources.results, places.results, read_only=False),
            Mount(sources.inbox, places.inbox, read_only=False),
            *(
                Mount(job.datasets[item.name], item.mount, read_only=True)
                for item in plan.datasets
                if item.mount is not None
            ),
        ),
        user=job.user,
        memory_bytes=plan.resources.memory_bytes,
        shm_bytes=min(plan.resources.shm_bytes, plan.resources.memory_bytes),
        cpus=plan.resources.cpus,
        pids_limit=PIDS_LIMIT,
        network=plan.network,
        devices=job.devices,
        output_max_bytes=job.output_max_bytes,
        path_prefix=(str(Path(job.interpreter).parent),) if job.interpreter else (),
        unset=tuple(name for name in taken_out(job.image_env, plan) if name not in env),
    )


def taken_out(names: Iterable[str], plan: Plan) -> tuple[str, ...]:
    """Returns which variables of an image a run does not get, unless its plan sets them.

    Those are the variables that put other code before the run's own, and those that are fetchml's to set. The search
    path for libraries stays: every CUDA image needs it.
    """
    return tuple(name for name in names if name not in plan.env and _is_taken_out(name))


def _is_taken_out(name: str) -> bool:
    if name.startswith("LD_"):
        return name != "LD_LIBRARY_PATH"
    return name in _INTERPRETER or name.startswith(("FETCHML_", "PREFECT_", "HIP_VISIBLE", "ROCR_VISIBLE"))


_INTERPRETER = frozenset(
    {
        *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR"),
        *("PYTHONUSERBASE", "PYTHONBREAKPOINT", "PYTHONWARNINGS", "PYTHONCASEOK", "PYTHONPYCACHEPREFIX"),
    }
)
"""What makes Python import or run something else. The rest, such as PYTHONHASHSEED, is a choice of the image."""


def runs_on(image: str, engine: str) -> bool:
    """Tells whether an image for one architecture can run on an engine of another; true where either is not known.

    Names are those of Go, as in images (OCI image specification, `architecture`). Emulation does not count: it takes
    ten times as long, and rounds as it likes.
    """
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    image, engine = known.get(image, image), known.get(engine, engine)
    return not image or not engine or image == engine or (engine, image) in (("amd64", "386"), ("arm64", "arm"))


def run_environment(job: Job, places: Places) -> dict[str, str]:
    """Returns the variables a payload starts with, apart from those the image or host brings."""
    plan = job.plan
    threads = str(max(1, math.floor(plan.resources.cpus)))
    roots = [f"{places.code}/{root}".rstrip("/") for root in job.import_roots]
    python_path = [places.support, *roots, *filter(None, [plan.env.get("PYTHONPATH")])]
    defaults = {
        "HOME": places.home,
        # Live logs need lines when they are printed; the code folder cannot take bytecode.
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Libraries ask for all cores of the machine, not for the run's share.
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        **_share_defaults(job.devices),
    }
    own = {
        "PYTHONPATH": ":".join(python_path),
        "FETCHML_RUN_ID": job.run_id,
        "FETCHML_ATTEMPT": str(job.attempt),
        "FETCHML_PLAN_SHA256": job.plan_sha256,
        "FETCHML_CODE": places.code,
        "FETCHML_RESULTS": places.results,
        "FETCHML_METRICS": f"{places.inbox}/metrics.jsonl",
        "FETCHML_GPU_COUNT": str(len(job.devices.ids)),
    }
    # A plain process has no mounts: it reads the data where it is.
    data = {variable_of(item.name): item.mount or str(job.datasets[item.name]) for item in plan.datasets}
    return {**defaults, **plan.env, **own, **data, **_device_environment(job.devices, plan.engine)}


def _device_environment(devices: Devices, engine: EngineKind) -> dict[str, str]:
    """Returns the variables by which the runtimes of all makers see the run's devices and no others.

    Sources: CUDA C++ Programming Guide, "CUDA Environment Variables"; ROCm documentation, "GPU isolation techniques";
    oneAPI DPC++ documentation, "Environment Variables"; Level Zero specification, "Environment Variables".
    """
    count = len(devices.ids)
    among_these = ",".join(map(str, range(count)))
    # Hidden by default: an empty list of CUDA's and ROCr's is none, while HIP takes an empty one for all.
    environment = {
        "CUDA_VISIBLE_DEVICES": "",
        "ROCR_VISIBLE_DEVICES": "",
        "HIP_VISIBLE_DEVICES": "-1",
        "ONEAPI_DEVICE_SELECTOR": "!level_zero:*;!opencl:gpu",
    }
    match devices.vendor:
        case GpuVendor.NVIDIA:
            environment["CUDA_VISIBLE_DEVICES"] = _names(devices, engine, ("GPU-", "MIG-"))
            environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # what NVML counts by, where a position has to do
            if devices.share < 1:
                # NVIDIA's MPS holds a process to it where its daemon runs; without one it has no effect.
                environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(max(1, math.floor(devices.share * 100)))
        case GpuVendor.AMD:
            environment["ROCR_VISIBLE_DEVICES"] = _names(devices, engine, ("GPU-",))
            environment["HIP_VISIBLE_DEVICES"] = among_these  # HIP counts what ROCr leaves
        case GpuVendor.INTEL:
            environment["ONEAPI_DEVICE_SELECTOR"] = "level_zero:gpu"
            environment["ZE_ENABLE_PCI_ID_DEVICE_ORDER"] = "1"
            environment["ZE_AFFINITY_MASK"] = _names(devices, engine, ())
        case GpuVendor.APPLE | GpuVendor.NONE:
            pass
    if engine.isolates:
        # An image may carry NVIDIA_VISIBLE_DEVICES=all, and the runtime would obey it.
        is_nvidia = count > 0 and devices.vendor is GpuVendor.NVIDIA
        environment["NVIDIA_VISIBLE_DEVICES"] = ",".join(runtime_names(devices)) if is_nvidia else "void"
    if count:
        environment["FETCHML_GPU_SHARE"] = f"{devices.share:g}"
        if devices.memory_bytes is not None:
            environment["FETCHML_GPU_MEMORY_BYTES"] = str(devices.memory_bytes)
    return environment


def runtime_names(devices: Devices) -> tuple[str, ...]:
    """Returns how NVIDIA's container runtime calls the devices: by id, or by position where that is all there is."""
    ordinals = devices.ordinals or (None,) * len(devices.ids)
    return tuple(name if ordinal is None else str(ordinal) for name, ordinal in zip(devices.ids, ordinals, strict=True))


def _names(devices: Devices, engine: EngineKind, prefixes: tuple[str, ...]) -> str:
    """Returns what a runtime's variable lists: ids of a form it knows, else positions.

    A container has no other devices than the run's, and what is in it counts from zero.
    """
    ordinals = devices.ordinals or (None,) * len(devices.ids)
    names: list[str] = []
    for position, (name, ordinal) in enumerate(zip(devices.ids, ordinals, strict=True)):
        if prefixes and name.startswith(prefixes):
            names.append(name)
        else:
            names.append(str(position if engine.isolates or ordinal is None else ordinal))
    return ",".join(names)


def _share_defaults(devices: Devices) -> dict[str, str]:
    """Returns what keeps frameworks that take all of a device at once from doing so where a run has a part of it."""
    if not devices.ids or devices.share >= 1:
        return {}
    defaults = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if devices.memory_bytes and devices.total_bytes:
        part = math.floor(100 * devices.memory_bytes / devices.total_bytes) / 100
        defaults["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{min(1.0, max(0.01, part)):.2f}"
    return defaults


def _argv(plan: Plan, interpreter: str | None) -> tuple[str, ...]:
    program, *arguments = plan.command.argv
    if interpreter and program in ("python", "python3"):
        return (interpreter, *arguments)
    return plan.command.argv
