"""A stand-in for NVIDIA's driver, compiled once."""

from pathlib import Path

import pytest

import nvml


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a compiled libnvidia-ml.so.1."""
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(nvml_library: Path, tmp_path: Path) -> nvml.Driver:
    """A driver without devices, until the test adds some."""
    return nvml.Driver(nvml_library, tmp_path / "nvml")
