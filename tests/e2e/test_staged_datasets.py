"""Runs that read datasets of a bucket, in every engine, and when the server or the worker's process fails meanwhile."""

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import PODMAN_SOCKET
from contract.s3_servers import CREDENTIALS, Exchange, FaultyProxy, S3Server, passed_on
from e2e.kinds import engines, flags
from fetchml.snapshot.materialise import remove_tree
from stack import Stack, sealed_and_valid, until

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"one two", "deep/b.bin": os.urandom(1_000_000)}
READS = """\
import os
folder = os.environ["FETCHML_DATA_NUMBERS"]
print(open(folder + "/a.txt").read(), os.path.getsize(folder + "/deep/b.bin"))
try:
    if folder.startswith("/data"):
        os.chmod(folder + "/a.txt", 0o666)
        open(folder + "/a.txt", "a").write("spoilt")
except OSError as error:
    print("read-only", error.errno)
"""


class Lab:
    """A stack whose worker may use a bucket through a proxy.

    Args:
        folder: A folder of the module.
        database: See `Stack`.
        server: The server.
    """

    def __init__(self, folder: Path, database: Path, server: S3Server) -> None:
        self.proxy = FaultyProxy(server.port)
        self.bucket = server.new_bucket()
        for path, content in FILES.items():
            server.client().put_object(self.bucket, f"set/{path}", io.BytesIO(content), len(content))
        env = {
            "FETCHML_PODMAN_SOCKET": str(PODMAN_SOCKET),
            "FETCHML_S3_ACCESS_KEY": CREDENTIALS.access_key,
            "FETCHML_S3_SECRET_KEY": CREDENTIALS.secret_key,
            "FETCHML_OBJECTS_S3_REGION": "us-east-1",
            "FETCHML_OBJECTS_S3_ENDPOINT": f"http://127.0.0.1:{self.proxy.port}",
            "FETCHML_OBJECTS_S3_RETRIES": "0",
        }
        self.stack = Stack(folder, database, env)
        self.cache = self.stack.home_path / "cache" / "datasets"

    def bodies(self) -> int:
        """Returns how many objects were asked for since the last time."""
        found = [item for item in self.proxy.requests if item.method == "GET" and "list-type" not in item.path]
        self.proxy.requests.clear()
        return len(found)

    def forget(self) -> None:
        """Removes the copies."""
        remove_tree(self.cache)
        self.bodies()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, rclone_server: S3Server) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("stack"), migrated_database, rclone_server)
    try:
        made.stack.run("up")
        made.stack.script("reads.py", READS)
        made.stack.run("dataset", "add", "numbers", f"s3://{made.bucket}/set")
        yield made
    finally:
        made.stack.close()
        made.proxy.close()
        made.forget()


@engines
def test_a_run_reads_a_dataset_of_a_bucket(lab: Lab, engine: str) -> None:
    stack = lab.stack
    lab.forget()
    first = stack.queue(*flags(engine), "--data", "numbers", "reads.py")
    stack.ended(first)
    second = stack.queue(*flags(engine), "--data", "numbers", "reads.py")
    stack.ended(second)
    assert lab.bodies() == 2
    ways: list[str] = []
    for run_id in (first, second):
        manifest = stack.manifest(run_id)
        assert manifest.status.state == "completed", manifest.diagnosis
        (record,) = manifest.datasets
        ways.append(record.fetched_via)
        assert record.uri == f"s3://{lab.bucket}/set/"
        lines = stack.run("logs", run_id).stdout.splitlines()
        assert lines[0] == "one two 1000000"
        if engine != "process":
            assert lines[1:] == ["read-only 30"]
            assert record.mount == "/data/numbers"
    assert ways == ["download", "cache"]
    sealed_and_valid(stack, [first, second])


def test_a_run_waits_while_the_server_is_gone_and_goes_on(lab: Lab) -> None:
    stack = lab.stack
    lab.forget()
    lab.proxy.fault = lambda exchange: exchange.answer_status("503 Slow", "SlowDown")
    run_id = stack.queue("--engine", "process", "--data", "numbers", "reads.py")
    until(lambda: "the S3 server does not answer" in stack.run("info", run_id).stdout, "the reason to be told")
    assert stack.state(run_id) == "preparing"
    lab.proxy.fault = lambda exchange: exchange.answer_status("403 Forbidden", "SignatureDoesNotMatch")
    until(lambda: "does not accept the credentials" in stack.run("info", run_id).stdout, "the reason to be told")
    assert not list(lab.cache.glob("sha256-*"))
    lab.proxy.fault = passed_on
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed"
    assert manifest.datasets[0].fetched_via == "download"
    # A check that broke off is no check that was passed.
    with stack.prefect() as client:
        (flow_run,) = client.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [run_id]}}})
        tasks = client.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}})
    assert {item["name"].rsplit("-", 1)[0] for item in tasks} == {"preflight"}
    sealed_and_valid(stack, [run_id])


def hangs(exchange: Exchange) -> None:
    """The large object never comes."""
    exchange.hang() if "b.bin" in exchange.request.path else passed_on(exchange)


def test_a_download_that_is_killed_is_gone_on_with(lab: Lab) -> None:
    stack = lab.stack
    lab.forget()
    lab.proxy.fault = hangs
    run_id = stack.queue("--engine", "process", "--data", "numbers", "reads.py")
    until(lambda: list(lab.cache.glob("incoming/*/data/a.txt")), "the first object")
    (pid,) = stack.flow_processes()
    lab.proxy.fault = passed_on
    os.kill(pid, signal.SIGKILL)
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed"
    assert sum("a.txt" in item.path for item in lab.proxy.requests) == 1
    sealed_and_valid(stack, [run_id])


def test_a_run_that_is_cancelled_while_its_data_comes_ends_at_once(lab: Lab) -> None:
    stack = lab.stack
    lab.forget()

    def trickle(exchange: Exchange) -> None:
        if "b.bin" not in exchange.request.path:
            passed_on(exchange)
            return
        stack.run("cancel", run_id)
        passed_on(exchange)

    lab.proxy.fault = trickle
    run_id = stack.queue("--engine", "process", "--data", "numbers", "reads.py")
    (manifest,) = stack.ended(run_id)
    lab.proxy.fault = passed_on
    assert manifest.status.state == "cancelled"
    assert manifest.datasets == ()
    assert not list(lab.cache.glob("sha256-*"))
    sealed_and_valid(stack, [run_id])
