"""Blocks of a real Prefect server: engines, objects and catalogues that settings name by them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import BASE_IMAGE
from contract.s3_servers import S3Server
from fetchml.objects.s3_place import Credentials
from stack import Stack, sealed_and_valid

pytestmark = pytest.mark.prefect

SAVE = """\
from fetchml.blocks import ContainerEngine
from prefect_docker import DockerHost
host = DockerHost(base_url="unix:///var/run/docker.sock")
host.save("lab")
ContainerEngine(docker_host=host).save("own")
ContainerEngine(kind="podman").save("pods")
"""
AWAY = {"DOCKER_HOST": "tcp://127.0.0.1:9"}
"""Where no engine answers: what runs all the same was reached by the block."""


@pytest.fixture(scope="module")
def lab(running_stack: Stack) -> Stack:
    """A stack whose server has blocks, and whose shell and worker look for Docker where it is not."""
    api_url = running_stack.json("server", "status")["api_url"]
    subprocess.run([sys.executable, "-c", SAVE], env={**running_stack.env, "PREFECT_API_URL": api_url}, check=True)
    running_stack.script("train.py", "print('ran')\n")
    running_stack.run("down")
    return running_stack


@pytest.mark.docker
@pytest.mark.parametrize("block", ["own", "docker-host/lab"])
def test_a_run_reaches_docker_by_a_block(lab: Stack, block: str) -> None:
    lab.extra_env |= {**AWAY, "FETCHML_DOCKER_BLOCK": block}
    lab.run("up")
    run_id = lab.queue("--engine", "docker", "--image", BASE_IMAGE, "train.py")
    (manifest,) = lab.ended(run_id)
    lab.run("down")
    assert manifest.status.state == "completed", manifest.diagnosis
    sealed_and_valid(lab, [run_id])


@pytest.mark.parametrize(
    ("block", "part"), [("nosuch", "there is no block `nosuch`"), ("pods", "the block `pods` connects to podman")]
)
def test_a_block_that_does_not_do_is_told_of_when_a_run_is_queued(lab: Stack, block: str, part: str) -> None:
    lab.extra_env.pop("FETCHML_DOCKER_BLOCK", None)
    lab.run("up")
    lab.extra_env["FETCHML_DOCKER_BLOCK"] = block
    done = lab.run("queue", "--engine", "docker", "train.py", check=False)
    assert done.returncode == 2
    assert part in done.stderr
    assert "hint:" in done.stderr


# Objects and datasets


TYPES = ("container-engine", "dataset-catalogue", "run-store", "s3-credentials", "snapshot-store")


def test_the_private_server_knows_every_type_from_the_start(lab: Stack) -> None:
    lab.extra_env.pop("FETCHML_DOCKER_BLOCK", None)
    lab.run("up")
    with lab.prefect() as client:
        for name in TYPES:
            found = client.get(f"/block_types/slug/fetchml-{name}")
            assert found["name"].startswith("fetchml ")
            assert found["description"]


STORE = """\
import sys
from fetchml.blocks import DatasetCatalogue, S3Credentials, SnapshotStore
bucket, endpoint, secret, token, folder = sys.argv[1:]
key = S3Credentials(endpoint=endpoint, region="us-east-1", access_key="lab", secret_key=secret, session_token=token)
key.save("lab", overwrite=True)
store = SnapshotStore(location=f"s3://{bucket}/lab", credentials=key)
store.save("code", overwrite=True)
DatasetCatalogue(folder=folder).save("lab", overwrite=True)
assert SnapshotStore.load("code").get_objects().has("0" * 64) is False
assert DatasetCatalogue.load("lab").get_catalogue().names() is not None
assert secret not in repr(SnapshotStore.load("code")) + str(S3Credentials.load("lab").model_dump())
"""


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server("rclone", tmp_path / "s3", credentials=Credentials("lab", "canary-of-today"))
    server.start()
    yield server
    server.kill()


def save(stack: Stack, server: S3Server, bucket: str) -> None:
    with stack.prefect() as client:
        env = {**stack.env, "PREFECT_API_URL": client.api_url}
    words = [bucket, server.endpoint, server.credentials.secret_key, "canary-token", str(stack.path / "catalogue")]
    subprocess.run([sys.executable, "-c", STORE, *words], env=env, check=True)


def test_a_worker_takes_up_a_key_that_was_changed_and_shows_it_to_nobody(stack: Stack, s3: S3Server) -> None:
    bucket = s3.new_bucket()
    stack.home_path.mkdir(exist_ok=True)
    (stack.home_path / "config.yaml").write_text("objects:\n  block: code\ndatasets:\n  block: lab\nengine: process\n")
    stack.run("up")
    save(stack, s3, bucket)
    (stack.path / "digits.csv").write_text("1\n")
    stack.run("dataset", "add", "digits", str(stack.path / "digits.csv"))
    stack.script("train.py", "import os\nprint(sorted(os.environ.values()))\n")
    worker = stack.pid("worker")
    first = stack.queue("--data", "digits", "train.py")
    stack.ended(first)

    s3.kill()
    s3.credentials = Credentials("lab", "canary-of-tomorrow")
    s3.start()
    save(stack, s3, bucket)
    stack.script("train.py", "print('another tree')\n")
    second = stack.queue("train.py")
    for manifest in stack.ended(first, second):
        assert manifest.status.state == "completed", manifest.diagnosis
    assert stack.pid("worker") == worker
    sealed_and_valid(stack, [first, second])
    assert list((stack.path / "catalogue").glob("digits/*.json"))

    with stack.prefect() as client:
        flow_runs = client.post("/flow_runs/filter", {})
        logs = client.post("/logs/filter", {})
        masked = client.get("/block_types/slug/fetchml-snapshot-store/block_documents/name/code")["data"]
    assert len(flow_runs) == 2
    assert "canary" not in json.dumps([flow_runs, logs, masked])
    for path in stack.path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"canary" not in path.read_bytes(), path  # Prefect encrypts what it keeps
