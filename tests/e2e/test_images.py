"""Base images that are not what they seem: a tag that moves, another architecture, variables that take over."""

import io
import json
import os
import platform
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator

import pytest

from conftest import PODMAN_SOCKET
from e2e.kinds import IMAGE, flags
from stack import Stack, sealed_and_valid

pytestmark = pytest.mark.e2e

containers = pytest.mark.parametrize(
    "engine", [pytest.param("docker", marks=pytest.mark.docker), pytest.param("podman", marks=pytest.mark.podman)]
)
every = pytest.mark.parametrize(
    "engine",
    [
        "process",
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("podman", marks=pytest.mark.podman),
    ],
)

Commit = Callable[..., str]


def client(engine: str) -> list[str]:
    return ["docker"] if engine == "docker" else ["podman", "--url", f"unix://{PODMAN_SOCKET}"]


def call(engine: str, *words: str, content: bytes | None = None) -> bytes:
    done = subprocess.run([*client(engine), *words], input=content, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def name(engine: str) -> Iterator[str]:
    """A name for an image, which is removed afterwards with all that it named."""
    made = f"localhost/fetchml-test-{secrets.token_hex(6)}"
    yield made
    left = call(engine, "images", "--quiet", "--filter", f"label=fetchml.test={made}").decode().split()
    for image in {made, *left}:
        subprocess.run([*client(engine), "rmi", "--force", image], capture_output=True, check=False)


def make(engine: str, name: str, *changes: str) -> str:
    """Gives the name to a new image: the base image with some changes. Returns its id."""
    container = call(engine, "create", IMAGE[engine], "true").decode().strip()
    words = [word for change in (*changes, f"LABEL fetchml.test={name}") for word in ("--change", change)]
    try:
        call(engine, "commit", *words, container, name)
    finally:
        call(engine, "rm", container)
    return call(engine, "image", "inspect", "--format", "{{.Id}}", name).decode().strip().removeprefix("sha256:")


def queue(stack: Stack, engine: str, name: str, *words: str) -> str:
    return stack.queue("--engine", engine, "--image", name, "--cpus", "1", "--memory", "256M", *words)


def holding(stack: Stack, gate: str) -> str:
    """Queues a run that keeps all others waiting until its gate is opened."""
    cpus = str(len(os.sched_getaffinity(0)))
    run_id = stack.queue("--engine", "process", "--cpus", cpus, "--", *stack.gate(gate))
    stack.is_state(run_id, "running")
    return run_id


@containers
def test_a_run_starts_the_image_it_was_queued_with_wherever_its_tag_has_gone(
    podman_stack: Stack, engine: str, name: str
) -> None:
    stack = podman_stack
    stack.script("mark.py", "import os; print('the image', os.environ['MARK'])\n")
    one = make(engine, name, "ENV MARK=one")
    blocker = holding(stack, f"tag-{engine}")
    run_id = queue(stack, engine, name, "mark.py")
    two = make(engine, name, "ENV MARK=two")
    assert one != two
    later = queue(stack, engine, name, "mark.py")
    stack.open_gate(f"tag-{engine}")
    _, manifest, after = stack.ended(blocker, run_id, later)
    assert manifest.status.state == after.status.state == "completed", manifest.diagnosis
    assert stack.run("logs", run_id).stdout == "the image one\n"
    assert stack.run("logs", later).stdout == "the image two\n"
    assert manifest.environment.image_digest == f"sha256:{one}"
    assert after.environment.image_digest == f"sha256:{two}"
    assert stack.home.store.read_plan(run_id).sha256 != stack.home.store.read_plan(later).sha256
    sealed_and_valid(stack, [run_id, later])


@containers
def test_a_run_whose_image_is_gone_is_refused_though_its_tag_is_there(
    podman_stack: Stack, engine: str, name: str
) -> None:
    stack = podman_stack
    stack.script("mark.py", "import os; print('the image', os.environ['MARK'])\n")
    one = make(engine, name, "ENV MARK=one")
    blocker = holding(stack, f"gone-{engine}")
    run_id = queue(stack, engine, name, "mark.py")
    call(engine, "rmi", name)
    make(engine, name, "ENV MARK=two")
    stack.open_gate(f"gone-{engine}")
    _, manifest = stack.ended(blocker, run_id)
    assert (manifest.status.state, manifest.end_reason) == ("refused", "preflight_refused")
    assert manifest.diagnosis is not None
    assert f"image: expected sha256:{one}, found no such image" in (manifest.diagnosis.detail or "")
    assert stack.run("logs", run_id, check=False).stdout == ""
    sealed_and_valid(stack, [run_id])


# Another architecture


def for_architecture(content: bytes, architecture: str, name: str) -> bytes:
    """Returns a saved image that says it is made for another architecture, under another name."""
    result = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=result, mode="w") as new:
        listing = json.load(old.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = listing[0]["Config"]
        for member in old.getmembers():
            if member.name in ("manifest.json", "repositories", "index.json"):
                continue
            file = old.extractfile(member) if member.isfile() else None
            if member.name == config:
                assert file is not None
                text = json.dumps({**json.load(file), "architecture": architecture}).encode()
                member.size = len(text)
                file = io.BytesIO(text)
            new.addfile(member, file)
        text = json.dumps([{**listing[0], "RepoTags": [f"{name}:latest"]}]).encode()
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        new.addfile(member, io.BytesIO(text))
    return result.getvalue()


@containers
def test_an_image_for_another_architecture_is_refused_before_it_is_queued(
    podman_stack: Stack, engine: str, name: str
) -> None:
    stack = podman_stack
    other = "arm64" if platform.machine() == "x86_64" else "amd64"
    call(engine, "load", content=for_architecture(call(engine, "save", IMAGE[engine]), other, name))
    stack.script("train.py", "print(1)\n")
    done = stack.run("queue", "--engine", engine, "--image", name, "train.py", check=False)
    assert done.returncode == 5
    assert f"`{name}` for `{other}`" in done.stderr
    assert f"{engine} pull --platform linux/" in done.stderr
    assert done.stdout == ""


def program_of_another_machine() -> bytes:
    """Returns the head of an ELF file for a processor that is not this one."""
    machine = 183 if platform.machine() == "x86_64" else 62
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + machine.to_bytes(2, "little")
    return head + (1).to_bytes(4, "little") + bytes(40)


@every
def test_a_program_for_another_architecture_is_told_from_one_that_fails(podman_stack: Stack, engine: str) -> None:
    stack = podman_stack
    program = stack.project / "other"
    program.write_bytes(program_of_another_machine())
    program.chmod(0o755)
    run_id = stack.queue(*flags(engine), "--", "./other")
    (manifest,) = stack.ended(run_id)
    assert (manifest.status.state, manifest.end_reason) == ("failed", "image_error")
    assert manifest.diagnosis is not None
    told = f"{manifest.diagnosis.summary} {manifest.diagnosis.detail}".lower()
    assert "exec format error" in told
    sealed_and_valid(stack, [run_id])


# Variables


@containers
def test_variables_of_an_image_that_would_take_over_do_not_reach_the_run(
    podman_stack: Stack, engine: str, name: str
) -> None:
    stack = podman_stack
    stack.script("env.py", "import json, os; print(json.dumps(dict(os.environ)))\n")
    taken_out = {
        "LD_PRELOAD": "/nowhere/evil.so",
        "LD_AUDIT": "/nowhere/evil.so",
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": "/nowhere/evil.py",
        "PYTHONWARNINGS": "error::evil.Warning",
        "FETCHML_DATA_MNIST": "/etc",
    }
    kept = {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64", "PYTHONHASHSEED": "7", "PYTHON_VERSION": "3.12.1", "OTHER": "1"}
    replaced = {"PYTHONPATH": "/nowhere", "NVIDIA_VISIBLE_DEVICES": "all", "FETCHML_RUN_ID": "another"}
    own = {"PYTHONBREAKPOINT": "0"}
    variables = {**taken_out, **kept, **replaced, **dict.fromkeys(own, "evil.hook")}
    make(engine, name, *(f"ENV {key}={value}" for key, value in variables.items()))
    run_id = queue(stack, engine, name, "--env", "PYTHONBREAKPOINT=0", "env.py")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    seen = json.loads(stack.run("logs", run_id).stdout)
    assert {key: seen.get(key, "") for key in taken_out} == dict.fromkeys(taken_out, "")
    assert {key: seen[key] for key in kept | own} == kept | own
    assert "/nowhere" not in seen["PYTHONPATH"]
    assert seen["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert seen["FETCHML_RUN_ID"] == run_id
    (warning,) = [text for text in manifest.warnings if "variables of the image" in text]
    assert set(warning.partition(": ")[2].split(", ")) == {*taken_out, "PYTHONPATH", "FETCHML_RUN_ID"}
    sealed_and_valid(stack, [run_id])
