"""The files of control groups of both versions."""

import os
from pathlib import Path

import pytest

from fetchml.engine import cgroup
from fetchml.engine.cgroup import cgroup_usage
from fetchml.engine.port import Usage

PID = os.getpid()


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Says which groups a process is in, and lays out their files."""

    def lay(lines: str, **files: str) -> Path:
        (tmp_path / "of-process").write_text(lines)
        monkeypatch.setattr(cgroup, "_of_process", lambda _: (tmp_path / "of-process").read_text().splitlines())
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return lay


def test_version_2(groups):
    root = groups(
        "0::/docker/abc\n",
        docker__abc__cpu_DOT_stat="usage_usec 2500000\nuser_usec 1\n",
        docker__abc__memory_DOT_peak="900\n",
        docker__abc__memory_DOT_current="700\n",
        docker__abc__io_DOT_stat="8:0 rbytes=10 wbytes=20 rios=1 wios=1\n259:0 rbytes=5 wbytes=1 dbytes=0\n",
    )
    assert cgroup_usage(PID, root) == Usage(2.5, 900, 700, 15, 21, PID)


def test_version_1(groups, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cgroup, "tree_io", lambda pid: (15, 20))
    root = groups(
        "4:memory:/docker/abc\n3:cpuacct,cpu:/docker/abc\n7:blkio:/docker/abc\n",
        memory__docker__abc__memory_DOT_max_usage_in_bytes="900\n",
        memory__docker__abc__memory_DOT_usage_in_bytes="700\n",
        cpuacct__docker__abc__cpuacct_DOT_usage="2500000000\n",
    )
    assert cgroup_usage(PID, root) == Usage(2.5, 900, 700, 15, 20, PID)


@pytest.mark.parametrize("lines", ["0::/x\n", "4:memory:/x\n", ""])
def test_files_that_are_not_there_tell_nothing(groups, lines):
    found = cgroup_usage(PID, groups(lines))
    assert (found.cpu_s, found.memory_bytes, found.memory_peak_bytes) == (None, None, None)


def test_rubbish_tells_nothing(groups):
    root = groups(
        "0::/x\n", x__memory_DOT_peak="max\n", x__io_DOT_stat="8:0 rbytes=x\n\n=\n", x__cpu_DOT_stat="usage_usec -\n"
    )
    assert cgroup_usage(PID, root) == Usage(pid=PID)


def test_a_process_that_is_gone_tells_nothing():
    assert cgroup_usage(2**22 + 5) == Usage()
