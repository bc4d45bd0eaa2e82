"""Metrics of a run: both doors, whatever a payload writes into them, and the summary in the record."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.execution.metrics import (
    MAX_LINE_BYTES,
    MetricValue,
    from_json_line,
    from_stdout_line,
    read_lines,
    summarise,
    values_of,
)


def value(name: str, number: float, step: int | None = None, time: float | None = None) -> MetricValue:
    return MetricValue(name, number, step, time)


# A line on stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"FETCHML_METRIC loss=0.5", value("loss", 0.5)),
        (b"FETCHML_METRIC loss=0.5 step=3", value("loss", 0.5, 3)),
        (b"FETCHML_METRIC  loss=-1e-3  step=0  ", value("loss", -0.001, 0)),
        (b"FETCHML_METRIC\tloss=5\tstep=7\r", value("loss", 5, 7)),
        (b"FETCHML_METRIC val/loss=inf", value("val/loss", math.inf)),
        (b"FETCHML_METRIC loss=-Infinity", value("loss", -math.inf)),
        ("FETCHML_METRIC \u00e9=1".encode(), value("\u00e9", 1)),
        (b"FETCHML_METRIC loss=1_000", value("loss", 1000)),
        (b"FETCHML_METRIC " + b"n" * 128 + b"=1", value("n" * 128, 1)),
        (b"FETCHML_METRIC loss=1 step=" + b"9" * 15, value("loss", 1, 10**15 - 1)),
    ],
)
def test_a_metric_on_stdout_is_read(line: bytes, expected: MetricValue) -> None:
    assert from_stdout_line(line) == expected
    assert from_stdout_line(line, 12.5) == MetricValue(expected.name, expected.value, expected.step, 12.5)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"loss=0.5",
        b"FETCHML_METRIC",
        b"FETCHML_METRIC ",
        b"FETCHML_METRIC loss",
        b"FETCHML_METRIC loss=",
        b"FETCHML_METRIC =1",
        b"FETCHML_METRIC loss=low",
        b"FETCHML_METRIC loss=1 step=",
        b"FETCHML_METRIC loss=1 step=-1",
        b"FETCHML_METRIC loss=1 step=1.5",
        b"FETCHML_METRIC loss=1 step=" + b"9" * 16,
        b"FETCHML_METRIC loss=1 and more",
        b"FETCHML_METRIC my loss=1",
        b" FETCHML_METRIC loss=1",
        b"FETCHML_METRICS loss=1",
        b"FETCHML_METRIC lo\xffss=1",
        b"FETCHML_METRIC " + b"n" * 129 + b"=1",
        b"FETCHML_METRIC loss=" + b"1" * 65,
        b"FETCHML_METRIC loss=\xd9\xa1",
    ],
)
def test_anything_else_on_stdout_is_output(line: bytes) -> None:
    assert from_stdout_line(line) is None


def test_what_is_no_number_is_read_from_stdout() -> None:
    found = from_stdout_line(b"FETCHML_METRIC loss=nan")
    assert found is not None
    assert math.isnan(found.value)


# A line of JSON


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"name": "loss", "value": 0.5}', value("loss", 0.5)),
        (b'{"name": "loss", "value": 1, "step": 3, "time": 7}\n', value("loss", 1.0, 3, 7.0)),
        (b'{"name": "loss", "value": "Infinity"}', value("loss", math.inf)),
        (b'{"name": "loss", "value": "-Infinity", "more": []}', value("loss", -math.inf)),
        (b'{"name": "loss", "value": -Infinity}', value("loss", -math.inf)),
        (b'{"name": "loss", "value": 1, "step": 1.5}', value("loss", 1)),
        (b'{"name": "loss", "value": 1, "step": true}', value("loss", 1)),
        (b'{"name": "loss", "value": 1, "step": "3", "time": "now"}', value("loss", 1)),
        (b'{"name": "' + b"n" * 128 + b'", "value": 1}', value("n" * 128, 1)),
    ],
)
def test_a_metric_in_the_inbox_is_read(line: bytes, expected: MetricValue) -> None:
    assert from_json_line(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"null", b"7", b"[]", b'"text"', b"{}", b"{", b"\xff", b"[" * 3000),
        b'{"name": "loss"}',
        b'{"value": 1}',
        b'{"name": "", "value": 1}',
        b'{"name": 7, "value": 1}',
        b'{"name": null, "value": 1}',
        b'{"name": "loss", "value": null}',
        b'{"name": "loss", "value": true}',
        b'{"name": "loss", "value": "0.5"}',
        b'{"name": "loss", "value": [1]}',
        b'{"name": "loss", "value": 1' + b"0" * 400 + b"}",
        b'{"name": "' + b"n" * 129 + b'", "value": 1}',
        b'{"name": "loss", "value": 1, "time": 1' + b"0" * 400 + b"}",
    ],
)
def test_anything_else_in_the_inbox_is_passed_over(line: bytes) -> None:
    assert from_json_line(line) is None


@pytest.mark.parametrize("step", [2**53, 2**53 + 1, -(2**53) - 1, 10**30])
def test_a_step_that_no_manifest_can_hold_is_not_taken(step: int) -> None:
    """RFC 8785 has no integers beyond 2^53."""
    found = from_json_line(b'{"name": "loss", "value": 1, "step": %d}' % step)
    assert found is None or found.step is None


@given(
    st.builds(
        MetricValue,
        st.text(min_size=1, max_size=128),
        st.floats(),
        st.none() | st.integers(1 - 2**53, 2**53 - 1),
        st.none() | st.floats(0, 1e12),
    )
)
def test_what_was_written_is_read_back(item: MetricValue) -> None:
    line = item.as_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = from_json_line(line)
    assert found is not None
    assert (found.name, found.step, found.time) == (item.name, item.step, item.time)
    assert found.value == item.value or (math.isnan(found.value) and math.isnan(item.value))


# Files that a payload writes


def lines_of(path: Path, offset: int = 0) -> list[bytes]:
    return [line for line, _ in read_lines(path, offset)]


def test_lines_are_read_with_the_offset_behind_each(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"one\n\nthree\n")
    assert list(read_lines(path)) == [(b"one\n", 4), (b"\n", 5), (b"three\n", 11)]
    assert list(read_lines(path, 5)) == [(b"three\n", 11)]
    assert list(read_lines(path, 11)) == []
    assert list(read_lines(path, 99)) == []


def test_a_line_that_is_still_being_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"one\ntw")
    assert list(read_lines(path)) == [(b"one\n", 4)]
    path.write_bytes(b"one\ntwo\n")
    assert list(read_lines(path, 4)) == [(b"two\n", 8)]


@pytest.mark.parametrize("length", [MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES - 1, 5 * MAX_LINE_BYTES])
def test_an_overlong_line_is_passed_over_and_the_next_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "metrics.jsonl"
    longest = b"y" * (MAX_LINE_BYTES - 1) + b"\n"
    path.write_bytes(b"one\n" + b"x" * length + b"\n" + longest + b"two\n")
    assert lines_of(path) == [b"one\n", longest, b"two\n"]


@pytest.mark.parametrize(
    "what",
    ["missing", "fifo", "link", "folder"],
)
def test_what_is_no_file_has_no_lines(tmp_path: Path, what: str) -> None:
    path = tmp_path / "metrics.jsonl"
    match what:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            (tmp_path / "secret").write_text("secret\n")
            path.symlink_to("secret")
        case _:
            pass
    assert lines_of(path) == []


def test_values_come_from_both_doors(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_bytes(b'{"name": "a", "value": 1}\nnonsense\n{"name": "b", "value": 2}\n')
    (tmp_path / "output").write_bytes(b"begin\nFETCHML_METRIC c=3 step=1\nFETCHML_METRIC nonsense\nend\n")
    found = list(values_of(tmp_path / "inbox", tmp_path / "output"))
    assert found == [value("a", 1), value("b", 2), value("c", 3, 1)]
    assert list(values_of(tmp_path / "none", tmp_path / "none")) == []


MIB = 1024 * 1024


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\n",
        b"x" * 100 + b"\n",
        *(b"x" * (MIB - n) + b"\n" for n in (0, 1, 2, 9, 15, 16, 17, 24, 30)),
        b"x\n" * MIB,
    ],
    ids=lambda before: str(len(before)),
)
def test_a_metric_is_found_wherever_it_is_in_the_output(tmp_path: Path, before: bytes) -> None:
    """The output is read in blocks of a mebibyte; a line may lie across two."""
    (tmp_path / "output").write_bytes(before + b"FETCHML_METRIC loss=0.5 step=1\nmore\n")
    assert list(values_of(tmp_path / "none", tmp_path / "output")) == [value("loss", 0.5, 1)]


@pytest.mark.parametrize(
    "output",
    [
        b"say FETCHML_METRIC loss=0.5\n",
        b"x" * MIB + b"FETCHML_METRIC loss=0.5\n",
        b"x" * (MIB - 7) + b"FETCHML_METRIC loss=0.5\n",
        b"x" * (3 * MIB) + b"FETCHML_METRIC loss=0.5\n",
        b"FETCHML_METRIC " + b" " * MAX_LINE_BYTES + b"loss=0.5\n",
    ],
    ids=["in a line", "at a block", "across a block", "in the third block", "overlong"],
)
def test_a_metric_within_a_line_is_output(tmp_path: Path, output: bytes) -> None:
    (tmp_path / "output").write_bytes(output)
    assert list(values_of(tmp_path / "none", tmp_path / "output")) == []


def test_a_metric_in_a_last_line_without_newline_counts(tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(b"FETCHML_METRIC loss=0.5\nFETCHML_METRIC loss=0.25")
    assert [item.value for item in values_of(tmp_path / "none", tmp_path / "output")] == [0.5, 0.25]


def test_values_beyond_all_bounds_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchml.execution.metrics.MAX_VALUES", 3)
    (tmp_path / "inbox").write_bytes(b'{"name": "a", "value": 1}\n' * 2)
    (tmp_path / "output").write_bytes(b"FETCHML_METRIC b=1\n" * 2)
    assert [item.name for item in values_of(tmp_path / "inbox", tmp_path / "output")] == ["a", "a", "b"]


# The summary


def summary(*numbers: float) -> dict[str, Any]:
    items = [value("loss", number, step) for step, number in enumerate(numbers)]
    found = summarise(items)
    return found["loss"].model_dump() if found else {}


def test_a_summary_has_last_smallest_and_largest_with_their_steps() -> None:
    assert summary(3, 1, 2) == {
        "last": 2,
        "last_step": 2,
        "minimum": 1,
        "minimum_step": 1,
        "maximum": 3,
        "maximum_step": 0,
        "count": 3,
        "not_finite": 0,
    }


def test_of_equal_values_the_first_counts() -> None:
    found = summary(1, 1, 0, 0)
    assert (found["minimum_step"], found["maximum_step"], found["last_step"]) == (2, 0, 3)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_number_only_count(odd: float) -> None:
    assert summary(1, odd, 2, odd) == {
        **summary(1, 5, 2, 5),
        **summary(1, 2),
        "last": None,
        "last_step": 3,
        "maximum_step": 2,
        "count": 4,
        "not_finite": 2,
    }
    assert (summary(odd)["last"], summary(odd)["minimum"], summary(odd)["not_finite"]) == (None, None, 1)


def test_values_that_are_no_number_count_when_they_come_first() -> None:
    assert summary(math.nan, 1)["count"] == summary(1, math.nan)["count"] == 2


def test_metrics_are_sorted_by_name() -> None:
    assert list(summarise([value("b", 1), value("a", 1), value("c", 1)])) == ["a", "b", "c"]
