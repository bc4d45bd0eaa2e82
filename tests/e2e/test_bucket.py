"""Runs in a queue whose objects are in a bucket: carried out, copied, and not lost whatever the bucket does."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import BASE_IMAGE
from contract.s3_servers import CREDENTIALS, Exchange, Fault, FaultyProxy, S3Server, passed_on, serving
from stack import Stack, sealed_and_valid, until

pytestmark = pytest.mark.e2e

WRITES = """\
import os, sys
with open(os.path.join(os.environ["FETCHML_RESULTS"], "model.txt"), "w") as file:
    file.write("weights of " + sys.argv[1])
print("done", sys.argv[1])
"""
CPUS = str(len(os.sched_getaffinity(0)))


class Lab:
    """A stack that keeps its objects and copies of its runs in a bucket."""

    def __init__(self, path: Path, database: Path, server: S3Server, endpoint: str | None = None) -> None:
        self.server = server
        self.bucket = server.new_bucket()
        self.url = f"s3://{self.bucket}/lab"
        self.stack = Stack(
            path,
            database,
            {
                "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
                "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
                "FETCHML_OBJECTS_URL": self.url,
                "FETCHML_OBJECTS_RUNS": "copy",
                "FETCHML_OBJECTS_S3_ENDPOINT": endpoint or server.endpoint,
                "FETCHML_OBJECTS_S3_REGION": "us-east-1",
                "FETCHML_OBJECTS_S3_RETRIES": "1",
                "FETCHML_OBJECTS_S3_ALLOW_PUBLIC": "true",  # moto asks nobody who they are
            },
        )
        self.stack.script("writes.py", WRITES)
        self._count = 0

    def queue(self, *words: str) -> str:
        """Queues a run with code that no other run has."""
        self._count += 1
        self.stack.script("unique.txt", f"{self.bucket} {self._count}")
        return self.stack.queue(*words, "writes.py", f"number-{self._count}")

    def queue_behind_a_gate(self) -> str:
        """Queues a run that starts once `open_gate` is called."""
        gate = f"gate-{self._count}"
        blocker = self.stack.queue("--engine", "process", "--cpus", CPUS, "--", *self.stack.gate(gate))
        self.stack.is_state(blocker, "running")
        waiting = self.queue("--engine", "process", "--cpus", CPUS)
        self._gate, self._blocker = gate, blocker
        return waiting

    def open_gate(self) -> None:
        self.stack.open_gate(self._gate)
        self.stack.ended(self._blocker)

    def stall(self, run_id: str) -> str:
        """Waits until a run says why it cannot go on, and returns that."""
        return str(until(lambda: self.stack.json("info", run_id)["stall"], f"{run_id} to say what is wrong"))

    def is_copied(self, *run_ids: str) -> None:
        for run_id in run_ids:
            until(lambda run_id=run_id: self.copy_of(run_id)["state"] == "copied", f"the copy of {run_id}")

    def copy_of(self, run_id: str) -> dict[str, object]:
        return dict(self.stack.json("info", run_id)["copy"])

    def is_whole_elsewhere(self, path: Path, *run_ids: str) -> None:
        """Fails unless the runs can be brought into an empty home, and are sound there."""
        other = Stack(path, None, dict(self.stack.extra_env))
        other.run("objects", "fetch", *run_ids)
        sealed_and_valid(other, run_ids)


@pytest.fixture(scope="module", params=["moto", "rclone"])
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[Lab]:
    server = request.getfixturevalue(f"{request.param}_server")
    made = Lab(tmp_path_factory.mktemp("stack"), migrated_database, server)
    try:
        made.stack.run("up")
        yield made
    finally:
        made.stack.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[S3Server]:
    """A server that may be killed; it keeps what it has."""
    with serving("rclone", tmp_path / "rclone") as made:
        yield made


@pytest.fixture
def own_lab(own_server: S3Server, tmp_path: Path, migrated_database: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "stack", migrated_database, own_server)
    try:
        yield made
    finally:
        made.stack.close()


@pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_a_run_goes_through_the_queue_and_into_the_bucket(lab: Lab, engine: str, tmp_path: Path) -> None:
    image = ["--image", BASE_IMAGE] if engine == "docker" else []
    run_id = lab.queue("--engine", engine, *image)
    (manifest,) = lab.stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    assert not (lab.stack.home_path / "store/objects/sha256").exists()
    sealed_and_valid(lab.stack, [run_id])
    lab.is_copied(run_id)
    lab.is_whole_elsewhere(tmp_path, run_id)


def test_a_truncated_object_refuses_the_run_and_the_next_submission_mends_it(lab: Lab) -> None:
    waiting = lab.queue_behind_a_gate()
    store = lab.server.objects(lab.bucket, lab.stack.path / "staging")
    commit_id = lab.stack.manifest(waiting).identity.commit_id
    content = store.read(commit_id)
    lab.server.client().put_object(lab.bucket, store.key(commit_id), io.BytesIO(content[:-1]), len(content) - 1)
    lab.open_gate()
    (refused,) = lab.stack.ended(waiting)
    assert refused.status.state == "refused"
    assert refused.diagnosis is not None
    assert "is damaged" in (refused.diagnosis.detail or "")
    again = lab.stack.queue("--engine", "process", "writes.py", "again")
    (manifest,) = lab.stack.ended(again)
    assert manifest.identity.commit_id == commit_id
    assert manifest.status.state == "completed", manifest.diagnosis
    sealed_and_valid(lab.stack, [again, waiting])


def test_a_server_that_is_killed_loses_nothing_and_is_waited_for(own_lab: Lab, tmp_path: Path) -> None:
    lab = own_lab
    lab.stack.run("up")
    waiting = lab.queue_behind_a_gate()
    lab.server.kill()
    # Nothing new is accepted.
    late = lab.stack.run("queue", "--engine", "process", "writes.py", "late", check=False)
    assert late.returncode == 6
    assert "does not answer" in late.stderr
    known = set(lab.stack.home.store.run_ids())
    # What runs is sealed, and what was accepted waits and says for what.
    lab.open_gate()
    assert "no connection" in lab.stall(waiting)
    listed = {item["run_id"]: item for item in lab.stack.json("status")["runs"]}
    assert "no connection" in str(listed[waiting])
    fault = until(lambda: lab.copy_of(lab._blocker)["fault"], "the copy to say what is wrong")
    assert dict(fault)["code"] == "s3-unavailable"
    doctor = lab.stack.run("doctor", check=False)
    assert "not now: the S3 server does not answer" in doctor.stdout
    lab.server.start()
    (manifest,) = lab.stack.ended(waiting)
    assert manifest.status.state == "completed", manifest.diagnosis
    lab.is_copied(waiting, lab._blocker)
    assert set(lab.stack.home.store.run_ids()) == known
    sealed_and_valid(lab.stack, [waiting, lab._blocker])
    lab.is_whole_elsewhere(tmp_path / "elsewhere", waiting, lab._blocker)
    assert lab.stack.json("info", waiting)["stall"] is None


def test_what_waits_to_be_copied_is_copied_by_the_next_worker(own_lab: Lab) -> None:
    lab = own_lab
    lab.stack.run("up")
    run_id = lab.stack.queue("--engine", "process", "--", *lab.stack.gate())
    lab.stack.is_state(run_id, "running")
    lab.server.kill()
    os.kill(lab.stack.pid("worker"), 9)
    lab.stack.open_gate()
    lab.stack.ended(run_id)
    assert lab.copy_of(run_id)["state"] == "waiting"
    lab.server.start()
    lab.stack.run("up")
    lab.is_copied(run_id)


def test_credentials_that_only_the_worker_has_wrong_are_told(own_lab: Lab) -> None:
    lab = own_lab
    right = dict(lab.stack.extra_env)
    lab.stack.extra_env["AWS_SECRET_ACCESS_KEY"] = "not-the-secret-of-anyone"
    lab.stack.run("up")
    lab.stack.extra_env |= right
    run_id = lab.queue("--engine", "process")
    assert "does not accept the credentials" in lab.stall(run_id)
    assert "not-the-secret-of-anyone" not in lab.stack.logs()
    lab.stack.run("down")
    lab.stack.run("up")
    (manifest,) = lab.stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    lab.is_copied(run_id)


def answering(status: str, code: str) -> Fault:
    return lambda exchange: exchange.answer_status(status, code)


FAULTS = {
    "clock": (answering("403 Forbidden", "RequestTimeTooSkewed"), "refuses the time of this host"),
    "no bucket": (answering("404 Not Found", "NoSuchBucket"), "the bucket for objects does not exist"),
    "denied": (answering("403 Forbidden", "AccessDenied"), "denies access"),
}


@pytest.fixture(scope="module")
def proxied(
    moto_server: S3Server, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[tuple[Lab, FaultyProxy]]:
    """A stack that reaches its bucket through a proxy."""
    proxy = FaultyProxy(moto_server.port)
    made = Lab(tmp_path_factory.mktemp("stack"), migrated_database, moto_server, f"http://127.0.0.1:{proxy.port}")
    try:
        made.stack.run("up")
        yield made, proxy
    finally:
        made.stack.close()
        proxy.close()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_only_a_run_meets_is_told_and_the_run_goes_on(proxied: tuple[Lab, FaultyProxy], name: str) -> None:
    lab, proxy = proxied
    fault, words = FAULTS[name]
    waiting = lab.queue_behind_a_gate()

    def only_reads(exchange: Exchange) -> None:
        (fault if exchange.request.method == "GET" else passed_on)(exchange)

    proxy.fault = only_reads
    lab.open_gate()
    assert words in lab.stall(waiting)
    proxy.fault = passed_on
    (manifest,) = lab.stack.ended(waiting)
    assert manifest.status.state == "completed", manifest.diagnosis
    sealed_and_valid(lab.stack, [waiting])
