"""Through the real loader and NVIDIA's real binding, against a stand-in for the driver's library."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "data" / "nvml" / "fake_nvml.c"

LOOK = """
import json, sys
from fetchml.gpus.nvml import detect_nvidia
found = detect_nvidia()
print(json.dumps({
    "devices": [device.model_dump(mode="json") for device in found.devices],
    "detection": found.detection,
    "driver": found.driver_version,
    "cuda": found.cuda_version,
}))
"""
NOTHING = {"devices": [], "detection": "none", "driver": None, "cuda": None}


def fake_card(number: int) -> dict[str, Any]:
    return {
        "id": f"GPU-fake-{number}",
        "vendor": "nvidia",
        "model": f"Fake H{100 + number}",
        "memory_bytes": 80 * 1024**3,
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a compiled libnvidia-ml.so.1."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("in CI the detection of GPUs may not go untested: there is no C compiler")
        pytest.skip("NOT TESTED: the detection of NVIDIA GPUs needs a C compiler (gcc)")
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(target), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def look(library: Path, **fake: object) -> dict[str, Any]:
    """Returns what is detected in a fresh process that finds the given library."""
    settings = {f"FAKE_NVML_{name.upper()}": str(value) for name, value in fake.items()}
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library), **settings}
    done = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_card_is_found_by_its_uuid(library):
    assert look(library, cards=2) == {
        "devices": [fake_card(0), fake_card(1)],
        "detection": "nvml",
        "driver": "550.54.15",
        "cuda": "12.4",
    }


def test_a_driver_without_cards_is_a_host_without_gpus(library):
    found = look(library, cards=0)
    assert (found["devices"], found["driver"]) == ([], "550.54.15")


@pytest.mark.parametrize("code", [9, 12, 999], ids=["driver not loaded", "library not found", "unknown"])
def test_a_driver_that_does_not_start_is_a_host_without_gpus(library, code):
    assert look(library, cards=2, fail="init", code=code) == NOTHING


def test_a_library_that_is_none_is_a_host_without_gpus(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    assert look(tmp_path) == NOTHING


@pytest.mark.parametrize("call", ["handle", "uuid", "name", "memory"])
def test_a_card_that_errors_is_left_out_and_the_others_stay(library, call):
    found = look(library, cards=3, fail=call, fail_card=1, code=15)
    assert found["devices"] == [fake_card(0), fake_card(2)]


def test_a_driver_that_cannot_count_is_a_host_without_gpus(library):
    assert look(library, cards=2, fail="count") == NOTHING


@pytest.mark.parametrize(("call", "field"), [("driver", "driver"), ("cuda", "cuda")])
def test_a_version_that_is_not_told_is_unknown_and_the_cards_stay(library, call, field):
    found = look(library, cards=1, fail=call)
    assert found[field] is None
    assert found["devices"] == [fake_card(0)]


def test_an_error_while_the_library_is_closed_does_not_matter(library):
    assert look(library, cards=1, fail="shutdown")["devices"] == [fake_card(0)]


def test_a_card_that_has_no_memory_of_its_own_is_found_without_a_figure(library):
    not_supported = 3
    (found,) = look(library, cards=1, fail="memory", code=not_supported)["devices"]
    assert found == {**fake_card(0), "memory_bytes": None}
