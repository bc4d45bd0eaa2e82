"""Recording output: byte for byte, bounded, and from where it was left."""

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.full_disk import file_size_limit
from fetchml.durable import STORAGE_FULL
from fetchml.errors import NotFound
from fetchml.execution.metrics import from_json_line, read_lines, values_of
from fetchml.execution.output import OutputPump, OutputRecorder, read_tail, rewrite_metrics
from fetchml.store.folder import AttemptFolder

MAX_BYTES = 10_000


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    made = AttemptFolder(tmp_path / "1")
    made.inbox.mkdir(parents=True)
    return made


@contextmanager
def recorder(
    folder: AttemptFolder, max_bytes: int = MAX_BYTES, lines: list[str] | None = None
) -> Generator[OutputRecorder]:
    made = OutputRecorder(folder, max_bytes, lambda some: None if lines is None else lines.extend(some))
    try:
        yield made
    finally:
        made.close()


def recorded_metrics(folder: AttemptFolder) -> list[tuple[str, float, int | None]]:
    found = [from_json_line(line) for line, _ in read_lines(folder.metrics)]
    return [(item.name, item.value, item.step) for item in found if item is not None]


@pytest.mark.parametrize("chunks", [[], [b""], [b"a\n"], [b"a", b"", b"\nb\n", b"no newline"], [b"\0\xff\r\n\x1b[2J"]])
def test_output_is_recorded_byte_for_byte(folder: AttemptFolder, chunks: list[bytes]) -> None:
    with recorder(folder) as output:
        output.record(chunks)
        assert output.position == len(b"".join(chunks))
    assert folder.output.read_bytes() == b"".join(chunks)
    assert (output.dropped, output.error) == (False, None)


def test_the_listener_gets_whole_lines(folder: AttemptFolder) -> None:
    lines: list[str] = []
    with recorder(folder, lines=lines) as output:
        output.record([b"on", b"e\ntwo\nth", b"", b"ree \xff\n\n", b"end"])
    assert lines == ["one", "two", "three \ufffd", "", "end"]


def test_an_overlong_line_does_not_fill_the_memory(folder: AttemptFolder) -> None:
    lines: list[str] = []
    with recorder(folder, lines=lines) as output:
        output.record(b"x" * 1000 for _ in range(50))
        assert len(output._partial) <= 2000
    assert [len(line) <= 2000 for line in lines] == [True]


def test_the_index_says_when_each_part_arrived(folder: AttemptFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.5, 101.0, 110.25])
    monkeypatch.setattr("fetchml.execution.output.time.time", lambda: next(clock))
    with recorder(folder) as output:
        output.record([b"a\n", b"b\n", b"c\n", b"d\n"])
    entries = [json.loads(line) for line in folder.output_index.read_text().splitlines()]
    assert entries == [{"offset": 0, "time": 100.0}, {"offset": 4, "time": 101.0}, {"offset": 6, "time": 110.25}]


# Bounds


@pytest.mark.parametrize(
    ("max_bytes", "kept", "dropped"),
    [(6, b"abcdef", False), (7, b"abcdef", False), (5, b"abcde", True), (3, b"abc", True), (0, b"", True)],
)
def test_output_beyond_the_cap_is_dropped(folder: AttemptFolder, max_bytes: int, kept: bytes, dropped: bool) -> None:
    with recorder(folder, max_bytes) as output:
        output.record([b"abc", b"def"])
    assert folder.output.read_bytes() == kept
    assert output.dropped == dropped


def test_a_cap_that_was_reached_before_a_crash_holds(folder: AttemptFolder) -> None:
    with recorder(folder, 5) as output:
        output.record([b"abcde"])
    assert not output.dropped
    with recorder(folder, 5) as output:
        output.record([b"f"])
    assert (folder.output.read_bytes(), output.dropped) == (b"abcde", True)


def test_metrics_beyond_the_cap_are_still_seen_live(folder: AttemptFolder) -> None:
    with recorder(folder, 3) as output:
        output.record([b"abc\n", b"FETCHML_METRIC loss=1\n"])
    assert recorded_metrics(folder) == [("loss", 1.0, None)]


def test_a_full_disk_stops_the_log_and_not_the_payload(folder: AttemptFolder) -> None:
    lines: list[str] = []
    with recorder(folder, lines=lines) as output:
        with file_size_limit(1000):
            output.record([b"x" * 899 + b"\n", b"y" * 899 + b"\n", b"z\n"])
        assert output.error is not None
        assert output.error.code == STORAGE_FULL
    assert folder.output.read_bytes() == b"x" * 899 + b"\n" + b"y" * 100
    assert [line[0] for line in lines] == ["x", "y", "z"]


# After a crash


def test_recording_goes_on_where_it_was_left(folder: AttemptFolder) -> None:
    with recorder(folder) as output:
        output.record([b"one\ntw"])
    with recorder(folder) as output:
        assert output.position == 6
        output.record([b"o\n"])
    assert folder.output.read_bytes() == b"one\ntwo\n"


def test_live_metrics_have_no_gap_and_no_repetition_after_a_crash(folder: AttemptFolder) -> None:
    inbox = folder.inbox / "metrics.jsonl"
    inbox.write_text('{"name": "a", "value": 1}\n')
    with recorder(folder) as output:
        output.record([b"FETCHML_METRIC b=1\nFETCHML_MET"])
        output.read_inbox()
    with inbox.open("a") as file:
        file.write('{"name": "a", "value": 2}\n')
    with folder.metrics.open("ab") as file:
        file.write(b'{"name": "torn", "va')
    with recorder(folder) as output:
        output.read_inbox()
        output.read_inbox()
        output.record([b"RIC b=2\nFETCHML_METRIC b=3\n"])
    assert sorted(recorded_metrics(folder)) == [("a", 1, None), ("a", 2, None), ("b", 1, None), ("b", 3, None)]
    # The line that the crash tore apart is whole in the log, so the record has it.
    rewrite_metrics(folder)
    assert sorted(value for name, value, _ in recorded_metrics(folder) if name == "b") == [1, 2, 3]


def test_rewriting_metrics_twice_changes_nothing(folder: AttemptFolder) -> None:
    (folder.inbox / "metrics.jsonl").write_bytes(b'{"name": "a", "value": "NaN", "time": 1.5}\nnonsense\n{"name"')
    folder.output.write_bytes(b"FETCHML_METRIC b=1 step=2\n")
    assert rewrite_metrics(folder) == len(b'{"name": "a", "value": "NaN", "time": 1.5}\nnonsense\n')
    first = folder.metrics.read_bytes()
    assert first == b'{"name": "a", "value": "NaN", "time": 1.5}\n{"name": "b", "value": 1.0, "step": 2}\n'
    rewrite_metrics(folder)
    assert folder.metrics.read_bytes() == first


_lines = st.one_of(
    st.builds(
        lambda name, number: f"FETCHML_METRIC {name}={number}".encode(), st.sampled_from("abc"), st.integers(0, 9)
    ),
    st.binary(max_size=20).filter(
        lambda line: not line.startswith(b"FETCHML_METRIC") and b"\n" not in line and b"\r" not in line
    ),
)


@given(lines=st.lists(_lines, max_size=12), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_however_output_is_cut_the_live_metrics_are_those_of_the_record(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int]
) -> None:
    folder = AttemptFolder(tmp_path_factory.mktemp("attempt"))
    content = b"".join(line + b"\n" for line in lines)
    bounds = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    with recorder(folder) as output:
        output.record(content[a:b] for a, b in pairwise(bounds))
    assert folder.output.read_bytes() == content
    whole = [(item.name, item.value, item.step) for item in values_of(folder.path / "none", folder.output)]
    assert recorded_metrics(folder) == whole
    assert len(whole) == sum(line.startswith(b"FETCHML_METRIC ") for line in lines)


# The pump


def test_a_pump_records_until_the_end(folder: AttemptFolder) -> None:
    with recorder(folder) as output:
        pump = OutputPump(output, iter([b"a\n", b"b\n"]))
        assert pump.wait(60)
        pump.check()
    assert folder.output.read_bytes() == b"a\nb\n"


def test_what_breaks_the_stream_is_raised_where_it_is_watched(folder: AttemptFolder) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"a\n"
        raise NotFound("the container is gone")

    with recorder(folder) as output:
        pump = OutputPump(output, breaks())
        assert pump.wait(60)
        with pytest.raises(NotFound):
            pump.check()
    assert folder.output.read_bytes() == b"a\n"


# The end of a log


@pytest.mark.parametrize(
    ("content", "max_bytes", "tail"),
    [
        (b"", 10, ""),
        (b"abc", 10, "abc"),
        (b"abcdef", 3, "def"),
        (b"a\xff", 10, "a\ufffd"),
        ("\u00e9".encode(), 1, "\ufffd"),
    ],
)
def test_the_tail_is_the_end_as_text(tmp_path: Path, content: bytes, max_bytes: int, tail: str) -> None:
    (tmp_path / "log").write_bytes(content)
    assert read_tail(tmp_path / "log", max_bytes) == tail


def test_a_log_that_is_missing_has_no_tail(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "log") == ""
    os.mkdir(tmp_path / "log")
    assert read_tail(tmp_path / "log") == ""
