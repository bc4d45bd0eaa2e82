"""Checks the record of a run: its manifest, plan, seal, signature, and every file that the manifest lists."""

import hashlib
import os
import stat
from functools import cached_property
from pathlib import Path

from fetchml import durable
from fetchml.errors import Corrupt
from fetchml.execution.artifacts import shown
from fetchml.home import Home
from fetchml.keys import ed25519
from fetchml.keys.ring import Trust
from fetchml.models.dataset_record import DatasetOutcome
from fetchml.models.ids import is_run_id
from fetchml.models.key import key_id_of
from fetchml.models.life_cycle import clock_oddities, life_cycle_faults
from fetchml.models.manifest import RunManifest, Seal, seal_message
from fetchml.models.plan import Plan
from fetchml.service.findings import Findings
from fetchml.service.snapshot_checks import SnapshotChecks
from fetchml.store.directory import parse_model, read_model
from fetchml.store.document import is_as_written, read_document
from fetchml.store.folder import RunFolder

_MANIFEST, _PLAN, _CODE = "run_manifest.json", "plan.json", "code"
_SHOWN = 5


class RecordChecks:
    """Checks records; what several of them share is looked at once.

    Args:
        home: The home folder, for objects and keys.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.snapshots = SnapshotChecks(home.objects)

    @cached_property
    def _trust(self) -> Trust:
        return self._home.keys.trust()

    def check(self, folder: RunFolder) -> Findings:
        """Checks the run in a folder.

        Raises:
            FetchmlError: A file cannot be read, for a reason that says nothing about the record.
        """
        found = Findings()
        manifest = self._manifest(found, folder)
        if manifest is None:
            return found
        found.commit_id = manifest.identity.commit_id
        self._check_place(found, folder, manifest)
        _check_plan(found, folder, manifest)
        self.snapshots.check_run(found, manifest)
        _check_life_cycle(found, manifest)
        _check_datasets(found, manifest)
        if manifest.seal is not None:
            self._check_signature(found, manifest, manifest.seal)
            files = ListedFiles(folder.path)
            for item in manifest.record_files:
                files.check(found, f"record:{item.path}", item.path, item.size_bytes, item.sha256)
            _check_artifacts(found, files, folder, manifest)
        return found

    def _manifest(self, found: Findings, folder: RunFolder) -> RunManifest | None:
        """Returns the manifest, after the checks of the file itself; None if it is none."""
        if not folder.manifest.exists() and not folder.manifest.is_symlink():
            found.failed("manifest", _MANIFEST, "no such file", _MANIFEST)
            return None
        if not _is_regular(folder.manifest):
            found.failed("manifest", "a valid run manifest", "a link, or no file", _MANIFEST)
            return None
        content = _content(folder.manifest)
        try:
            manifest = parse_model(content, folder.manifest, RunManifest, lambda: f"run `{folder.run_id}`")
            document = read_document(content)
        except Corrupt as error:
            found.failed("manifest", "a valid run manifest", error.detail or error.summary, _MANIFEST)
            return None
        found.passed("manifest", _MANIFEST)
        if not is_as_written(content):
            found.warnings.append(f"`{_MANIFEST}` has other bytes than fetchml writes for these values")
        if manifest.seal is not None or manifest.status.state.is_final:
            try:
                manifest.check_seal(document)
                found.passed("seal", _MANIFEST)
            except Corrupt as error:
                found.failed("seal", "the digest in the seal", error.detail or error.summary, _MANIFEST)
        return manifest

    @property
    def _runs(self) -> Path:
        return self._home.settings.store / "runs"

    def _check_place(self, found: Findings, folder: RunFolder, manifest: RunManifest) -> None:
        is_ours = os.path.abspath(folder.path.parent) == os.path.abspath(self._runs)
        if is_run_id(folder.run_id):  # a copy may lie in a folder of any name
            found.equal("location", manifest.identity.run_id, folder.run_id, _MANIFEST)
        real = os.path.realpath(folder.path)
        if is_ours:
            found.equal("folder", os.path.join(os.path.realpath(self._runs), folder.run_id), real)
        self._check_code(found, folder, manifest, is_ours=is_ours)

    def _check_code(self, found: Findings, folder: RunFolder, manifest: RunManifest, *, is_ours: bool) -> None:
        """Checks where the link to the code leads; a copy may have the code itself, which is not looked at."""
        commit_id = manifest.identity.commit_id
        if folder.code.is_symlink():
            target = os.readlink(folder.code)
            if not is_ours:
                found.equal("code", commit_id, os.path.basename(target), _CODE)
                return
            expected = os.path.realpath(self._home.snapshots.root / commit_id)
            found.equal("code", expected, os.path.realpath(folder.code), _CODE)
        elif is_ours and (folder.code.exists() or manifest.sandbox is not None):
            found.failed("code", f"a link to the snapshot {commit_id}", "no link", _CODE)

    def _check_signature(self, found: Findings, manifest: RunManifest, seal: Seal) -> None:
        if seal.signature is None or seal.public_key is None:
            if manifest.metadata.sign:
                found.warnings.append("the seal is not signed although that was asked for")
            return
        key_id = key_id_of(seal.public_key)
        if not ed25519.verify(seal.public_key, seal_message(seal.digest), seal.signature):
            found.signature = "invalid"
            found.failed("signature", f"one by key {key_id} of the digest in the seal", "another", _MANIFEST)
            return
        if seal.key_id != key_id:
            found.signature = "invalid"
            found.failed("signature", key_id, str(seal.key_id), _MANIFEST)
            return
        found.passed("signature", _MANIFEST)
        trust = self._trust
        is_known = seal.public_key in trust.own or seal.public_key in trust.others
        found.signature = "trusted" if is_known else "unknown"
        if not is_known:
            found.warnings.append(f"signed by an unknown key: {key_id}")
            found.warnings += trust.faults
        retired_at = trust.own.get(seal.public_key)
        if retired_at is not None and seal.sealed_at > retired_at:
            found.warnings.append(f"signed by key {key_id} after it was retired")


class ListedFiles:
    """Files of a run folder, by the entries of its manifest.

    Args:
        root: The run folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._parents: dict[str, bool] = {}

    def check(self, found: Findings, name: str, path: str, size_bytes: int, sha256: str) -> None:
        """Checks that a file is there, is no link, and has the size and digest that are listed."""
        if not self._is_inside(os.path.dirname(path)) or os.path.basename(path) in ("", ".", ".."):
            found.failed(name, sha256, "a link on the way to it, or a path out of the run folder", path)
            return
        full = self._root / path
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    found.failed(name, sha256, "not a regular file", path)
                    return
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except OSError as error:
            reason = "a link" if full.is_symlink() else error.strerror or str(error)
            found.failed(name, sha256, reason, path)
            return
        if size != size_bytes:
            found.failed(name, f"{size_bytes} bytes", f"{size} bytes", path)
        else:
            found.equal(name, sha256, digest, path)

    def _is_inside(self, parent: str) -> bool:
        """Tells whether a folder lies where its path says, without links and without leaving the run folder."""
        if parent not in self._parents:
            real = os.path.realpath(self._root / parent)
            expected = os.path.join(self._real_root, parent).rstrip("/")
            self._parents[parent] = real == expected and not parent.startswith("/")
        return self._parents[parent]


def _check_plan(found: Findings, folder: RunFolder, manifest: RunManifest) -> None:
    try:
        plan = read_model(folder.plan, Plan, lambda: f"run `{folder.run_id}`")
    except Corrupt as error:
        found.failed("plan", "a valid plan", error.detail or error.summary, _PLAN)
        return
    if plan is None or not _is_regular(folder.plan):
        found.failed("plan", _PLAN, "no such file" if plan is None else "a link", _PLAN)
        return
    found.equal("plan_sha256", manifest.plan.plan_sha256, plan.sha256, _PLAN)
    found.equal("commit_id", manifest.identity.commit_id, plan.snapshot_id, _PLAN)


def _check_life_cycle(found: Findings, manifest: RunManifest) -> None:
    faults = life_cycle_faults(manifest)
    if faults:
        state = manifest.status.state
        found.failed("life_cycle", f"the record of a run that is {state}", "; ".join(faults), _MANIFEST)
    else:
        found.passed("life_cycle", _MANIFEST)
    found.warnings += clock_oddities(manifest)


def _check_datasets(found: Findings, manifest: RunManifest) -> None:
    """Tells what the record says of its datasets; their data lies elsewhere and is not looked at."""
    for item in manifest.datasets:
        name = f"dataset:{item.name}"
        if item.drifted and item.after is not None:
            actual = f"{item.after.checksum or 'other data'} when the run had ended ({item.after.detail})"
            found.failed(name, f"{item.checksum} during the run", actual, _MANIFEST)
        else:
            found.passed(name, _MANIFEST)
            if item.after is not None and item.after.outcome is DatasetOutcome.UNKNOWN:
                found.warnings.append(
                    f"the dataset `{item.name}` could not be compared again after the run: {item.after.detail}"
                )


def _check_artifacts(found: Findings, files: ListedFiles, folder: RunFolder, manifest: RunManifest) -> None:
    if manifest.artifacts is None:
        return
    listed = {item.path for item in manifest.artifacts.files}
    for item in manifest.artifacts.files:
        files.check(found, f"artifact:{item.path}", f"results/{item.path}", item.size_bytes, item.sha256)
    excluded = {item.path for item in manifest.artifacts.exclusions}
    extra: list[str] = []
    if folder.results.is_symlink() and folder.results.name not in excluded:
        extra.append("a link in the place of the folder")
    for current, folders, names in os.walk(folder.results) if not folder.results.is_symlink() else ():
        links = [name for name in folders if os.path.islink(os.path.join(current, name))]
        for name in (*names, *links):
            path = os.path.relpath(os.path.join(current, name), folder.results)
            if path not in listed and shown(path) not in excluded:
                extra.append(shown(path))
    actual = ", ".join(sorted(extra)[:_SHOWN])
    if extra:
        found.failed("artifacts_complete", "only files the manifest lists", actual, "results")
    else:
        found.passed("artifacts_complete", "results")


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _content(path: Path) -> bytes:
    with durable.translated("read", path):
        return path.read_bytes()
