"""Runs that read datasets, in every engine."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import hanging
from e2e.kinds import engines, flags
from stack import Stack, sealed_and_valid, until

pytestmark = pytest.mark.e2e

READS = """\
import os
folder = os.environ["FETCHML_DATA_NUMBERS"]
print(folder, open(folder + "/a.txt").read())
try:
    open(folder + "/a.txt", "a").write("spoilt")
except OSError as error:
    print("read-only", error.errno)
"""

WAITS = """\
import os, time
while not os.path.exists(os.environ["FETCHML_RESULTS"] + "/go"):
    time.sleep(0.05)
"""


@engines
def test_a_run_reads_what_was_added_and_nothing_else(podman_stack: Stack, engine: str) -> None:
    stack = podman_stack
    data = stack.path / f"data-{engine}"
    data.mkdir()
    (data / "a.txt").write_text("one two")
    (data / "a.txt").chmod(0o666)  # so that nothing but the mount keeps the run from writing
    stack.path.chmod(0o755)
    stack.run("dataset", "add", "numbers", str(data))
    stack.script("reads.py", READS)
    run_id = stack.queue(*flags(engine), "--data", "numbers", "reads.py")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    (record,) = manifest.datasets
    assert record.uri == data.as_uri()
    output = stack.run("logs", run_id).stdout
    if engine == "process":
        assert output.startswith(f"{data} one two")
        assert record.drifted, "a plain process can write to it, and this one did"
    else:
        assert output == "/data/numbers one two\nread-only 30\n"
        assert record.mount == "/data/numbers"
        assert (data / "a.txt").read_text() == "one two"
        sealed_and_valid(stack, [run_id])

    (data / "a.txt").write_text("changed")
    late = stack.queue(*flags(engine), "--data", f"numbers@{record.checksum}", "reads.py")
    (refused,) = stack.ended(late)
    assert refused.status.state == "refused"
    assert refused.diagnosis is not None
    assert "(a.txt: changed)" in (refused.diagnosis.detail or "")
    sealed_and_valid(stack, [late])


@engines
def test_data_that_changes_under_a_run_is_told_of(podman_stack: Stack, engine: str) -> None:
    stack = podman_stack
    data = stack.path / f"drifts-{engine}"
    data.mkdir()
    (data / "a.txt").write_text("one two")
    stack.path.chmod(0o755)
    stack.run("dataset", "add", "drifts", str(data), "--algorithm", "blake3")
    stack.script("waits.py", WAITS)
    run_id = stack.queue(*flags(engine), "--data", "drifts", "waits.py")
    stack.is_state(run_id, "running")
    (data / "b.txt").write_text("more")
    (stack.home_path / "store/runs" / run_id / "results" / "go").touch()
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    (record,) = manifest.datasets
    assert record.after is not None
    assert (record.drifted, record.after.detail) == (True, "b.txt: added")
    assert manifest.plan.trust_level <= "L2"
    assert "changed during the run: b.txt: added" in stack.run("status", run_id).stdout
    checked = stack.run("validate", run_id, check=False)
    assert (checked.returncode, checked.stdout.count("wrong")) == (7, 1), checked.stdout


@contextmanager
def dead_share(folder: Path) -> Iterator[None]:
    """Mounts a file system on a folder whose server is gone: whatever looks is told so at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % device
    try:
        assert libc.mount(b"dead", os.fsencode(folder), b"fuse.dead", 0, options) == 0
    finally:
        os.close(device)
    try:
        yield
    finally:
        assert libc.umount2(os.fsencode(folder), 2) == 0


def pause(stack: Stack, *, is_paused: bool) -> None:
    with stack.prefect() as client:
        client.patch("/work_pools/fetchml", {"is_paused": is_paused})


@pytest.mark.root
@pytest.mark.skipif(not hanging.can_hang(), reason="NOT TESTED: nothing can be mounted here")
def test_a_run_waits_for_a_share_whose_server_is_gone(podman_stack: Stack) -> None:
    stack = podman_stack
    data = stack.path / "share"
    data.mkdir()
    (data / "a.txt").write_text("one two")
    stack.run("dataset", "add", "numbers", str(data))
    stack.script("only_reads.py", "import os; print(open(os.environ['FETCHML_DATA_NUMBERS'] + '/a.txt').read())\n")
    pause(stack, is_paused=True)
    run_id = stack.queue("--engine", "process", "--data", "numbers", "only_reads.py")
    with dead_share(data):
        late = stack.run("queue", "--engine", "process", "--data", "numbers", "only_reads.py", check=False)
        assert (late.returncode, "does not answer" in late.stderr) == (6, True), late.stderr
        pause(stack, is_paused=False)
        (listed,) = until(lambda: [run for run in stack.json("status")["runs"] if run["stall"]], "the run to wait")
        assert (listed["run_id"], listed["state"]) == (run_id, "preparing")
        assert f"the data at `{data}` does not answer" in listed["stall"]
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    assert [item.drifted for item in manifest.datasets] == [False]
    sealed_and_valid(stack, [run_id])
