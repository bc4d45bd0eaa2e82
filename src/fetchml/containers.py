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
    """The GPUs a run was given."""

    ids: tuple[str, ...] = ()
    vendor: GpuVendor = GpuVendor.NONE


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
    visible = ",".join(devices.ids)
    if devices.vendor is GpuVendor.AMD:
        environment, nvidia = {"ROCR_VISIBLE_DEVICES": visible, "CUDA_VISIBLE_DEVICES": ""}, ""
    else:
        environment, nvidia = {"CUDA_VISIBLE_DEVICES": visible}, visible
    if engine.isolates:
        # An image may carry NVIDIA_VISIBLE_DEVICES=all, and the runtime would obey it.
        environment["NVIDIA_VISIBLE_DEVICES"] = nvidia or "void"
    return environment


def _argv(plan: Plan, interpreter: str | None) -> tuple[str, ...]:
    program, *arguments = plan.command.argv
    if interpreter and program in ("python", "python3"):
        return (interpreter, *arguments)
    return plan.command.argv
