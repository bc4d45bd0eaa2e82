from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchml.simulation.contenders import CONTENDERS
from fetchml.simulation.figures import figures_of
from fetchml.simulation.hosts import hosts_of
from fetchml.simulation.jobs import Job, in_time
from fetchml.simulation.replay import Placed, replay

BLOCKED = [Job("a", 0, 100, 3), Job("b", 10, 100, 4), Job("c", 20, 50, 1), Job("d", 30, 500, 1)]
"""On four GPUs: b waits for a; c ends before b can start, d does not."""


def starts(jobs: list[Job], name: str, hosts: str = "1x4") -> dict[str, float]:
    return {item.job.job_id: item.start_s for item in replay(jobs, hosts_of(hosts), CONTENDERS[name]).placed}


def test_strict_fifo_holds_everybody_up():
    assert starts(BLOCKED, "fifo") == {"a": 0, "b": 100, "c": 200, "d": 200}


def test_a_prefect_pool_starts_whatever_fits():
    assert starts(BLOCKED, "prefect") == {"a": 0, "b": 570, "c": 20, "d": 70}


def test_backfill_that_knows_everything_delays_nobody():
    assert starts(BLOCKED, "easy-perfect") == {"a": 0, "b": 100, "c": 20, "d": 200}


def test_a_job_that_fits_nowhere_is_left_out():
    found = replay([Job("wide", 0, 1, 8), Job("a", 1, 1, 1)], hosts_of("2x4"), CONTENDERS["default"])
    assert [job.job_id for job in found.refused] == ["wide"]
    assert [item.job.job_id for item in found.placed] == ["a"]


def test_memory_counts_where_the_hosts_say_how_much_they_have():
    large = [Job("a", 0, 10, 1, gpu_memory_bytes=40 << 30)]
    assert starts(large, "fifo", "1x1") == {"a": 0}
    assert replay(large, hosts_of("1x1:24G"), CONTENDERS["fifo"]).refused == tuple(large)


def test_shares_of_a_gpu_run_together():
    halves = [Job(name, 0, 10, 0.5) for name in "abc"]
    assert starts(halves, "default", "1x1") == {"a": 0, "b": 0, "c": 10}


def test_progress_is_told():
    seen: list[int] = []
    replay([Job(str(number), 0, 1, 1) for number in range(250)], hosts_of("1x8"), CONTENDERS["fifo"], seen.append)
    assert seen == [100, 200]


JOBS = st.lists(
    st.builds(
        Job,
        job_id=st.integers(0, 10**6).map(str),
        submit_s=st.integers(0, 2000).map(float),
        duration_s=st.sampled_from([0.0, 10.0, 100.0, 1000.0]),
        gpus=st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0]),
        user=st.sampled_from("uv"),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda job: job.job_id,
)


@settings(max_examples=60, deadline=None)
@given(JOBS, st.sampled_from(sorted(CONTENDERS)))
def test_every_job_runs_once_after_it_was_submitted_and_no_gpu_is_taken_twice(jobs, name):
    found = replay(in_time(jobs), hosts_of("2x4"), CONTENDERS[name])
    assert sorted(item.job.job_id for item in found.placed) == sorted(job.job_id for job in jobs)
    assert all(item.wait_s >= 0 for item in found.placed)
    changes: defaultdict[float, float] = defaultdict(float)
    for item in found.placed:
        changes[item.start_s] += item.job.gpus if item.job.duration_s else 0
        changes[item.end_s] -= item.job.gpus if item.job.duration_s else 0
    taken = 0.0
    for moment in sorted(changes):
        taken += changes[moment]
        assert taken <= 8 + 1e-9


@settings(max_examples=30, deadline=None)
@given(JOBS, st.sampled_from(sorted(CONTENDERS)))
def test_a_replay_can_be_repeated(jobs, name):
    ordered = in_time(jobs)
    assert replay(ordered, hosts_of("1x4"), CONTENDERS[name]) == replay(ordered, hosts_of("1x4"), CONTENDERS[name])


def test_the_figures_of_a_replay():
    placed = [Placed(Job("a", 0, 100, 1, "u"), 0), Placed(Job("b", 0, 5, 1, "v"), 100), Placed(Job("c", 5, 95, 2), 105)]
    found = figures_of(placed, 2)
    assert (found.jobs, found.median_wait_s, found.p95_wait_s, found.longest_wait_s) == (3, 100, 100, 100)
    assert found.average_wait_s == pytest.approx(200 / 3)
    assert found.average_jct_s == pytest.approx((100 + 105 + 195) / 3)
    assert found.average_bounded_slowdown == pytest.approx((1 + 10.5 + 195 / 95) / 3)
    assert found.utilisation == pytest.approx((100 + 5 + 190) / (2 * 200))
    assert found.worst_user_wait_s == 100
    assert found.relative_to(found)["average_wait_s"] == 1
    idle = figures_of([Placed(Job("a", 0, 1, 1), 0)], 1)
    assert (idle.jain_index, idle.relative_to(idle)["average_wait_s"]) == (1, None)
