import math

import pytest
from pydantic import ValidationError

from fetchml.models.resources import Arch, Device, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import GIB, MAX_DURATION_S, MAX_SIZE_BYTES, MIB, TIB


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"gpus": 0.5},
        {"gpus": 1},
        {"gpus": 64.0},
        {"gpus": 2, "gpu_memory_bytes": 40 * GIB, "gpu_vendor": GpuVendor.NVIDIA},
        {"gpus": 1, "gpu_memory_bytes": 24 * GIB, "gpu_memory_max_bytes": 24 * GIB, "gpu_model": "RTX 3090"},
        {"arch": Arch.ARM64, "disk_bytes": TIB},
        {"cpus": 0.01},
        {"cpus": 4096},
        {"memory_bytes": 16 * MIB},
        {"memory_bytes": MAX_SIZE_BYTES},
        {"shm_bytes": MIB},
        {"max_runtime_s": 1},
        {"max_runtime_s": MAX_DURATION_S},
    ],
)
def test_a_request_within_its_ranges_is_accepted(fields):
    request = ResourceRequest(**fields)
    assert ResourceRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    "fields",
    [
        {"gpus": -1},
        {"gpus": 65},
        {"gpus": 1.5},
        {"gpus": math.nan},
        {"gpus": math.inf},
        {"gpus": "1"},
        {"gpus": True},
        {"gpu_memory_bytes": 0},
        {"gpu_memory_bytes": MAX_SIZE_BYTES + 1},
        {"gpu_vendor": "nvidia"},
        {"gpus": 1, "gpu_memory_bytes": 24 * GIB, "gpu_memory_max_bytes": 24 * GIB - 1},
        {"gpu_model": ""},
        {"arch": "amd64"},
        {"disk_bytes": 0},
        {"cpus": 0},
        {"cpus": -0.5},
        {"cpus": 1e9},
        {"cpus": math.nan},
        {"memory_bytes": 0},
        {"memory_bytes": 16 * MIB - 1},
        {"memory_bytes": 1e9},
        {"memory_bytes": MAX_SIZE_BYTES + 1},
        {"shm_bytes": 0},
        {"max_runtime_s": 0},
        {"max_runtime_s": -1},
        {"max_runtime_s": MAX_DURATION_S + 1},
        {"privileged": True},
    ],
)
def test_a_request_out_of_range_or_of_the_wrong_type_is_refused(fields):
    with pytest.raises(ValidationError):
        ResourceRequest(**fields)


def test_what_nobody_asked_for_is_not_in_the_json_so_that_older_plans_keep_their_hash():
    assert set(ResourceRequest().model_dump(mode="json")) == {
        *("gpus", "gpu_memory_bytes", "gpu_vendor", "cpus", "memory_bytes", "shm_bytes", "max_runtime_s"),
    }


def test_nothing_is_unlimited_by_default():
    request = ResourceRequest()
    assert (request.cpus, request.memory_bytes, request.shm_bytes, request.gpus) == (2, 8 * GIB, GIB, 0)


@pytest.mark.parametrize("fields", [{"id": ""}, {"id": "x" * 129}, {"id": "a", "memory_bytes": -1}, {"id": 0}])
def test_a_device_needs_a_stable_id_and_a_possible_size(fields):
    with pytest.raises(ValidationError):
        Device(vendor=GpuVendor.NVIDIA, **fields)


@pytest.mark.parametrize("fields", [{"cpus": 0}, {"memory_bytes": 0}, {"cpus": -1}])
def test_a_host_offers_something(fields):
    with pytest.raises(ValidationError):
        HostCapacity(**{"host": "h", "cpus": 1, "memory_bytes": 1, **fields})
