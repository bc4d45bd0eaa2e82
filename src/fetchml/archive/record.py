"""The record of a sealed run as bytes, checked before anything is done with it; it may come from anywhere."""

from dataclasses import dataclass
from pathlib import Path

from fetchml.errors import Corrupt
from fetchml.models.ids import is_run_id
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.objects.records import MANIFEST, PLAN
from fetchml.store.directory import parse_model
from fetchml.store.document import read_document
from fetchml.store.folder import COPY_NOTE

_NO_RECORD = frozenset({"code", "results", MANIFEST, COPY_NOTE})
"""What no file of a record is called: it has a meaning of its own in a run folder."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that a sealed manifest lists."""

    path: str
    """Below the run folder; it stays inside."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A manifest whose seal holds."""

    manifest: RunManifest
    content: bytes
    """The manifest as it is stored."""
    files: tuple[ListedFile, ...]

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.manifest.identity.run_id

    @property
    def seal(self) -> str:
        """Digest of all sealed sections: what makes this run this run."""
        assert self.manifest.seal is not None  # read_sealed has looked  # noqa: S101
        return self.manifest.seal.digest

    def check_plan(self, content: bytes | None) -> bytes:
        """Returns the bytes of a plan if it is the plan of this run.

        Raises:
            Corrupt: It is missing, or another one.
        """
        if content is None:
            raise _damaged(self.run_id, f"`{PLAN}` is missing")
        plan = parse_model(content, Path(PLAN), Plan, lambda: f"run `{self.run_id}`")
        if plan.sha256 != self.manifest.plan.plan_sha256:
            raise _damaged(self.run_id, f"`{PLAN}` is not the plan that the manifest names")
        return content


def read_sealed(run_id: str, content: bytes) -> SealedRecord:
    """Reads a manifest and verifies its seal.

    Args:
        run_id: The run it should be of.
        content: The bytes of the manifest.

    Raises:
        Corrupt: It is no manifest, that of another run, not sealed, or changed after its seal; or it lists a file that
            would not lie in its own folder.
    """
    owner = f"run `{run_id}`"
    manifest = parse_model(content, Path("runs", run_id, MANIFEST), RunManifest, lambda: owner)
    try:
        document = read_document(content)
    except RecursionError as error:
        raise _damaged(run_id, "it is nested too deeply") from error
    if manifest.identity.run_id != run_id or not is_run_id(run_id):
        raise _damaged(run_id, f"its manifest is that of run `{manifest.identity.run_id[:60]}`")
    if manifest.seal is None:
        raise _damaged(run_id, "it is not sealed")
    manifest.check_seal(document)
    files = _files(manifest)
    for path in (item.path for item in files):
        if not _is_inside(path):
            raise _damaged(run_id, f"it lists `{path[:100]}`, which is no path in its folder")
    names = {item.path for item in files}
    if len(names) != len(files) or any(_folders_of(path) & names for path in names):
        raise _damaged(run_id, "it lists a path twice, or one below a file")
    if any(path.partition("/")[0] in _NO_RECORD for path in (item.path for item in manifest.record_files)):
        raise _damaged(run_id, "it lists a file of its record where something else belongs")
    return SealedRecord(manifest, content, files)


def _files(manifest: RunManifest) -> tuple[ListedFile, ...]:
    results = manifest.artifacts.files if manifest.artifacts is not None else ()
    return (
        *(ListedFile(item.path, item.size_bytes, item.sha256) for item in manifest.record_files),
        *(ListedFile(f"results/{item.path}", item.size_bytes, item.sha256) for item in results),
    )


def _is_inside(path: str) -> bool:
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _folders_of(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts))}


def _damaged(run_id: str, why: str) -> Corrupt:
    return Corrupt(f"the record of run `{run_id}` is damaged", detail=why, code="record-damaged")
