"""What an interpreter is asked, and what is read from its answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fetchml.environment import probe
from fetchml.environment.system import host_system
from fetchml.environment.venv import as_is_environment
from fetchml.models.software import AcceleratorLibrary


def installed(site: Path, folder: str, name: str, version: str) -> None:
    target = site / folder
    target.mkdir(parents=True)
    (target / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: 9\n")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter of its own, with nothing installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv" / "bin" / "python"


def site_of(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python3*/site-packages"))


def test_an_interpreter_tells_what_is_installed_for_it_and_nothing_is_imported(python: Path) -> None:
    site = site_of(python)
    installed(site, "Ruamel_Yaml-1.0.dist-info", "Ruamel_Yaml", "1.0")
    installed(site, "torch-2.5.1.dist-info", "torch", "2.5.1+cu124")
    (site / "torch.py").write_text("raise SystemExit('imported')")
    found = as_is_environment(str(python))
    assert found.packages == ("ruamel-yaml==1.0", "torch==2.5.1+cu124")
    assert found.libraries == (AcceleratorLibrary(name="cuda", version="12.4", told_by="torch==2.5.1+cu124"),)
    assert found.build is not None
    assert found.build.implementation == sys.implementation.name.replace("cpython", "CPython")
    assert found.system == host_system()


def test_of_a_package_that_is_there_twice_the_first_counts_as_it_does_for_an_import(python: Path) -> None:
    site = site_of(python)
    installed(site, "a-1.0.dist-info", "a", "1.0")
    (site / "more.pth").write_text(f"{site.parent}/more\n")
    installed(site.parent / "more", "A-2.0.dist-info", "A", "2.0")
    assert as_is_environment(str(python)).packages == ("a==1.0",)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"Name\n", b"Name: x\n"])
def test_metadata_that_is_damaged_leaves_a_package_out_and_no_more(python: Path, damage: bytes) -> None:
    site = site_of(python)
    installed(site, "good-1.0.dist-info", "good", "1.0")
    (site / "bad-1.0.dist-info").mkdir()
    (site / "bad-1.0.dist-info" / "METADATA").write_bytes(damage)
    assert as_is_environment(str(python)).packages == ("good==1.0",)


def test_variables_of_the_user_do_not_reach_the_interpreter(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(python.parent / "mine", "mine-1.0.dist-info", "mine", "1.0")
    monkeypatch.setenv("PYTHONPATH", str(python.parent / "mine"))
    assert as_is_environment(str(python)).packages == ()


def test_an_interpreter_that_cannot_list_its_packages_still_has_a_version(tmp_path: Path) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\ncase "$*" in *metadata*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    found = as_is_environment(str(wrapper))
    assert found.python is not None
    assert (found.packages, found.build, found.libraries) == ((), None, ())


@pytest.mark.parametrize("output", [b"", b"[]", b"{}", b"null", b"Traceback", b"\xff"])
def test_other_output_tells_nothing(output: bytes) -> None:
    assert probe.told(output) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, []),
        ({"variables": None, "cuda": None}, []),
        ({"variables": {"CUDA_VERSION": "12.1.1"}}, ["cuda 12.1.1 CUDA_VERSION"]),
        (
            {"variables": {"CUDA_VERSION": "12.1.1"}, "cuda": "12.1.2"},
            ["cuda 12.1.2 /usr/local/cuda/version.json"],
        ),
        (
            {
                "packages": ["nvidia-cuda-runtime-cu12==12.4.127", "nvidia-cudnn-cu12==9.1.0", "torch==2.5.1+cu121"],
                "variables": {"CUDA_VERSION": "11.8.0", "NV_CUDNN_VERSION": "8"},
            },
            ["cuda 12.4.127 nvidia-cuda-runtime-cu12", "cudnn 9.1.0 nvidia-cudnn-cu12"],
        ),
        ({"packages": ["torch==2.5.1+rocm6.2"]}, ["rocm 6.2 torch==2.5.1+rocm6.2"]),
        ({"packages": ["torch==2.5.1+cpu", "notorch==1+cu121"]}, []),
    ],
)
def test_libraries_for_gpus_come_from_what_is_nearest_to_the_payload(found: probe.Told, expected: list[str]) -> None:
    assert [f"{item.name} {item.version} {item.told_by}" for item in probe.libraries(found)] == expected


def test_what_was_kept_by_an_older_version_lacks_facts_and_is_no_fault() -> None:
    kept: probe.Told = json.loads('{"python": "3.12.1", "packages": ["a==1"]}')
    assert (probe.python_build(kept), probe.system_facts(kept), probe.libraries(kept)) == (None, None, ())


def test_the_system_of_this_host_is_named() -> None:
    found = host_system()
    assert found.kernel == os.uname().release
    assert found.machine == os.uname().machine
