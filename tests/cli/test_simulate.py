"""Replays of traces and of the runs of a store."""

from pathlib import Path

import pytest

from cli.calls import User, is_refused
from cli.conftest import Library

TRACE = """\
job_id,submit_s,duration_s,gpus,gpu_mem_gb,cpus,mem_gb,user,final_state
1,0,100,3,,,,ada,completed
2,10,100,4,,,,ada,completed
3,20,50,1,,,,bob,failed
4,30,500,1,,,,bob,completed
"""


@pytest.fixture
def trace(user: User) -> Path:
    path = user.project / "trace.csv"
    path.write_text(TRACE, encoding="utf-8")
    return path


def test_the_schedulers_are_compared_with_strict_fifo(user: User, trace: Path) -> None:
    done = user.call("simulate", str(trace), "--hosts", "1x4")
    assert (done.code, done.err) == (0, "")
    head, _, columns, fifo, *_ = done.out.splitlines()
    assert head == "trace.csv: 4 jobs of 2 users in 30s, on 1 host with 4 GPUs, load 10.42"
    assert columns.split()[:3] == ["POLICY", "AVG", "WAIT"]
    assert fifo.split()[:3] == ["fifo", "1m50s", "(1.00)"]
    for name in ("prefect", "easy-perfect", "default"):
        assert any(line.startswith(f"{name} ") for line in done.out.splitlines())


def test_json_has_absolute_and_relative_figures_of_every_copy(user: User, trace: Path) -> None:
    words = ("--hosts", "1x4", "--policy", "easy-perfect", "--jitter", "2", "--seed", "7", "--json")
    document = user.call("simulate", str(trace), *words).json()
    assert document["schema_version"] == 1
    assert (document["jobs"], document["users"], document["gpus"]) == (4, 2, 4)
    assert [copy["seed"] for copy in document["copies"]] == [None, 7, 8]
    as_it_is = document["copies"][0]["policies"]
    assert set(as_it_is) == {"fifo", "easy-perfect"}
    assert as_it_is["fifo"]["figures"]["average_wait_s"] == 110
    assert as_it_is["easy-perfect"]["figures"]["average_wait_s"] == 65
    assert as_it_is["easy-perfect"]["relative_to_fifo"]["average_wait_s"] == pytest.approx(65 / 110)
    assert user.call("simulate", str(trace), *words).json() == document


def test_durations_can_be_scaled_and_what_fits_nowhere_is_said(user: User, trace: Path) -> None:
    document = user.call("simulate", str(trace), "--hosts", "1x4", "--scale", "0.5", "--json").json()
    assert document["load"] == pytest.approx(5.2083, abs=1e-3)
    done = user.call("simulate", str(trace), "--hosts", "2x3")
    assert done.code == 0
    assert done.err == "left out as no host could ever run them: 1 of 4 jobs\n"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), ("give either a trace or `--history`",)),
        (("trace.csv", "--history"), ("give either a trace or `--history`",)),
        (("trace.csv", "--hosts", "8"), ("--hosts: `8` is no group of hosts", "2x8")),
        (("trace.csv", "--policy", "best"), ("there is no scheduler `best`", "fifo, prefect")),
        (("trace.csv", "--hosts", "4x2:1G", "--jitter", "-1"), ("--jitter",)),
        (("bad.csv",), ("`bad.csv` is no trace", "line 2, column submit_s: `x` is no number")),
        (("binary.csv",), ("`binary.csv` is no text in UTF-8",)),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_message(
    user: User, trace: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    (user.project / "bad.csv").write_text("submit_s,duration_s,gpus\nx,1,1\n", encoding="utf-8")
    (user.project / "binary.csv").write_bytes(b"\xff\xfe\x00")
    is_refused(user.call("simulate", *words), 2, *parts)


def test_a_trace_that_is_not_there_is_not_found(user: User) -> None:
    is_refused(user.call("simulate", "gone.csv"), 3, "there is no file `gone.csv`")


def test_the_runs_of_the_store_are_replayed(library: Library) -> None:
    document = library.user.call("simulate", "--history", "--hosts", "1x1", "--json").json()
    assert document["jobs"] == 2
    assert document["source"] == "the runs of this store"
    is_refused(library.user.call("simulate", "--history"), 2, "no worker has run yet")


def test_an_empty_store_has_nothing_to_replay(user: User) -> None:
    is_refused(user.call("simulate", "--history"), 3, "there are no runs that have ended")
