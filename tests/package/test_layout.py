"""The shape of the repository, and of every module."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "src" / "fetchml").rglob("*.py"))


@pytest.mark.parametrize("name", ["flows", "blocks", "plugins"])
def test_the_root_links_to_the_packages(name: str) -> None:
    link = ROOT / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / "src" / "fetchml" / name


@pytest.mark.parametrize("name", ["deployments", "tests", "docs", "bench", "examples"])
def test_the_root_has_real_folders(name: str) -> None:
    assert (ROOT / name).is_dir()
    assert not (ROOT / name).is_symlink()


def test_files_are_small() -> None:
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES)
    assert lengths[len(lengths) // 2] < 150
    assert lengths[len(lengths) * 9 // 10] < 350
    assert lengths[-1] < 500


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring.splitlines()[0]) <= 120


def test_only_one_module_writes_durable_files() -> None:
    """Everything that must survive a crash goes through `fetchml.durable`."""
    allowed = {
        "durable.py",
        "engine/process_shim.py",  # runs without the package
        "daemons/process.py",  # pids and logs, which mean nothing after a crash
        "daemons/server.py",
        "daemons/worker.py",
        "gpus/board.py",  # what is read anew every five seconds
        "environment/image.py",  # an empty mount point
        "worker/prefect_worker.py",  # a pid
        "home.py",  # copies that are made again when they are missing
        "snapshot/known.py",  # a cache that can be lost
    }
    found: list[str] = []
    for path in MODULES:
        name = str(path.relative_to(ROOT / "src" / "fetchml"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            attribute = called.attr if isinstance(called, ast.Attribute) else None
            if attribute in ("write_text", "write_bytes") and name not in allowed:
                found.append(f"{name}:{node.lineno}")
    assert found == []
