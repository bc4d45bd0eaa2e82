from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from fetchml.admission.lab import Forecast, Holding, HostState, Lab
from fetchml.admission.order import in_order
from fetchml.admission.policy import EASY, Policy
from fetchml.admission.size import LabSize
from fetchml.models.resources import Device, DeviceShare, GpuVendor, HostCapacity
from fetchml.models.units import GIB
from fetchml.testing.builders import MOMENT
from unit.admission.nodes import HOUR_S, run

HOST = HostState(
    HostCapacity(
        host="h",
        cpus=64,
        memory_bytes=512 * GIB,
        devices=tuple(Device(id=f"h-{n}", vendor=GpuVendor.NVIDIA, memory_bytes=24 * GIB) for n in range(8)),
    )
)


def order(*queue, policy=None, **fields) -> list[str]:
    return [item.run_id for item in in_order(queue, Lab((HOST,), **fields), policy or Policy(), MOMENT)]


def test_what_costs_others_least_goes_first():
    short, wide, long = run("short", gpus=1, hours=2), run("wide", gpus=4, hours=2), run("long", gpus=1, hours=40)
    assert order(long, wide, short) == ["short", "wide", "long"]
    assert order(long, wide, short, policy=EASY) == ["long", "short", "wide"]  # together, so by name


def test_a_part_of_the_lab_is_the_largest_of_gpus_cores_and_memory():
    size = LabSize.of((HOST,))
    assert size.part(run(gpus=2).needs) == 0.25
    assert size.part(run(gpus=0, cpus=32).needs) == 0.5
    assert size.part(run(gpus=2, memory_bytes=512 * GIB).needs) == 1
    assert size.part(run(gpus=2, nodes=2).needs) == 0.5
    assert LabSize.of(()).part(run(gpus=2).needs) == 0


def test_a_run_nothing_is_known_about_counts_as_an_hour():
    assert order(run("known", gpus=1, hours=4), run("unknown", gpus=1)) == ["unknown", "known"]
    assert order(run("unknown", gpus=1), run("known", gpus=1, hours=1)) == ["known", "unknown"]


def test_who_waits_long_becomes_cheap():
    queue = run("old", -120 * 60, gpus=8, hours=4), run("new", gpus=1, hours=4)
    busy = Holding("x", "h", 1, GIB, started_at=MOMENT, forecast=Forecast(1e9, 1e9, "a test"))
    assert order(*queue, policy=replace(Policy(), turn_backlogs=1e9), holding=(busy,)) == ["old", "new"]


def test_the_oldest_goes_first_once_it_has_waited_several_times_the_backlog_and_a_day():
    new = run("new", gpus=1, hours=1)
    assert order(run("old", -25 * 60, gpus=8, hours=40), new) == ["new", "old"]  # 20 h of work: not yet its turn
    assert order(run("old", -61 * 60, gpus=8, hours=40), new) == ["old", "new"]
    assert order(run("old", -23 * 60, gpus=8, hours=4), new) == ["new", "old"]
    assert order(run("old", -25 * 60, gpus=8, hours=4), new) == ["old", "new"]


def test_what_is_still_to_be_done_of_running_runs_counts_as_backlog():
    shares = tuple(DeviceShare(device_id=f"h-{n}", share=1) for n in range(8))
    busy = Holding("x", "h", 1, GIB, shares, started_at=MOMENT, forecast=Forecast(20 * HOUR_S, 1e9, "a test"))
    queue = run("old", -25 * 60, gpus=8, hours=4), run("new", gpus=1, hours=1)
    assert order(*queue, holding=(busy,)) == ["new", "old"]


def test_only_the_highest_priority_has_a_turn():
    queue = run("old", -25 * 60, gpus=8, hours=1, priority=3), run("new", gpus=1, hours=1)
    assert order(*queue) == ["new", "old"]


def test_what_a_user_holds_now_is_used_too():
    queue = run("adas", gpus=1, user="ada", hours=1), run("bobs", gpus=1, user="bob", hours=1)
    busy = Holding("x", "h", 32, GIB, user="ada", started_at=MOMENT - timedelta(hours=1))
    assert order(*queue) == ["adas", "bobs"]
    assert order(*queue, holding=(busy,)) == ["bobs", "adas"]
    assert order(*queue, policy=Policy(weights={"bob": 0}), holding=(busy,)) == ["bobs", "adas"]


def test_a_run_with_another_forecast_is_the_same_run():
    item = run(gpus=1, hours=2)
    changed = item.with_forecast(Forecast(1, 2, "a test"))
    assert changed == replace(item, forecast=Forecast(1, 2, "a test"))
    assert (changed.needs, changed.queued_s) == (item.needs, item.queued_s)


RUNS = st.lists(
    st.builds(
        run,
        st.integers(0, 999).map(lambda number: f"r{number:03}"),
        st.integers(-5000, 0),
        st.sampled_from([None, 0.1, 1, 30]),
        gpus=st.sampled_from([0, 0.5, 1, 4, 8]),
        priority=st.integers(0, 10),
        user=st.sampled_from("uvw"),
    ),
    max_size=12,
    unique_by=lambda item: item.run_id,
)


@given(RUNS)
def test_priority_decides_between_runs_that_have_not_waited_for_a_day(queue):
    recent = [item for item in queue if item.queued_at > MOMENT - timedelta(days=1)]
    found = in_order(recent, Lab((HOST,)), Policy(), MOMENT)
    assert [item.priority for item in found] == sorted((item.priority for item in recent), reverse=True)


@given(RUNS)
def test_everybody_is_first_in_the_end(queue):
    for item in queue:
        ages = replace(item, queued_at=item.queued_at - timedelta(days=400))
        others = [other for other in queue if other is not item]
        assert in_order([ages, *others], Lab((HOST,)), Policy(), MOMENT)[0].run_id == item.run_id
