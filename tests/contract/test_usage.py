"""What engines tell of a container that runs."""

import os

import pytest

from contract.engines import REAL, TIMEOUT_S, Bench, Payload
from fetchml.engine.port import Usage
from fetchml.models.units import MIB
from stack import until

BUSY = Payload(
    """
block = bytearray(80 << 20)
with open(os.path.join(RESULTS, "data"), "wb") as file:
    file.write(b"x" * (8 << 20))
    os.fsync(file.fileno())
while time.process_time() < 0.3:
    pass
print("ready", flush=True)
wait_for("go")
"""
)


@pytest.mark.parametrize("bench", REAL, indirect=True)
def test_a_running_payload_is_measured(bench: Bench) -> None:
    name = bench.started(BUSY)
    bench.wait_for_output(name, b"ready")

    def seen() -> Usage | None:
        found = bench.engine.usage(name)
        return found if (found.cpu_s or 0) >= 0.2 and (found.memory_bytes or 0) >= 80 * MIB else None

    found = until(seen, "its use", TIMEOUT_S)
    assert found.pid is not None
    os.kill(found.pid, 0)
    if found.written_bytes is not None:  # not every kernel counts the disks of groups
        until(lambda: (bench.engine.usage(name).written_bytes or 0) >= 8 * MIB, "what it wrote", TIMEOUT_S)
    bench.let("go")
    bench.wait(name)
    until(lambda: bench.engine.usage(name) == Usage(), "no more use", TIMEOUT_S)


@pytest.mark.parametrize("bench", REAL, indirect=True)
def test_what_does_not_run_is_not_measured(bench: Bench) -> None:
    assert bench.engine.usage("fetchml-2026-11-20_aaaaaa-1") == Usage()
    assert bench.engine.usage(bench.created(BUSY)) == Usage()
