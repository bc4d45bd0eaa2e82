"""Folders that nobody finishes: found, unless their process lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fetchml.store.leftovers import bringing, leftovers

RUN_ID = "2026-11-20_k3f9q2"


def found(runs: Path, *, is_alone: bool = False) -> list[str]:
    with leftovers(runs, is_alone=is_alone) as left:
        return [path.name for path in left]


def test_what_is_being_brought_is_nobodys_leftover(tmp_path: Path) -> None:
    with bringing(tmp_path, RUN_ID) as path:
        assert path.is_dir()
        assert found(tmp_path) == found(tmp_path, is_alone=True) == []
    assert found(tmp_path) == found(tmp_path, is_alone=True) == [path.name]
    path.rmdir()
    assert found(tmp_path) == []


def test_what_became_a_run_is_none(tmp_path: Path) -> None:
    with bringing(tmp_path, RUN_ID) as path:
        path.rename(tmp_path / RUN_ID)
        assert found(tmp_path, is_alone=True) == []
    assert found(tmp_path, is_alone=True) == []


def test_what_others_make_is_left_to_who_is_alone(tmp_path: Path) -> None:
    (tmp_path / f".tmp-aa-{RUN_ID}").mkdir()
    (tmp_path / ".tmp-file").touch()
    (tmp_path / ".tmp-fetch-link").symlink_to(tmp_path)
    (tmp_path / RUN_ID).mkdir()
    assert found(tmp_path) == []
    assert found(tmp_path, is_alone=True) == [f".tmp-aa-{RUN_ID}"]


@pytest.mark.parametrize("is_alone", [False, True])
def test_what_a_killed_process_made_is_found(tmp_path: Path, is_alone: bool) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom fetchml.store.leftovers import bringing\n"
        f"with bringing(Path(sys.argv[1]), {RUN_ID!r}) as path:\n"
        "    (path / 'half').touch()\n    print(path.name, flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, os.fspath(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert found(tmp_path, is_alone=is_alone) == []
    process.kill()
    process.communicate()
    assert found(tmp_path, is_alone=is_alone) == [name]
