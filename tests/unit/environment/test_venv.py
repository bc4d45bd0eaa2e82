"""Virtual environments of the process engine."""

import os
import platform
import sys
from pathlib import Path

import pytest

from fetchml.environment.build import BuildFailed, BuiltEnvironment
from fetchml.environment.detect import Dependencies, DependencyKind
from fetchml.environment.venv import VenvBuilder

OWN = platform.python_version()
LOCK = 'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "p"\nversion = "0"\nsource = { virtual = "." }\n'


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A project without packages."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "requirements.txt").touch()
    (folder / "uv.lock").write_text(LOCK)
    (folder / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\n')
    return folder


@pytest.fixture
def hidden_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Python is on the path, and uv installed none: fetchml itself may run in a virtual environment all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "pythons"))


def build(code: Path, python: str | None, kind: DependencyKind, name: str) -> BuiltEnvironment:
    builder = VenvBuilder(code.parent / "environments")
    return builder.ensure(Dependencies(kind, name, "0" * 64), python, code, code.parent / "log", lambda: False)


@pytest.mark.parametrize("python", [None, OWN, OWN.rpartition(".")[0]])
@pytest.mark.parametrize(
    ("kind", "name"), [(DependencyKind.REQUIREMENTS, "requirements.txt"), (DependencyKind.UV_LOCK, "uv.lock")]
)
def test_the_python_of_fetchml_is_found_wherever_it_is(
    code: Path, hidden_python: None, python: str | None, kind: DependencyKind, name: str
) -> None:
    built = build(code, python, kind, name)
    assert (built.python, built.packages, built.reused) == (OWN, (), False)
    assert os.path.realpath(built.interpreter) == os.path.realpath(sys.executable)
    assert build(code, python, kind, name).reused


@pytest.mark.parametrize("python", ["3.1", "2.7", "python-of-nobody"])
def test_another_python_than_was_asked_for_is_not_taken(code: Path, hidden_python: None, python: str) -> None:
    with pytest.raises(BuildFailed, match="making an environment failed"):
        build(code, python, DependencyKind.REQUIREMENTS, "requirements.txt")
    assert not list((code.parent / "environments").glob("venv-*/"))
