from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.admission.lab import Stranger
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings
from fetchml.gpus.strangers import Ours, memory_taken, strangers
from fetchml.models.units import GIB, MIB

RUN = "2026-11-20_k3f9q2"
OURS = Ours(run_ids=frozenset({RUN}))


def reading(*processes: GpuProcess, **facts: object) -> Readings:
    used = sum(process.memory_bytes or 0 for process in processes)
    known: dict[str, Any] = {"used_bytes": used, "processes": processes, **facts}
    return Readings((DeviceReading("GPU-a", "nvidia", **known),))


def seen(*processes: GpuProcess, ours: Ours = OURS, **facts: object) -> tuple[Stranger, ...]:
    return strangers(reading(*processes, **facts), ours)


def taken(*processes: GpuProcess, ours: Ours = OURS, **facts: object) -> int:
    found = memory_taken(reading(*processes, **facts), ours)
    assert found.keys() <= {"GPU-a"}
    return found.get("GPU-a", 0)


def test_a_process_of_somebody_else_is_named_with_its_owner_and_its_memory():
    other = GpuProcess(4711, 22 * GIB, user="bob", command="python")
    assert seen(other) == (Stranger("GPU-a", 22 * GIB, ("python of bob (pid 4711), 22G",)),)


def test_a_process_nothing_is_known_of_is_named_by_its_number():
    assert seen(GpuProcess(7)) == (Stranger("GPU-a", None, ("a process (pid 7)",)),)


@pytest.mark.parametrize(
    ("process", "ours"),
    [
        (GpuProcess(5, GIB, run_id=RUN), OURS),
        (GpuProcess(5, GIB, ancestors=(4, 3, 1)), Ours(pids=frozenset({3}))),
        (GpuProcess(3, GIB), Ours(pids=frozenset({3}))),
        (GpuProcess(5, GIB, cgroup="0::/docker/0123abcd"), Ours(container_ids=frozenset({"0123abcd"}))),
    ],
    ids=["environment", "ancestor", "first process", "container"],
)
def test_a_process_of_a_run_is_no_stranger(process, ours):
    assert seen(process, ours=ours) == ()


def test_a_run_of_another_store_or_one_that_has_ended_is_a_stranger():
    (found,) = seen(GpuProcess(5, GIB, run_id="2026-11-20_aaaaaa", command="python", user="eve"))
    assert found.processes == ("python of eve (pid 5), 1G",)


def test_a_desktop_takes_memory_and_keeps_nobody_from_computing():
    desktop = GpuProcess(5, 900 * MIB, is_graphics=True)
    assert (seen(desktop), taken(desktop)) == ((), 900 * MIB)
    assert taken(GpuProcess(5, 0, is_graphics=True)) == 0


def test_memory_that_nobody_accounts_for_is_gone():
    assert taken(used_bytes=3 * GIB) == 3 * GIB
    assert taken(used_bytes=3 * GIB, processes=None) == 3 * GIB
    assert taken(GpuProcess(5, GIB, run_id=RUN), used_bytes=3 * GIB) == 2 * GIB
    assert taken(GpuProcess(9, GIB), used_bytes=3 * GIB) == 2 * GIB


def test_memory_that_nobody_accounts_for_is_ours_where_a_run_holds_the_device():
    holding = Ours(run_ids=frozenset({RUN}), device_ids=frozenset({"GPU-a"}))
    assert taken(used_bytes=30 * GIB, ours=holding) == 0
    assert seen(GpuProcess(9, GIB), used_bytes=30 * GIB, ours=holding)[0].memory_bytes == GIB


def test_what_a_driver_keeps_for_itself_is_nobodys():
    assert taken(used_bytes=400 * MIB) == 0


def test_many_are_counted_and_the_first_named():
    (found,) = seen(*(GpuProcess(pid, MIB) for pid in range(1, 12)))
    assert len(found.processes) == 9
    assert found.processes[-1] == "3 more"


@given(
    st.lists(
        st.builds(
            GpuProcess,
            st.integers(1, 9),
            st.none() | st.integers(0, GIB),
            st.booleans(),
            run_id=st.sampled_from([None, RUN, "other"]),
        )
    ),
    st.none() | st.integers(0, 64 * GIB),
)
def test_whoever_computes_and_is_not_ours_is_always_seen(processes, used):
    computing = [item for item in processes if not item.is_graphics and item.run_id != RUN]
    found = seen(*processes, used_bytes=used)
    assert bool(computing) == bool(found)
    assert all(item.processes and (item.memory_bytes is None or item.memory_bytes >= 0) for item in found)
    assert taken(*processes, used_bytes=used) >= 0
