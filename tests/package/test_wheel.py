"""What users install: the wheel, built through the sdist."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "fetchml"

QUEUE = ("queue", "-q", "--engine", "process", "--repro-policy", "best-effort")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an sdist of this tree and the wheel built from that sdist."""
    target = tmp_path_factory.mktemp("dist")
    subprocess.run([find_uv_bin(), "build", "--quiet", "--out-dir", str(target), str(ROOT)], check=True)
    return target


def test_the_wheel_holds_every_source_file_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    expected = {
        f"fetchml/{path.relative_to(SOURCE)}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == expected
    metadata = {name.split("/", 1)[1] for name in names - packaged}
    assert metadata == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_holds_no_links_and_nothing_of_the_tests(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    tops = {member.name.split("/")[1] for member in members if "/" in member.name}
    assert tops <= {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "pyproject.toml.orig", "src"}


def test_the_wheel_works_in_a_folder_with_its_own_flows_and_plugins(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    project = tmp_path / "project"
    for package in ("flows", "plugins", "blocks"):
        (project / package).mkdir(parents=True)
        (project / package / "__init__.py").write_text("raise RuntimeError('the project is not fetchml')\n")
    (project / "train.py").write_text("print('ran')\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(site),
        "FETCHML_HOME": str(tmp_path / "home"),
        "FETCHML_EXECUTION_MODE": "direct",
    }

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", *words], env=environment, cwd=project, capture_output=True, text=True, check=True
        )

    assert str(site) in call("-c", "import fetchml; print(fetchml.__file__)").stdout
    run_id = call("-m", "fetchml.cli.main", *QUEUE, "train.py").stdout.strip()
    assert call("-m", "fetchml.cli.main", "logs", run_id).stdout == "ran\n"
    loaded = call(
        "-c",
        "from prefect.flows import load_flow_from_entrypoint as load; "
        "print(load('fetchml.flows.run_experiment.run_experiment').name)",
    )
    assert loaded.stdout.strip() == "run-experiment"
