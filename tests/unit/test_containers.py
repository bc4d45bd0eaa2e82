from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.containers import (
    CONTAINER_PLACES,
    ContainerSpec,
    Devices,
    Job,
    Mount,
    Places,
    Sources,
    container_spec,
    run_environment,
    runs_on,
    taken_out,
)
from fetchml.models.plan import Command, DatasetPlan, EngineKind, Network, Plan
from fetchml.models.resources import GpuVendor, ResourceRequest
from fetchml.models.units import GIB
from fetchml.testing.builders import IMAGE_DIGEST, RUN_ID, make_container_plan, make_plan

SOURCES = Sources(code=Path("/s/code"), results=Path("/s/results"), inbox=Path("/s/inbox"), support=Path("/s/support"))
HOST_PLACES = Places(code="/s/code", results="/s/results", inbox="/s/inbox", support="/s/support", home="/home/ada")

HIDDEN = {
    "CUDA_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "-1",
    "ONEAPI_DEVICE_SELECTOR": "!level_zero:*;!opencl:gpu",
}
"""How a device of each maker is hidden."""


def job(plan: Plan, **changes: object) -> Job:
    fields: dict[str, object] = {
        "run_id": RUN_ID,
        "attempt": 1,
        "plan": plan,
        "plan_sha256": plan.sha256,
        "store_id": "5ca1ab1e",
        "sources": SOURCES,
        "image": None,
        "user": None,
        "devices": Devices(),
        "output_max_bytes": GIB,
    }
    return Job(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


def test_what_is_asked_for_a_process():
    plan = make_plan()
    assert container_spec(job(plan), HOST_PLACES) == ContainerSpec(
        name="fetchml-2026-11-20_k3f9q2-1",
        labels={
            "fetchml.run": "2026-11-20_k3f9q2",
            "fetchml.attempt": "1",
            "fetchml.plan_sha256": plan.sha256,
            "fetchml.store": "5ca1ab1e",
        },
        image=None,
        argv=("python", "train.py", "--lr", "0.1"),
        workdir="/s/code",
        env={
            "HOME": "/home/ada",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": "/s/support",
            "FETCHML_RUN_ID": "2026-11-20_k3f9q2",
            "FETCHML_ATTEMPT": "1",
            "FETCHML_PLAN_SHA256": plan.sha256,
            "FETCHML_CODE": "/s/code",
            "FETCHML_RESULTS": "/s/results",
            "FETCHML_METRICS": "/s/inbox/metrics.jsonl",
            "FETCHML_GPU_COUNT": "0",
            **HIDDEN,
        },
        mounts=(
            Mount(Path("/s/code"), "/s/code", read_only=True),
            Mount(Path("/s/support"), "/s/support", read_only=True),
            Mount(Path("/s/results"), "/s/results", read_only=False),
            Mount(Path("/s/inbox"), "/s/inbox", read_only=False),
        ),
        user=None,
        memory_bytes=GIB,
        shm_bytes=GIB,
        cpus=1,
        pids_limit=4096,
        network=Network.BRIDGE,
        devices=Devices(),
        output_max_bytes=GIB,
        path_prefix=(),
    )


def test_what_is_asked_for_a_container_with_gpus():
    plan = make_container_plan(
        command=Command(argv=("python3", "-m", "train"), workdir="src/app"),
        resources=ResourceRequest(gpus=2, cpus=6.5, memory_bytes=GIB, shm_bytes=4 * GIB),
        network=Network.NONE,
        env={"SEED": "7", "PYTHONPATH": "/code/extra", "HOME": "/results"},
    )
    devices = Devices(("GPU-a", "GPU-b"), GpuVendor.NVIDIA)
    asked = job(
        plan,
        attempt=3,
        image=IMAGE_DIGEST,
        user="1000:1000",
        devices=devices,
        interpreter="/opt/env/bin/python",
        import_roots=("src", ""),
        output_max_bytes=5,
    )
    assert container_spec(asked, CONTAINER_PLACES) == ContainerSpec(
        name="fetchml-2026-11-20_k3f9q2-3",
        labels={
            "fetchml.run": "2026-11-20_k3f9q2",
            "fetchml.attempt": "3",
            "fetchml.plan_sha256": plan.sha256,
            "fetchml.store": "5ca1ab1e",
        },
        image=IMAGE_DIGEST,
        argv=("/opt/env/bin/python", "-m", "train"),
        workdir="/code/src/app",
        env={
            "HOME": "/results",
            "SEED": "7",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "6",
            "OPENBLAS_NUM_THREADS": "6",
            "MKL_NUM_THREADS": "6",
            "PYTHONPATH": "/opt/fetchml:/code/src:/code:/code/extra",
            "FETCHML_RUN_ID": "2026-11-20_k3f9q2",
            "FETCHML_ATTEMPT": "3",
            "FETCHML_PLAN_SHA256": plan.sha256,
            "FETCHML_CODE": "/code",
            "FETCHML_RESULTS": "/results",
            "FETCHML_METRICS": "/run/fetchml/metrics.jsonl",
            "FETCHML_GPU_COUNT": "2",
            **HIDDEN,
            "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "NVIDIA_VISIBLE_DEVICES": "GPU-a,GPU-b",
            "FETCHML_GPU_SHARE": "1",
        },
        mounts=(
            Mount(Path("/s/code"), "/code", read_only=True),
            Mount(Path("/s/support"), "/opt/fetchml", read_only=True),
            Mount(Path("/s/results"), "/results", read_only=False),
            Mount(Path("/s/inbox"), "/run/fetchml", read_only=False),
        ),
        user="1000:1000",
        memory_bytes=GIB,
        shm_bytes=GIB,
        cpus=6.5,
        pids_limit=4096,
        network=Network.NONE,
        devices=devices,
        output_max_bytes=5,
        path_prefix=("/opt/env/bin",),
    )


@pytest.mark.parametrize(
    ("program", "interpreter", "started"),
    [
        ("python", "/e/bin/python", "/e/bin/python"),
        ("python3", "/e/bin/python", "/e/bin/python"),
        ("python", None, "python"),
        ("bash", "/e/bin/python", "bash"),
        ("/usr/bin/python3", "/e/bin/python", "/usr/bin/python3"),
        ("python3.12", "/e/bin/python", "python3.12"),
    ],
)
def test_only_a_plain_python_is_replaced_by_that_of_the_environment(program, interpreter, started):
    plan = make_plan(command=Command(argv=(program, "python")))
    assert container_spec(job(plan, interpreter=interpreter), HOST_PLACES).argv == (started, "python")


@pytest.mark.parametrize(("cpus", "threads"), [(0.25, "1"), (1, "1"), (1.9, "1"), (2, "2"), (7.5, "7")])
def test_libraries_get_the_runs_share_of_threads(cpus, threads):
    plan = make_plan(resources=ResourceRequest(cpus=cpus))
    assert run_environment(job(plan), HOST_PLACES)["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize("name", ["HOME", "PYTHONUNBUFFERED", "OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_user_may_change_what_is_only_a_default(name):
    plan = make_plan(env={name: "mine"})
    assert run_environment(job(plan), HOST_PLACES)[name] == "mine"


def test_without_a_gpu_no_image_can_bring_one():
    env = run_environment(job(make_container_plan()), CONTAINER_PLACES)
    assert (env["CUDA_VISIBLE_DEVICES"], env["NVIDIA_VISIBLE_DEVICES"]) == ("", "void")


def shown(devices: Devices, engine: EngineKind = EngineKind.PROCESS, **env: str) -> dict[str, str]:
    """Returns what a run with these devices sees of them."""
    plan = make_container_plan(env=env) if engine.isolates else make_plan(env=env)
    found = run_environment(job(plan, devices=devices), CONTAINER_PLACES)
    words = ("GPU", "VISIBLE", "ONEAPI", "ZE_", "CUDA_", "XLA", "TF_")
    return {name: value for name, value in found.items() if any(word in name for word in words)}


@pytest.mark.parametrize(
    ("devices", "engine", "expected"),
    [
        (
            Devices(("MIG-1",), GpuVendor.NVIDIA, (None,)),
            EngineKind.PROCESS,
            {"CUDA_VISIBLE_DEVICES": "MIG-1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        ),
        (
            Devices(("declared-3",), GpuVendor.NVIDIA, (3,)),
            EngineKind.PROCESS,
            {"CUDA_VISIBLE_DEVICES": "3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        ),
        (
            Devices(("declared-3",), GpuVendor.NVIDIA, (3,)),
            EngineKind.DOCKER,
            {"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        ),
        (
            Devices(("GPU-0bd0a6a9", "0000:43:00.0"), GpuVendor.AMD, (0, 5)),
            EngineKind.PROCESS,
            {"ROCR_VISIBLE_DEVICES": "GPU-0bd0a6a9,5", "HIP_VISIBLE_DEVICES": "0,1"},
        ),
        (
            Devices(("0000:43:00.0",), GpuVendor.AMD, (5,)),
            EngineKind.DOCKER,
            {"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "void"},
        ),
        (
            Devices(("0000:03:00.0", "0000:43:00.0"), GpuVendor.INTEL, (1, 2)),
            EngineKind.PROCESS,
            {
                "ONEAPI_DEVICE_SELECTOR": "level_zero:gpu",
                "ZE_AFFINITY_MASK": "1,2",
                "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
            },
        ),
        (
            Devices(("0000:43:00.0",), GpuVendor.INTEL, (2,)),
            EngineKind.DOCKER,
            {
                "ONEAPI_DEVICE_SELECTOR": "level_zero:gpu",
                "ZE_AFFINITY_MASK": "0",
                "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
                "NVIDIA_VISIBLE_DEVICES": "void",
            },
        ),
        (Devices(("apple-gpu",), GpuVendor.APPLE, (0,)), EngineKind.PROCESS, {}),
    ],
)
def test_each_makers_runtime_is_told_of_the_runs_devices_and_of_no_others(devices, engine, expected):
    count = {"FETCHML_GPU_COUNT": str(len(devices.ids)), "FETCHML_GPU_SHARE": "1"}
    assert shown(devices, engine) == {**HIDDEN, **count, **expected}


def test_a_share_is_told_to_the_run_and_to_what_would_take_all_of_a_device():
    half = Devices(("GPU-a",), GpuVendor.NVIDIA, share=0.5, memory_bytes=10 * GIB, total_bytes=24 * GIB)
    assert shown(half) == {
        **HIDDEN,
        "FETCHML_GPU_COUNT": "1",
        "FETCHML_GPU_SHARE": "0.5",
        "FETCHML_GPU_MEMORY_BYTES": str(10 * GIB),
        "CUDA_VISIBLE_DEVICES": "GPU-a",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.41",
    }
    assert shown(half, XLA_PYTHON_CLIENT_MEM_FRACTION="0.2")["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.2"


def test_a_card_of_amd_does_not_open_those_of_nvidia():
    devices = Devices(("0000:03:00.0",), GpuVendor.AMD)
    plan = make_container_plan(env={"NVIDIA_VISIBLE_DEVICES": "all"})
    env = run_environment(job(plan, devices=devices), CONTAINER_PLACES)
    assert env.get("NVIDIA_VISIBLE_DEVICES") == "void"


OWNED = (
    "FETCHML_RUN_ID",
    "FETCHML_ATTEMPT",
    "FETCHML_PLAN_SHA256",
    "FETCHML_CODE",
    "FETCHML_RESULTS",
    "FETCHML_METRICS",
    "FETCHML_GPU_COUNT",
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ONEAPI_DEVICE_SELECTOR",
    "NVIDIA_VISIBLE_DEVICES",
)
NAMES = st.sampled_from(OWNED) | st.text("ABC_", min_size=1, max_size=3)


@given(
    st.dictionaries(NAMES, st.sampled_from(["all", "0,1,2,3", "", "x"])),
    st.sampled_from([EngineKind.DOCKER, EngineKind.PODMAN, EngineKind.PROCESS]),
    st.lists(st.sampled_from(["GPU-a", "GPU-b"]), unique=True).map(tuple),
)
def test_no_variable_of_a_user_changes_what_fetchml_sets(env, engine, ids):
    make = make_container_plan if engine.isolates else make_plan
    devices = Devices(ids, GpuVendor.NVIDIA) if ids else Devices()
    owned = OWNED if engine.isolates else OWNED[:-1]  # a plain process has no NVIDIA runtime that would read it
    with_env = run_environment(job(make(engine=engine, env=env), plan_sha256="0", devices=devices), CONTAINER_PLACES)
    without = run_environment(job(make(engine=engine), plan_sha256="0", devices=devices), CONTAINER_PLACES)
    assert {name: with_env[name] for name in owned} == {name: without[name] for name in owned}
    assert {name: value for name, value in env.items() if name not in OWNED}.items() <= with_env.items()


@given(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20))
def test_no_name_of_a_folder_of_the_host_is_shown_to_a_container(code):
    hidden = Path("/secret-of-the-host") / code.replace("/", "_")
    sources = Sources(code=hidden, results=hidden, inbox=hidden, support=hidden)
    spec = container_spec(job(make_container_plan(), sources=sources), CONTAINER_PLACES)
    shown = [*spec.env.values(), *spec.argv, spec.workdir, *(mount.target for mount in spec.mounts)]
    assert not any("secret-of-the-host" in text for text in shown)


def test_datasets_are_mounted_read_only_and_read_in_place_by_a_process():
    checksum = "sha256:" + "a" * 64
    items = (
        DatasetPlan(name="a-b.c", version="1", checksum=checksum, mount="/data/a-b.c"),
        DatasetPlan(name="two", version="1", checksum=checksum, mount="/in"),
    )
    places = {"a-b.c": Path("/nas/one"), "two": Path("/nas/two")}
    spec = container_spec(job(make_container_plan(datasets=items), datasets=places), CONTAINER_PLACES)
    assert spec.mounts[-2:] == (
        Mount(Path("/nas/one"), "/data/a-b.c", read_only=True),
        Mount(Path("/nas/two"), "/in", read_only=True),
    )
    assert (spec.env["FETCHML_DATA_A_B_C"], spec.env["FETCHML_DATA_TWO"]) == ("/data/a-b.c", "/in")

    plan = make_plan(datasets=(DatasetPlan(name="two", version="1", checksum=checksum),))
    spec = container_spec(job(plan, datasets=places), HOST_PLACES)
    assert Path("/nas/two") not in [mount.source for mount in spec.mounts]
    assert spec.env["FETCHML_DATA_TWO"] == "/nas/two"


# What an image brings

TAKEN_OUT = (
    "LD_AUDIT",
    "LD_PRELOAD",
    "PYTHONHOME",
    "PYTHONPATH",
    "FETCHML_DATA_X",
    "PREFECT_API_KEY",
    "HIP_VISIBLE_DEVICES",
)
LEFT = (
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHON_VERSION",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "CUDA_VERSION",
    "LANG",
    "LDX",
)


def test_variables_of_an_image_that_would_take_over_are_taken_out():
    plan = make_container_plan()
    assert taken_out((*TAKEN_OUT, *LEFT), plan) == TAKEN_OUT
    spec = container_spec(job(plan, image_env=(*TAKEN_OUT, *LEFT, "FETCHML_RUN_ID")), CONTAINER_PLACES)
    is_set = ("PYTHONPATH", "HIP_VISIBLE_DEVICES")
    assert spec.unset == tuple(name for name in TAKEN_OUT if name not in is_set), "what is set needs no taking out"
    assert set(spec.unset).isdisjoint(spec.env)


def test_what_a_plan_sets_is_not_taken_out():
    plan = make_container_plan(env={"PYTHONWARNINGS": "error"})
    assert taken_out(("PYTHONWARNINGS", "PYTHONSTARTUP"), plan) == ("PYTHONSTARTUP",)


@pytest.mark.parametrize(
    ("image", "engine", "expected"),
    [
        ("amd64", "amd64", True),
        ("amd64", "x86_64", True),
        ("arm64", "aarch64", True),
        ("386", "amd64", True),
        ("arm", "arm64", True),
        ("", "amd64", True),
        ("amd64", "", True),
        ("arm64", "amd64", False),
        ("amd64", "arm64", False),
        ("amd64", "386", False),
        ("ppc64le", "amd64", False),
        ("riscv64", "arm64", False),
    ],
)
def test_an_image_runs_where_its_architecture_does(image, engine, expected):
    assert runs_on(image, engine) is expected
