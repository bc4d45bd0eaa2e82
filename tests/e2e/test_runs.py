"""Runs as users queue them: many at once, edited while they wait, in every engine."""

import os
from datetime import datetime
from itertools import pairwise

import pytest

from e2e.kinds import engines, flags
from stack import WITNESS, Stack, sealed_and_valid, until

pytestmark = pytest.mark.e2e


@engines
def test_a_run_reaches_a_sealed_record_in_every_engine(podman_stack: Stack, engine: str) -> None:
    stack = podman_stack
    stack.script(
        "train.py",
        "import os, sys\n"
        "from fetchml import log_metric\n"
        "for epoch in range(3):\n"
        "    log_metric('loss', 1 / (epoch + 1), step=epoch)\n"
        "print('FETCHML_METRIC accuracy=0.75 step=2')\n"
        "open(os.path.join(os.environ['FETCHML_RESULTS'], 'model.txt'), 'w').write('weights')\n"
        "print(sys.argv[1:])\n",
    )
    run_id = stack.queue(*flags(engine), "--tag", "t1", "--note", "a note", "train.py", "--lr", "3e-4", "--json")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    assert manifest.command.argv == ("python", "train.py", "--lr", "3e-4", "--json")
    assert "['--lr', '3e-4', '--json']" in stack.run("logs", run_id).stdout
    assert manifest.metrics["loss"].last == pytest.approx(1 / 3)
    assert manifest.metrics["loss"].maximum_step == 0
    assert manifest.metrics["accuracy"].last == 0.75
    assert manifest.artifacts is not None
    assert [item.path for item in manifest.artifacts.files] == ["model.txt"]
    assert manifest.sandbox is not None
    assert manifest.sandbox.engine == engine
    assert manifest.prefect is not None
    assert manifest.identity.tags == ("t1",)
    assert manifest.metadata.note == "a note"
    sealed_and_valid(stack, [run_id])


def test_twenty_runs_all_complete_and_never_more_run_than_fit(podman_stack: Stack) -> None:
    stack = podman_stack
    stack.script("witness.py", WITNESS)
    cpus = 1
    fit = len(os.sched_getaffinity(0)) // cpus
    run_ids = [
        stack.queue("--engine", "process", "--cpus", str(cpus), "--memory", "256M", "witness.py", "0.5")
        for _ in range(20)
    ]
    manifests = stack.ended(*run_ids)
    assert {manifest.status.state for manifest in manifests} == {"completed"}
    spans: list[tuple[float, int]] = []
    for run_id in run_ids:
        (witness,) = stack.witnesses(run_id)
        start, end = (float(line) for line in witness.read_text().split())
        spans += [(start, 1), (end, -1)]
    at_once = most = 0
    for _, change in sorted(spans):
        at_once += change
        most = max(most, at_once)
    assert most <= fit, f"{most} ran at once where {fit} fit"
    sealed_and_valid(stack, run_ids)


def test_runs_of_equal_priority_start_in_the_order_they_were_queued(podman_stack: Stack) -> None:
    stack = podman_stack
    stack.script("witness.py", WITNESS)
    cpus = str(len(os.sched_getaffinity(0)))
    blocker = stack.queue("--engine", "process", "--cpus", cpus, "--", *stack.gate())
    stack.is_state(blocker, "running")
    low = stack.queue("--engine", "process", "--cpus", cpus, "--priority", "2", "witness.py", "0.1")
    first = stack.queue("--engine", "process", "--cpus", cpus, "witness.py", "0.1")
    second = stack.queue("--engine", "process", "--cpus", cpus, "witness.py", "0.1")
    high = stack.queue("--engine", "process", "--cpus", cpus, "--priority", "9", "witness.py", "0.1")
    listed = {item["run_id"]: item for item in stack.json("status")["runs"]}
    assert listed[blocker]["state"] == "running"
    stack.open_gate()
    started = [manifest.times.started_at for manifest in stack.ended(blocker, high, first, second, low)]
    times = [moment for moment in started if isinstance(moment, datetime)]
    assert len(times) == 5
    assert all(one < other for one, other in pairwise(times))
    placed = stack.manifest(low).placement
    assert placed is not None
    assert "cpus" in placed.waited_for[0]


@engines
def test_edits_after_queueing_never_reach_the_run(podman_stack: Stack, engine: str) -> None:
    stack = podman_stack
    stack.script("witness.py", WITNESS)
    script = stack.script("edited.py", "import helper; print(helper.TEXT)\n")
    helper = stack.script("helper.py", "TEXT = 'the old text'\n")
    cpus = str(len(os.sched_getaffinity(0)))
    blocker = stack.queue("--engine", "process", "--cpus", cpus, "witness.py", "3")
    stack.is_state(blocker, "running")
    run_id = stack.queue(*flags(engine), "edited.py")
    script.write_text("print('the new text')\n")
    helper.write_text("TEXT = 'the new text'\n")
    stack.ended(run_id)
    assert stack.run("logs", run_id).stdout == "the old text\n"


POETRY_LOCK = """\
[[package]]
name = "six"
version = "1.16.0"
optional = false
groups = ["main"]
files = [
    {file = "six.whl", hash = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"},
]

[metadata]
lock-version = "2.1"
"""


@pytest.mark.parametrize(
    ("name", "content"), [("requirements.txt", "six==1.16.0\n"), ("poetry.lock", POETRY_LOCK)], ids=["pip", "poetry"]
)
def test_a_locked_environment_is_built_once_and_then_reused(podman_stack: Stack, name: str, content: str) -> None:
    stack = podman_stack
    stack.script(name, content)
    stack.script("uses.py", "import six; print(six.__version__)\n")
    try:
        first = stack.queue("--engine", "process", "uses.py")
        second = stack.queue("--engine", "process", "uses.py")
        one, two = stack.ended(first, second)
        assert stack.run("logs", second).stdout == "1.16.0\n"
        assert one.environment.key == two.environment.key is not None
        assert "six==1.16.0" in two.environment.packages
        assert one.plan.trust_level == "L2"
        built = [run_id for run_id in (first, second) if stack.home.store.folder(run_id).attempt(1).build_log.exists()]
        assert len(built) == 1, "the environment is built by one of the two"
    finally:
        (stack.project / name).unlink()


@pytest.mark.docker
def test_a_run_whose_engine_the_worker_cannot_reach_says_so_and_goes_on_once_it_can(stack: Stack) -> None:
    stack.script("train.py", "print('done')")
    stack.extra_env["DOCKER_HOST"] = "tcp://127.0.0.1:9"
    stack.run("up")
    del stack.extra_env["DOCKER_HOST"]
    said = stack.run("up").stderr
    assert "the worker looks for docker at tcp://127.0.0.1:9, you at unix://" in said
    assert "tcp://127.0.0.1:9" in stack.run("doctor", check=False).stdout

    run_id = stack.queue(*flags("docker"), "train.py")
    (listed,) = until(lambda: [run for run in stack.json("status")["runs"] if run["stall"]], "the reason to be listed")
    assert (listed["run_id"], listed["state"]) == (run_id, "preparing")
    assert listed["stall"] == "the container engine does not answer: tcp://127.0.0.1:9: Connection refused"
    assert listed["stall"] in stack.run("status").stdout
    assert listed["stall"] in stack.run("info", run_id).stdout

    stack.run("down")
    stack.run("up")
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed", manifest.diagnosis
    assert stack.json("info", run_id)["stall"] is None
    sealed_and_valid(stack, [run_id])


def test_direct_mode_needs_neither_server_nor_worker(stack: Stack) -> None:
    stack.script("train.py", "print('direct')\n")
    stack.extra_env["FETCHML_EXECUTION_MODE"] = "direct"
    run_id = stack.queue("--engine", "process", "train.py")
    assert stack.state(run_id) == "completed"
    assert not (stack.home_path / "services" / "server.pid").exists()
    sealed_and_valid(stack, [run_id])


def test_queue_starts_what_is_missing(stack: Stack) -> None:
    stack.script("train.py", "print('hello')\n")
    done = stack.run("queue", "--engine", "process", "train.py")
    assert "being started" in done.stderr
    (run_id,) = stack.home.store.run_ids()
    (manifest,) = stack.ended(run_id)
    assert manifest.status.state == "completed"
    assert stack.json("server", "status")["worker_alive"]
