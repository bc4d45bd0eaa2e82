"""Prints how long one look at a long queue takes, in seconds of wall and CPU time.

Called as `deciding.py RUNS HELD`: runs that wait, and GPUs in use on each of eight hosts with eight.
"""

import random
import sys
import time
from datetime import UTC, datetime, timedelta

from fetchml.admission.decide import decide
from fetchml.admission.lab import Forecast, Holding, HostState, Lab, Pending
from fetchml.admission.policy import Policy
from fetchml.models.resources import Device, DeviceShare, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import GIB

_HOSTS, _GPUS = 8, 8
_NOW = datetime(2026, 11, 20, tzinfo=UTC)

runs, held = (int(word) for word in sys.argv[1:])
chance = random.Random(1)


def device(host: int, number: int) -> str:
    return f"GPU-{host}-{number}"


def forecast() -> Forecast:
    expected_s = chance.expovariate(1 / 3600)
    return Forecast(expected_s, 3 * expected_s, "a bench")


hosts = tuple(
    HostState(
        HostCapacity(
            host=f"host{host}",
            cpus=128,
            memory_bytes=1024 * GIB,
            devices=tuple(
                Device(id=device(host, number), vendor=GpuVendor.NVIDIA, memory_bytes=80 * GIB)
                for number in range(_GPUS)
            ),
        )
    )
    for host in range(_HOSTS)
)
holding = tuple(
    Holding(
        f"held-{host}-{number}",
        f"host{host}",
        4,
        16 * GIB,
        (DeviceShare(device_id=device(host, number), share=1, memory_bytes=80 * GIB),),
        user=f"user{chance.randrange(30)}",
        started_at=_NOW - timedelta(hours=1),
        forecast=forecast(),
    )
    for host in range(_HOSTS)
    for number in range(held)
)
pending = [
    Pending(
        f"run{number:05}",
        chance.choice([4, 5, 5, 5, 6]),
        _NOW - timedelta(seconds=chance.random() * 200_000),
        ResourceRequest(
            gpus=chance.choice([0, 0.5, 1, 1, 1, 2, 4, 8]),
            gpu_memory_bytes=chance.choice([None, 10 * GIB, 40 * GIB]),
            cpus=chance.choice([1, 2, 4, 8]),
            memory_bytes=chance.choice([8, 16, 32]) * GIB,
        ),
        user=f"user{chance.randrange(30)}",
        forecast=forecast(),
    )
    for number in range(runs)
]
lab = Lab(hosts, holding)
decide(pending, lab, Policy(), _NOW)  # a worker looks again and again
began, began_cpu = time.perf_counter(), time.process_time()
decisions = decide(pending, lab, Policy(), _NOW)
print(time.perf_counter() - began, time.process_time() - began_cpu)
if len(decisions) != runs:
    raise SystemExit("not everybody got an answer")
