"""Engines that a block on the Prefect server describes: `docker.block` names it."""

import subprocess
import sys

import pytest

from conftest import BASE_IMAGE
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
