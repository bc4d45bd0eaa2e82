"""What a tree of processes has used, from made-up and from real `/proc` files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fetchml.engine.port import Usage
from fetchml.engine.process_tree import tree_usage
from fetchml.models.units import MIB
from stack import until

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def process(proc: Path, pid: int, *children: int, own: int = 0, ended: int = 0, pages: int = 0, io: str = "") -> None:
    """Writes the files of one process: ticks of its own and of what it waited for, in two fields each."""
    (proc / f"{pid}/task/{pid}").mkdir(parents=True)
    (proc / f"{pid}/task/{pid}/children").write_text("".join(f"{child} " for child in children))
    fields = ["S", "1", *["0"] * 9, str(own), "0", str(ended), "0", *["0"] * 6, str(pages), "0"]
    (proc / f"{pid}/stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}\n")
    if io:
        (proc / f"{pid}/io").write_text(io)


def test_all_that_was_started_counts_and_the_supervisor_itself_does_not(tmp_path: Path):
    process(tmp_path, 10, 11, 12, own=1000 * TICKS, ended=3 * TICKS, pages=99, io="read_bytes: 5\nwrite_bytes: 1\n")
    process(tmp_path, 11, 13, own=2 * TICKS, pages=7, io="rchar: 9\nread_bytes: 10\nwrite_bytes: 20\n")
    process(tmp_path, 12, own=TICKS, pages=1)
    process(tmp_path, 13, ended=TICKS)
    assert tree_usage(10, tmp_path) == Usage(cpu_s=7.0, memory_bytes=8 * PAGE, read_bytes=15, written_bytes=21, pid=10)


def test_a_supervisor_that_is_gone_tells_nothing(tmp_path: Path):
    assert tree_usage(10, tmp_path) == Usage()


@pytest.mark.parametrize("content", ["", "10 (a", "10 (a) S 1", "10 (a) S x y z"])
def test_rubbish_is_nothing(tmp_path: Path, content: str):
    process(tmp_path, 10)
    (tmp_path / "10/stat").write_text(content)
    (tmp_path / "10/io").write_text("read_bytes: x")
    assert tree_usage(10, tmp_path) == Usage()


def test_files_that_may_not_be_seen_leave_it_open(tmp_path: Path):
    process(tmp_path, 10, 11)
    process(tmp_path, 11, own=TICKS)
    found = tree_usage(10, tmp_path)
    assert (found.cpu_s, found.read_bytes, found.written_bytes) == (1.0, None, None)


def test_a_child_that_vanishes_meanwhile_is_passed_over(tmp_path: Path):
    process(tmp_path, 10, 11)
    assert tree_usage(10, tmp_path).memory_bytes == 0


def test_real_processes_are_counted():
    inner = "x = bytearray(64 << 20); print('ready', flush=True); input()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        memory = until(lambda: tree_usage(os.getpid()).memory_bytes, "memory", 60, 0.02)
        child.communicate(b"\n")
    assert memory >= 64 * MIB
