"""What the lines of resources.jsonl say together, whoever wrote them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.execution.samples import Summary, integral, mean_over_time, read_samples, summary_of
from fetchml.models.resources import ResourceUse
from fetchml.models.units import GIB


def sample(clock_s: float, *gpus: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"clock_s": clock_s, "gpus": list(gpus), **facts}


def gpu(name: str = "GPU-a", **facts: Any) -> dict[str, Any]:
    return {"id": name, **facts}


def test_nothing_is_said_without_a_sample():
    assert summary_of([]).as_use() == {}


def test_the_use_of_disks_is_the_last_that_was_counted():
    found = summary_of([sample(1, read_bytes=5, written_bytes=1), sample(2, read_bytes=9), sample(3, read_bytes=8)])
    assert (found.samples, found.disk_read_bytes, found.disk_written_bytes) == (3, 9, 1)


def test_energy_is_power_over_time():
    hour = [sample(t, gpu(power_w=300.0)) for t in range(0, 3601, 5)]
    assert summary_of(hour).energy_wh == 300.0
    rising = [sample(0, gpu(power_w=0.0)), sample(3600, gpu(power_w=100.0))]
    assert summary_of(rising).energy_wh == 50.0


def test_energy_is_that_of_all_devices_and_of_the_runs_share():
    assert summary_of([sample(t, gpu("a", power_w=100), gpu("b", power_w=50)) for t in (0, 3600)]).energy_wh == 150
    assert summary_of([sample(t, gpu("a", power_w=100, share=0.25)) for t in (0, 3600)]).energy_wh == 25


def test_use_is_weighted_by_the_time_it_stands_for():
    found = summary_of([sample(0, gpu(utilisation_percent=0)), sample(1, gpu(utilisation_percent=0)), sample(2, gpu())])
    assert found.gpu_utilisation_percent == 0
    uneven = [sample(t, gpu(utilisation_percent=v)) for t, v in ((0, 100), (90, 100), (91, 0), (100, 0))]
    assert summary_of(uneven).gpu_utilisation_percent == 90.5
    two = [sample(t, gpu("a", utilisation_percent=100), gpu("b", utilisation_percent=50)) for t in (0, 10)]
    assert summary_of(two).gpu_utilisation_percent == 75


def test_the_peak_of_each_device_is_kept_and_whose_it_was():
    own = {"memory_of": "run"}
    rows = [
        sample(t, gpu("a", memory_bytes=m, **own), gpu("b", memory_bytes=1, **own)) for t, m in ((0, 3), (1, 7), (2, 5))
    ]
    found = summary_of(rows)
    assert (found.gpu_memory_peak_bytes, found.as_use()["gpu_memory_of"]) == ({"a": 7, "b": 1}, "run")
    mixed = summary_of([*rows, sample(3, gpu("a", memory_bytes=2, memory_of="device"))])
    assert mixed.as_use()["gpu_memory_of"] == "device"


def test_more_memory_than_declared_is_told():
    found = summary_of([sample(0, gpu(memory_bytes=12 * GIB, memory_of="run"))])
    assert found.warnings(10 * GIB) == (
        "more GPU memory than declared: the run used up to 12G on GPU-a, `--gpu-memory` said 10G",
    )
    assert found.warnings(12 * GIB) == found.warnings(None) == ()
    shared = summary_of([sample(0, gpu(memory_bytes=12 * GIB, reserved_bytes=6 * GIB))])
    assert shared.warnings(None) == (
        "more GPU memory than declared: all its users together had up to 12G on GPU-a, its share is 6G",
    )


def test_what_went_wrong_with_a_device_is_told():
    rows = [
        sample(0, gpu(ecc_errors=3, throttled=["too hot"], temperature_c=61.0)),
        sample(1, gpu(ecc_errors=5, throttled=["power limit"], temperature_c=88.5)),
        sample(2, gpu(error="GPU is lost")),
    ]
    found = summary_of(rows)
    assert (found.gpu_throttled, found.gpu_temperature_max_c) == (("power limit", "too hot"), 88.5)
    assert found.warnings(None) == (
        "GPU-a reported an error during the run: GPU is lost",
        "GPU-a had 2 memory errors during the run that could not be corrected",
    )


def test_everything_fits_into_the_record():
    rows = [sample(t, gpu(power_w=80.5, utilisation_percent=3, memory_bytes=9)) for t in (0, 5)]
    use = ResourceUse(**summary_of(rows).as_use())
    assert use.model_dump(mode="json") == {
        "wall_s": None,
        "cpu_s": None,
        "memory_peak_bytes": None,
        "output_bytes": None,
        "samples": 2,
        "gpu_utilisation_percent": 3.0,
        "gpu_memory_peak_bytes": {"GPU-a": 9},
        "gpu_memory_of": "device",
        "energy_wh": 0.112,
    }


def test_a_record_without_samples_looks_as_it_did():
    assert set(ResourceUse(wall_s=1).model_dump()) == {"wall_s", "cpu_s", "memory_peak_bytes", "output_bytes"}


def test_the_area_below_points():
    assert integral([]) == integral([(0, 5)]) == 0
    assert integral([(0, 2), (2, 4)]) == 6
    assert mean_over_time([]) is None
    assert mean_over_time([(3, 5)]) == 5


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"clock_s": "1"}',
        b'{"clock_s": true}',
        b'{"clock_s": NaN}',
        b"\xff",
        b"[" * 70_000,
        b'{"clock_s": 1' + b"0" * 400 + b"}",
    ],
)
def test_a_line_that_is_no_sample_is_passed_over(tmp_path: Path, line: bytes):
    path = tmp_path / "resources.jsonl"
    path.write_bytes(line + b'\n{"clock_s": 1, "read_bytes": 4}\n{"clock_s": 2, "rea')
    assert read_samples(path) == [{"clock_s": 1, "read_bytes": 4}]


def test_without_a_file_there_are_no_samples(tmp_path: Path):
    assert read_samples(tmp_path / "missing") == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [
        "id",
        "power_w",
        "utilisation_percent",
        "memory_bytes",
        "memory_of",
        "temperature_c",
        "throttled",
        "share",
        "error",
    ]
)
ODD = st.dictionaries(NAMES, JSON | st.just("GPU-\ud800"), max_size=6).map(lambda row: {"id": "GPU-a", **row})
GPUS = st.lists(ODD | JSON, max_size=3) | JSON


@given(st.lists(st.fixed_dictionaries({"clock_s": st.floats(0, 1e9), "gpus": GPUS, "read_bytes": JSON}), max_size=4))
def test_no_lines_however_odd_keep_a_run_from_its_record(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]):
    path = tmp_path_factory.mktemp("odd") / "resources.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = summary_of(read_samples(path))
    use = ResourceUse(**found.as_use())
    assert ResourceUse.model_validate_json(use.model_dump_json()) == use
    assert all(isinstance(text, str) for text in found.warnings(1))


def test_an_empty_summary_warns_of_nothing():
    assert Summary().warnings(5) == ()
