import json
import math
import os
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import fetchml
from fetchml.metric import METRICS_VARIABLE, log_metric


class Scalar:
    """Behaves as a NumPy or PyTorch scalar does: no number, but `float()` takes it."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return self._value


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for a run: returns the file its metrics go to."""
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv(METRICS_VARIABLE, str(path))
    return path


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_is_the_one_name_scripts_import():
    assert fetchml.log_metric is log_metric


@pytest.mark.parametrize("value", [None, ""])
def test_outside_a_run_nothing_happens(value, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(METRICS_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(METRICS_VARIABLE, value)
    log_metric("loss", 0.5, step=1)
    assert os.listdir(tmp_path) == []


def test_in_a_run_each_call_appends_one_line(run):
    log_metric("loss", 0.5, step=1)
    log_metric("loss", 0.25)
    first, second = records(run)
    assert (first["name"], first["value"], first["step"]) == ("loss", 0.5, 1)
    assert "step" not in second
    assert isinstance(first["time"], float)


def test_what_was_there_is_kept(run):
    run.write_text('{"name": "a", "value": 1}\n')
    log_metric("b", 2)
    assert [record["name"] for record in records(run)] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (3, 3.0),
        (True, 1.0),
        (Scalar(0.5), 0.5),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (1e308, 1e308),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (Scalar(math.nan), "NaN"),
    ],
)
def test_any_number_is_written_as_strict_json(run, value, written):
    log_metric("m", value)
    assert json.loads(run.read_text(), parse_constant=pytest.fail)["value"] == written


def test_a_step_that_counts_like_a_number_is_one(run):
    class Step:
        def __int__(self) -> int:
            return 7

    log_metric("m", 1, step=Step())
    assert records(run)[0]["step"] == 7


@pytest.mark.parametrize("name", ["", "x" * 129])
@pytest.mark.parametrize("inside", [True, False])
def test_a_name_has_1_to_128_characters_inside_a_run_and_outside(name, inside, run, monkeypatch):
    if not inside:
        monkeypatch.delenv(METRICS_VARIABLE)
    with pytest.raises(ValueError, match="1 to 128"):
        log_metric(name, 1)
    assert not run.exists()


@pytest.mark.parametrize("name", ["x", "val/loss", "é" * 128, "a b", 'q"uote', "line\nbreak", "\x1b[31m"])
def test_any_other_name_is_one_line(run, name):
    log_metric(name, 1)
    (record,) = records(run)
    assert record["name"] == name


@pytest.mark.parametrize("value", [None, [1.0], {}, 1j, object()])
def test_what_is_no_number_is_a_type_error_inside_a_run_and_outside(value, run, monkeypatch):
    with pytest.raises(TypeError):
        log_metric("m", value)
    monkeypatch.delenv(METRICS_VARIABLE)
    with pytest.raises(TypeError):
        log_metric("m", value)
    assert not run.exists()


@pytest.mark.parametrize("value", ["0.5", "abc", b"1"])
def test_text_is_no_number(value):
    with pytest.raises(TypeError):
        log_metric("m", value)


def test_a_name_that_is_no_text_fails_outside_a_run_as_it_does_inside(monkeypatch):
    monkeypatch.delenv(METRICS_VARIABLE, raising=False)
    with pytest.raises(TypeError):
        log_metric(b"loss", 1)


def test_threads_do_not_tear_each_others_lines(run):
    def work(number: int) -> None:
        for step in range(50):
            log_metric(f"thread/{number}", step, step=step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = records(run)
    assert len(found) == 400
    for number in range(8):
        assert [r["step"] for r in found if r["name"] == f"thread/{number}"] == list(range(50))


@pytest.mark.parametrize("place", ["folder", "missing/metrics.jsonl", "file/metrics.jsonl", "x" * 300])
def test_a_path_that_cannot_be_written_does_not_end_the_script(place, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setenv(METRICS_VARIABLE, str(tmp_path / place))
    log_metric("loss", 1)


def test_a_full_disk_does_not_end_the_script(monkeypatch):
    monkeypatch.setenv(METRICS_VARIABLE, "/dev/full")
    log_metric("loss", 1)


def test_a_file_that_may_not_be_written_does_not_end_the_script(run, mode_bits_count):
    run.touch(0o400)
    log_metric("loss", 1)
    assert run.read_bytes() == b""
