"""Checks everything that can be checked about a run's record, and names whatever does not fit."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fetchml.config.settings import Settings
from fetchml.errors import Corrupt, FetchmlError, NotFound
from fetchml.execution.artifacts import shown
from fetchml.home import Home
from fetchml.models.ids import is_run_id
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.models.status import State
from fetchml.service.info import folder_of
from fetchml.service.select import select
from fetchml.snapshot.tree import read_tree
from fetchml.store.directory import read_model
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex


@dataclass(frozen=True, slots=True)
class Check:
    """One check and what it found."""

    name: str
    ok: bool
    expected: str = ""
    actual: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one run."""

    run_id: str
    checks: tuple[Check, ...]
    checked_at: datetime

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.ok for check in self.checks)


def validate(settings: Settings, target: str) -> Report:
    """Checks a run of the store, or a run folder by its path.

    Raises:
        NotFound: There is no such run.
    """
    home = Home(settings)
    folder = folder_of(target)
    if folder is None:
        folder = home.store.folder(select(RunIndex(settings.store).rows(), target).run_id)
    elif not folder.path.is_dir():
        raise NotFound(f"there is no folder `{target}`", code="no-such-run")
    elif not any(path.exists() for path in (folder.manifest, folder.plan, folder.attempts)):
        raise NotFound(f"there is no run in `{target}`", detail="it has no `run_manifest.json`", code="no-manifest")
    return Report(folder.run_id, tuple(_checks(home, folder)), datetime.now(UTC))


def _checks(home: Home, folder: RunFolder) -> Iterator[Check]:
    try:
        manifest = read_model(folder.manifest, RunManifest, lambda: f"run `{folder.run_id}`")
    except Corrupt as error:
        yield Check("manifest", False, "a valid run manifest", error.detail or error.summary)
        return
    if manifest is None:
        yield Check("manifest", False, "run_manifest.json", "no such file")
        return
    yield Check("manifest", True)
    if is_run_id(folder.run_id):  # a copy may lie in a folder of any name
        yield _equal("location", manifest.identity.run_id, folder.run_id)
    yield from _plan_checks(folder, manifest)
    yield from _snapshot_checks(home, manifest)
    yield from _seal_checks(manifest, json.loads(folder.manifest.read_bytes()))
    if manifest.seal is not None:
        for item in manifest.record_files:
            yield _file_check(f"record:{item.path}", folder.path / item.path, item.size_bytes, item.sha256)
        yield from _artifact_checks(folder, manifest)


def _plan_checks(folder: RunFolder, manifest: RunManifest) -> Iterator[Check]:
    try:
        plan = read_model(folder.plan, Plan, lambda: f"run `{folder.run_id}`")
    except Corrupt as error:
        yield Check("plan", False, "a valid plan", error.detail or error.summary)
        return
    if plan is None:
        yield Check("plan", False, "plan.json", "no such file")
        return
    yield _equal("plan_sha256", manifest.plan.plan_sha256, plan.sha256)
    yield _equal("commit_id", manifest.identity.commit_id, plan.snapshot_id)


def _snapshot_checks(home: Home, manifest: RunManifest) -> Iterator[Check]:
    try:
        tree = read_tree(home.objects.read(manifest.identity.commit_id))
    except FetchmlError as error:
        yield Check("snapshot", False, manifest.identity.commit_id, error.summary)
        return
    damaged: list[str] = []
    for entry in tree.files:
        try:
            home.objects.read(entry.sha256)
        except FetchmlError as error:
            damaged.append(f"{entry.path.decode('utf-8', 'backslashreplace')}: {error.summary}")
    yield Check("snapshot", not damaged, f"{len(tree.files)} files with their digests", "; ".join(damaged[:5]))
    diff = manifest.environment.git.diff_object if manifest.environment.git else None
    if diff is not None:
        try:
            home.objects.read(diff)
            yield Check("git_diff", True)
        except FetchmlError as error:
            yield Check("git_diff", False, diff, error.summary)


def _seal_checks(manifest: RunManifest, document: dict[str, object]) -> Iterator[Check]:
    state = manifest.status.state
    if manifest.seal is None and not state.is_final:
        return
    try:
        manifest.check_seal(document)
        yield Check("seal", True)
    except Corrupt as error:
        yield Check("seal", False, "the digest in the seal", error.detail or error.summary)
    complete = manifest.times.ended_at is not None and manifest.end_reason is not None
    if state is State.COMPLETED:
        complete = complete and manifest.times.started_at is not None and manifest.exit_code == 0
    yield Check(
        "life_cycle", complete, f"the fields of a run that is {state}", "a field is missing" if not complete else ""
    )


def _artifact_checks(folder: RunFolder, manifest: RunManifest) -> Iterator[Check]:
    if manifest.artifacts is None:
        return
    listed = {item.path for item in manifest.artifacts.files}
    for item in manifest.artifacts.files:
        yield _file_check(f"artifact:{item.path}", folder.results / item.path, item.size_bytes, item.sha256)
    excluded = {item.path for item in manifest.artifacts.exclusions}
    extra: list[str] = []
    for current, _, names in os.walk(folder.results):
        for name in names:
            path = os.path.relpath(os.path.join(current, name), folder.results)
            if (
                path not in listed
                and shown(path) not in excluded
                and stat.S_ISREG(os.lstat(os.path.join(current, name)).st_mode)
            ):
                extra.append(shown(path))
    yield Check("artifacts_complete", not extra, "only files the manifest lists", ", ".join(sorted(extra)[:5]))


def _file_check(name: str, path: Path, size_bytes: int, sha256: str) -> Check:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        return Check(name, False, sha256, error.strerror or str(error))
    if size != size_bytes:
        return Check(name, False, f"{size_bytes} bytes", f"{size} bytes")
    return _equal(name, sha256, digest)


def _equal(name: str, expected: str, actual: str) -> Check:
    return Check(name, expected == actual, expected, actual)
