import pytest

from fetchml.models.plan import (
    Command,
    DatasetPlan,
    DependencyManifest,
    EngineKind,
    EnvironmentMode,
    EnvironmentPlan,
    Network,
)
from fetchml.models.resources import Device, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import GIB
from fetchml.preflight.check import Facts, Fault, check
from fetchml.testing.builders import IMAGE_DIGEST, make_container_plan, make_plan

HOST = HostCapacity(
    host="workshop",
    cpus=8,
    memory_bytes=32 * GIB,
    devices=(Device(id="GPU-a", vendor=GpuVendor.NVIDIA, memory_bytes=24 * GIB),),
)


def faults(plan=None, **facts: object) -> tuple[Fault, ...]:
    return check(Facts.of(plan or make_plan(), HOST, **facts))


def requesting(**request: object) -> object:
    return make_plan(resources=ResourceRequest(**{"cpus": 1, "memory_bytes": GIB, **request}))


def test_a_plan_without_a_fault_may_run():
    plan = make_container_plan()
    assert faults(plan) == ()
    everything = {
        "recorded_sha256": plan.sha256,
        "script_present": True,
        "workdir_present": True,
        "image_digest": IMAGE_DIGEST,
    }
    assert faults(plan, **everything) == ()


@pytest.mark.parametrize(
    ("plan", "facts", "name"),
    [
        (make_plan(), {"recorded_sha256": "0" * 64}, "plan_sha256"),
        (make_plan(), {"snapshot_fault": "object `aa` is damaged"}, "snapshot"),
        (make_plan(), {"script_present": False}, "script"),
        (make_plan(), {"workdir_present": False}, "workdir"),
        (make_container_plan(), {"image_digest": "sha256:" + "2b" * 32}, "image"),
        (make_container_plan(), {"image_digest": ""}, "image"),
        (
            make_container_plan(),
            {"image_architecture": "arm64", "engine_architecture": "amd64"},
            "image.architecture",
        ),
        (make_plan(network=Network.NONE), {}, "network"),
        (requesting(gpu_memory_bytes=GIB), {}, "gpu_memory"),
        (requesting(gpu_memory_max_bytes=GIB), {}, "gpu_memory"),
        (requesting(gpu_model="A100"), {}, "gpu_model"),
        (make_container_plan(engine=EngineKind.PODMAN, resources=ResourceRequest(gpus=1)), {}, "gpus"),
        (requesting(cpus=9), {}, "resources.cpus"),
        (requesting(memory_bytes=33 * GIB), {}, "resources.memory"),
        (requesting(gpus=2), {}, "resources.gpus"),
        (requesting(gpus=1, gpu_memory_bytes=25 * GIB), {}, "resources.gpus"),
        (requesting(gpus=1, gpu_vendor=GpuVendor.AMD), {}, "resources.gpus"),
    ],
)
def test_each_check_finds_its_fault(plan, facts, name):
    (fault,) = faults(plan, **facts)
    assert fault.check == name
    assert fault.expected
    assert fault.actual
    assert fault.hint
    assert str(fault) == f"{fault.check}: expected {fault.expected}, found {fault.actual}"


@pytest.mark.parametrize(
    ("plan", "facts"),
    [
        (make_plan(), {"script_present": None, "workdir_present": None, "image_digest": None}),
        (make_plan(), {"image_digest": "sha256:other"}),
        (make_container_plan(network=Network.NONE), {}),
        (requesting(gpus=1, gpu_memory_bytes=24 * GIB, gpu_vendor=GpuVendor.NVIDIA), {}),
        (requesting(cpus=8, memory_bytes=32 * GIB), {}),
        (requesting(gpus=0.5), {}),
    ],
)
def test_what_was_not_looked_at_or_just_fits_is_no_fault(plan, facts):
    assert faults(plan, **facts) == ()


def test_every_fault_is_found_at_once_and_in_a_fixed_order():
    plan = make_plan(
        network=Network.NONE,
        resources=ResourceRequest(cpus=99, memory_bytes=99 * GIB, gpus=0.5, gpu_memory_bytes=99 * GIB),
    )
    found = faults(
        plan,
        recorded_sha256="0" * 64,
        snapshot_fault="damaged",
        script_present=False,
        workdir_present=False,
    )
    assert [fault.check for fault in found] == [
        "plan_sha256",
        "snapshot",
        "script",
        "workdir",
        "resources.cpus",
        "resources.memory",
        "resources.gpus",
        "network",
    ]


def test_a_fault_names_both_hashes_and_the_host():
    (changed,) = faults(recorded_sha256="0" * 64)
    assert (changed.expected, changed.actual) == ("0" * 64, make_plan().sha256)
    (large,) = faults(requesting(memory_bytes=33 * GIB))
    assert str(large) == "resources.memory: expected at most the 32G that host `workshop` has, found 33G"


def test_a_missing_script_and_folder_are_named():
    plan = make_plan(command=Command(argv=("python", "t.py"), script="src/t.py", workdir="src"))
    script, workdir = faults(plan, script_present=False, workdir_present=False)
    assert "`src/t.py`" in script.expected
    assert "`src`" in workdir.expected


def test_a_host_whose_cards_are_too_small_is_not_said_to_have_none():
    (fault,) = faults(requesting(gpus=1, gpu_memory_bytes=25 * GIB))
    assert str(fault) == (
        "resources.gpus: expected GPUs that host `workshop` has (1 of nvidia 24G), found 1 of at least 25G"
    )


LOCKED = EnvironmentPlan(mode=EnvironmentMode.LOCKED, dependencies=DependencyManifest(name="r", sha256="a" * 64))
AS_IS = EnvironmentPlan(mode=EnvironmentMode.AS_IS)


@pytest.mark.parametrize(
    ("plan", "chosen", "refused"),
    [
        (make_plan(environment=LOCKED), None, False),
        (make_container_plan(environment=LOCKED), None, False),
        (make_plan(environment=AS_IS), True, True),
        (make_plan(environment=AS_IS), None, True),
        (make_container_plan(environment=AS_IS), False, True),
        (make_container_plan(environment=AS_IS), True, False),
        (make_container_plan(environment=AS_IS), None, False),
    ],
)
def test_strict_asks_for_packages_that_have_a_digest(plan, chosen, refused):
    found = faults(plan, policy="strict", as_is_chosen=chosen)
    assert [fault.check for fault in found] == ["dependencies"] * refused
    assert all("--repro-policy best-effort" in fault.hint for fault in found)
    assert faults(plan, policy="best-effort", as_is_chosen=chosen) == ()


def test_a_part_that_is_not_clear_hides_no_fault_of_the_others():
    facts = Facts(
        capacity=HOST,
        policy="strict",
        environment=AS_IS,
        engine=EngineKind.PROCESS,
        resources=ResourceRequest(gpus=9, cpus=99),
        network=Network.NONE,
    )
    names = [fault.check for fault in check(facts)]
    assert names == ["dependencies", "resources.cpus", "resources.gpus", "network"]
    assert check(Facts(capacity=HOST, policy="strict")) == ()


def dataset(name: str, mount: str | None) -> DatasetPlan:
    return DatasetPlan(name=name, version="1", checksum="sha256:" + "a" * 64, mount=mount)


@pytest.mark.parametrize(
    ("mounts", "part"),
    [
        ({"a": "/data/a", "b": "/data/a"}, "where `a` is at `/data/a`"),
        ({"a": "/data/a", "b": "/data/a/b"}, "where `a` is at `/data/a`"),
        ({"a/": "/results"}, "`/results` is taken"),
        ({"a/": "/x/../proc"}, "without `.` and `..`"),
        ({"a-b": "/x", "a.b": "/y"}, "`FETCHML_DATA_A_B`, which is that of `a-b`"),
    ],
)
def test_datasets_that_cannot_be_where_they_are_asked_for(mounts, part):
    items = tuple(dataset(name.strip("/"), mount) for name, mount in mounts.items())
    (fault,) = faults(make_container_plan(datasets=items))
    assert fault.check == "dataset"
    assert part in fault.actual


def test_a_plain_process_has_no_mounts_and_found_faults_are_passed_on():
    (fault,) = faults(make_plan(datasets=(dataset("a", "/data/a"),)))
    assert "FETCHML_DATA_A" in fault.hint
    drift = Fault("dataset", "this", "that", "")
    assert faults(make_plan(datasets=(dataset("a", None),)), dataset_faults=(drift,)) == (drift,)


NVIDIA, AMD, APPLE = (
    Device(id="GPU-a", vendor=GpuVendor.NVIDIA),
    Device(id="GPU-b", vendor=GpuVendor.AMD, nodes=("/dev/kfd", "/dev/dri/renderD128")),
    Device(id="apple-gpu", vendor=GpuVendor.APPLE),
)


@pytest.mark.parametrize(
    ("engine", "devices", "hint"),
    [
        (EngineKind.DOCKER, (NVIDIA,), None),
        (EngineKind.DOCKER, (AMD,), None),
        (EngineKind.PODMAN, (AMD,), None),
        (EngineKind.PODMAN, (NVIDIA, AMD), None),
        (EngineKind.PODMAN, (NVIDIA,), "use `--engine docker`"),
        (EngineKind.DOCKER, (APPLE,), "use `--engine process`"),
        (EngineKind.PODMAN, (APPLE,), "use `--engine process`"),
    ],
)
def test_a_gpu_that_an_engine_cannot_pass_is_a_fault(engine, devices, hint):
    plan = make_container_plan(engine=engine, resources=ResourceRequest(gpus=1, cpus=1, memory_bytes=GIB))
    capacity = HOST.model_copy(update={"devices": devices})
    found = [fault.hint for fault in check(Facts.of(plan, capacity)) if fault.check == "gpus"]
    assert found == ([] if hint is None else [hint])
