"""What commands import: those that people type must not pay for what they do not use."""

import subprocess
import sys
from pathlib import Path

import pytest

from block_server import block_server

HEAVY = ("prefect", "mlflow", "docker", "requests", "httpx", "rich", "sqlalchemy", "cryptography", "minio", "blake3")
SERVERS = ("starlette", "uvicorn", "fastapi", "websockets", "asyncio")
PYDANTIC = "pydantic"

REPORT = (
    "import sys; from fetchml.cli.main import main; code = main(sys.argv[1:]); "
    "print('\\nLOADED', ' '.join(sorted(m for m in sys.modules if '.' not in m)), file=sys.stderr); sys.exit(code)"
)


def loaded_by(tmp_path: Path, *words: str, env: dict[str, str] | None = None) -> set[str]:
    """Runs a command in an interpreter of its own and returns the top-level modules it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *words],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "FETCHML_HOME": str(tmp_path / "home"), **(env or {})},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    line = next(line for line in done.stderr.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("status",),
        ("status", "--json"),
        ("info", "nothing"),
        ("logs", "nothing"),
        ("wait", "nothing"),
        ("validate", "nothing"),
        ("cancel", "nothing"),
        ("config", "show"),
        ("init",),
        ("queue", "--help"),
        ("server", "status"),
        ("keys", "list"),
        ("sync", "--help"),
        ("dataset", "list"),
        ("validate", "--all"),
    ],
    ids=" ".join,
)
def test_reading_commands_load_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert loaded_by(tmp_path, *words).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "words",
    [("status",), ("info", "nothing"), ("logs", "nothing"), ("config", "show"), ("queue", "--help")],
    ids=" ".join,
)
def test_a_bucket_costs_only_those_who_use_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "minio" not in loaded_by(
        tmp_path, *words, env={"FETCHML_OBJECTS_URL": "s3://lab/fetchml", "FETCHML_OBJECTS_RUNS": "copy"}
    )


@pytest.mark.parametrize(
    "words",
    [("login", "--help"), ("host", "list"), ("user", "list"), ("worker", "start"), ("gateway", "status"), ("status",)],
    ids=" ".join,
)
def test_commands_of_a_lab_load_no_server(tmp_path: Path, words: tuple[str, ...]) -> None:
    env = {"FETCHML_GATEWAY_LISTEN": "127.0.0.1:1"}
    assert loaded_by(tmp_path, *words, env=env).isdisjoint({*HEAVY, *SERVERS})


def test_a_laptop_pays_for_a_client_only(tmp_path: Path) -> None:
    from fetchml.link.login import Login, write_login

    (tmp_path / "home").mkdir()
    write_login(tmp_path / "home", Login("http://127.0.0.1:1", "user", "ada", "key", "store"))
    loaded = loaded_by(tmp_path, "status")
    assert loaded.isdisjoint({*HEAVY, *SERVERS})


def test_submitting_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)\n")
    words = ("queue", "--engine", "process", "--dry-run", "train.py")
    assert loaded_by(tmp_path, *words).isdisjoint(HEAVY)


def test_blocks_are_read_without_prefect(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)\n")
    with block_server() as server:
        server.blocks["fetchml-snapshot-store", "code"] = {"location": str(tmp_path / "objects")}
        server.blocks["fetchml-dataset-catalogue", "lab"] = {"folder": str(tmp_path / "catalogue")}
        env = {
            "FETCHML_PREFECT_API_URL": server.api_url,
            "FETCHML_OBJECTS_BLOCK": "code",
            "FETCHML_DATASETS_BLOCK": "lab",
            "FETCHML_EXECUTION_MODE": "direct",
            "FETCHML_REPRO_POLICY": "best-effort",
        }
        assert loaded_by(tmp_path, "dataset", "list", env=env).isdisjoint(HEAVY)
        assert loaded_by(tmp_path, "queue", "--engine", "process", "train.py", env=env).isdisjoint(HEAVY)
        assert {path.split("/")[4] for path in server.asked} == {"fetchml-snapshot-store", "fetchml-dataset-catalogue"}
        assert (tmp_path / "objects" / "sha256").is_dir()


@pytest.mark.parametrize("words", [("--help",), ("status",), ("config", "show")], ids=" ".join)
def test_the_fastest_commands_do_without_pydantic(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert PYDANTIC not in loaded_by(tmp_path, *words)


def test_the_part_that_goes_into_runs_needs_the_standard_library_only() -> None:
    code = "import sys; before = set(sys.modules); import fetchml; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")},
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"fetchml"}
