"""Runs that read datasets, in every engine."""

import pytest

from e2e.kinds import engines, flags
from stack import Stack, sealed_and_valid

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
