"""Environments of whole runs: built once by whoever comes first, then used; a failed build leaves nothing behind."""

import json
import secrets
import subprocess
from collections.abc import Sequence

import pytest

from conftest import PODMAN_SOCKET
from e2e.kinds import engines, flags
from fetchml.environment.build import environment_key
from fetchml.environment.detect import Dependencies, DependencyKind
from fetchml.environment.image import KEY_LABEL
from fetchml.environment.unused import built
from fetchml.models.manifest import RunManifest
from stack import Stack, sealed_and_valid

pytestmark = pytest.mark.e2e

SHARE = ("--cpus", "0.5", "--memory", "256M")
"""So little that two runs are prepared at the same time."""


def builders(stack: Stack, run_ids: Sequence[str]) -> list[str]:
    """Returns the runs that built their environment."""
    return [run_id for run_id in run_ids if stack.home.store.folder(run_id).attempt(1).build_log.exists()]


def images_of(engine: str, manifest: RunManifest) -> list[str]:
    """Returns the warmed images that were left by builds of a run's environment."""
    environment = manifest.environment
    if engine == "process":
        return []
    assert environment.dependencies_sha256
    assert environment.image_digest
    dependencies = Dependencies(DependencyKind.REQUIREMENTS, "requirements.txt", environment.dependencies_sha256)
    key = environment_key(dependencies, {"image": environment.image_digest})
    assert environment.key in (None, key)
    done = subprocess.run(
        [*client(engine), "images", "--quiet", "--no-trunc", "--filter", f"label={KEY_LABEL}={key}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(set(done.stdout.split()))


def client(engine: str) -> list[str]:
    return ["docker"] if engine == "docker" else ["podman", "--url", f"unix://{PODMAN_SOCKET}"]


def two_at_once(stack: Stack, engine: str) -> tuple[list[str], list[RunManifest]]:
    run_ids = [stack.queue(*flags(engine), *SHARE, "uses.py") for _ in range(2)]
    return run_ids, stack.ended(*run_ids)


@engines
def test_one_lock_file_is_built_once_however_many_runs_and_edits_there_are(podman_stack: Stack, engine: str) -> None:
    stack = podman_stack
    own = f"# of {engine}, {secrets.token_hex(8)}\n"  # so that no image of another call has its key
    lock = stack.script("requirements.txt", f"six==1.16.0  {own}")
    made: list[str] = []
    stack.script("uses.py", "import six; print(six.__version__)\n")
    try:
        run_ids, (one, two) = two_at_once(stack, engine)
        assert [one.status.state, two.status.state] == ["completed"] * 2, one.diagnosis
        assert len(builders(stack, run_ids)) == 1
        assert one.environment.key == two.environment.key is not None
        assert one.environment.built_image_digest == two.environment.built_image_digest
        assert one.environment.packages == two.environment.packages
        assert "six==1.16.0" in one.environment.packages
        made += images_of(engine, one)
        assert len(made) == (engine != "process")
        assert one.environment.interpreter == two.environment.interpreter is not None
        assert one.environment.system == two.environment.system is not None

        stack.script("uses.py", "import six; print('edited', six.__version__)\n")
        edited = stack.queue(*flags(engine), *SHARE, "uses.py")
        (three,) = stack.ended(edited)
        assert stack.run("logs", edited).stdout == "edited 1.16.0\n"
        assert three.identity.commit_id != one.identity.commit_id
        assert three.environment.key == one.environment.key
        assert builders(stack, [edited]) == []

        lock.write_text(f"six==1.17.0  {own}")
        other = stack.queue(*flags(engine), *SHARE, "uses.py")
        (four,) = stack.ended(other)
        assert "six==1.17.0" in four.environment.packages
        assert builders(stack, [other]) == [other]
        made += images_of(engine, four)
        sealed_and_valid(stack, [*run_ids, edited, other])
    finally:
        lock.unlink()
        if made:
            subprocess.run([*client(engine), "rmi", *made], capture_output=True, check=False)


@engines
def test_a_build_that_fails_names_its_log_and_leaves_nothing(podman_stack: Stack, engine: str) -> None:
    stack = podman_stack
    lock = stack.script("requirements.txt", f"six==1.16.0\nno-such-package-of-fetchml==1  # of {engine}\n")
    stack.script("uses.py", "import six; print(six.__version__)\n")
    before = {item.path for item in built(stack.home.environments)}
    try:
        run_ids, manifests = two_at_once(stack, engine)
        for run_id, manifest in zip(run_ids, manifests, strict=True):
            assert manifest.status.state == "failed"
            assert manifest.times.started_at is None
            assert manifest.diagnosis is not None
            log = stack.home.store.folder(run_id).attempt(1).build_log
            assert str(log) in manifest.diagnosis.model_dump_json()
            assert "no-such-package-of-fetchml" in log.read_text()
            assert manifest.environment.key is None
            assert images_of(engine, manifest) == []
        assert {item.path for item in built(stack.home.environments)} == before
        sealed_and_valid(stack, run_ids)

        lock.write_text(f"six==1.16.0  # of {engine}, mended\n")
        mended = stack.queue(*flags(engine), *SHARE, "uses.py")
        (manifest,) = stack.ended(mended)
        assert manifest.status.state == "completed", json.dumps(manifest.model_dump(mode="json")["diagnosis"])
    finally:
        lock.unlink()
