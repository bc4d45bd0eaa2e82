import pytest

from fetchml.errors import ConfigError
from fetchml.models.units import GIB
from fetchml.simulation.hosts import hosts_of
from fetchml.simulation.jobs import Job, jittered, read_jobs

HEADER = "job_id,submit_s,duration_s,gpus,gpu_mem_gb,cpus,mem_gb,user,final_state"


def read(*lines: str) -> list[Job]:
    return read_jobs([f"{line}\n" for line in lines], "t.csv")


def test_a_trace_is_read_by_time_of_submission():
    found = read(HEADER, "7,100,60,1,24,8,32,u01,completed", "", "8,40,5.5,0.5,,,,,failed")
    assert found == [
        Job("8", 0, 5.5, 0.5),
        Job("7", 60, 60, 1, "u01", 24 * GIB, 8, 32 * GIB),
    ]


def test_only_three_columns_are_needed():
    assert read("gpus,submit_s,duration_s,else", "8,0,1,x") == [Job("1", 0, 1, 8)]


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["no column `submit_s`", "none"]),
        (["a,b", "1,2"], ["no column `submit_s`", "a, b"]),
        (["submit_s,duration_s", "1,2"], ["no column `gpus`"]),
        ([HEADER], ["has no jobs"]),
        ([HEADER, "1,x,60,1,,,,u,"], ["line 2, column submit_s: `x` is no number"]),
        ([HEADER, "1,0,-1,1,,,,u,"], ["line 2, column duration_s: `-1` is not between"]),
        ([HEADER, "1,0,nan,1,,,,u,"], ["line 2, column duration_s: `nan`"]),
        ([HEADER, "1,0,1,,,,,u,"], ["line 2, column gpus: is empty"]),
        ([HEADER, "1,0,1,1.5,,,,u,"], ["line 2, column gpus: is no whole number"]),
        ([HEADER, "1,0,1"], ["line 2: 3 values for 9 columns"]),
        ([HEADER, '1,0,1,"1,,,,u,'], ["line 2"]),
        ([HEADER, "1,a,b,c,,,,u,"], ["column submit_s", "column duration_s", "column gpus"]),
    ],
)
def test_what_is_no_trace_is_named_by_line_and_column(lines, parts):
    with pytest.raises(ConfigError) as caught:
        read(*lines)
    text = f"{caught.value.summary}\n{caught.value.detail}"
    assert all(part in text for part in parts), text


def test_not_more_faults_are_told_than_anyone_reads():
    with pytest.raises(ConfigError) as caught:
        read(HEADER, *["1,x,1,1,,,,u,"] * 100)
    assert len(str(caught.value.detail).splitlines()) == 5


def test_a_copy_is_a_little_different_and_the_same_for_the_same_seed():
    jobs = [Job(str(number), 600.0 * number, 100, 1) for number in range(200)]
    copy = jittered(jobs, 3)
    assert copy == jittered(jobs, 3) != jittered(jobs, 4)
    assert [job.submit_s for job in copy] == sorted(job.submit_s for job in copy)
    by_id = {job.job_id: job for job in copy}
    assert all(abs(by_id[job.job_id].submit_s - job.submit_s) <= 3600 for job in jobs)
    assert 95 < sum(job.duration_s for job in copy) / len(copy) < 108


def test_hosts_from_a_few_words():
    states = hosts_of("2x8,1x4:24G")
    assert [len(state.capacity.devices) for state in states] == [8, 8, 4]
    assert {device.memory_bytes for device in states[2].capacity.devices} == {24 * GIB}
    assert len({device.id for state in states for device in state.capacity.devices}) == 20


@pytest.mark.parametrize("text", ["", "8", "2x", "2x8,", "x", "2x8:much", "0x8", "999x8", "2*8"])
def test_what_is_no_group_of_hosts_is_refused(text):
    with pytest.raises(ConfigError):
        hosts_of(text)
