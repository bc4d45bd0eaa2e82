"""Checks snapshots: the tree of a commit id, and every object of it."""

from dataclasses import dataclass

from fetchml.errors import FetchmlError
from fetchml.models.manifest import RunManifest
from fetchml.objects.port import ObjectStore
from fetchml.service.findings import Check, Findings
from fetchml.snapshot.tree import FileEntry, Tree, read_tree

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Looked:
    """A snapshot and what is wrong with it."""

    tree: Tree | None
    fault: str | None = None
    """Why the tree cannot be read."""
    damaged: tuple[tuple[str, str], ...] = ()
    """Files whose object is damaged or missing, and why."""


class SnapshotChecks:
    """Looks at snapshots; an object that several of them share is read once.

    Args:
        objects: Where they are.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._faults: dict[str, str | None] = {}

    def look(self, commit_id: str) -> Looked:
        """Reads every byte of a snapshot."""
        try:
            tree = read_tree(self._objects.read(commit_id))
        except FetchmlError as error:
            return Looked(None, error.summary)
        faults = ((_shown(entry), self.fault(entry.sha256)) for entry in tree.files)
        return Looked(tree, None, tuple((path, fault) for path, fault in faults if fault is not None))

    def fault(self, digest: str) -> str | None:
        """Returns what is wrong with an object, or None."""
        if digest not in self._faults:
            try:
                self._objects.read(digest)
                self._faults[digest] = None
            except FetchmlError as error:
                self._faults[digest] = error.summary
        return self._faults[digest]

    def check_commit(self, found: Findings, commit_id: str) -> None:
        """Checks a snapshot by itself, file by file."""
        looked = self.look(commit_id)
        if looked.tree is None:
            found.failed("tree", commit_id, looked.fault or "", f"objects/sha256/{commit_id[:2]}/{commit_id[2:]}")
            return
        found.passed("tree")
        damaged = dict(looked.damaged)
        for entry in looked.tree.files:
            path = _shown(entry)
            if path in damaged:
                found.failed(f"file:{path}", entry.sha256, damaged[path], path)
            else:
                found.passed(f"file:{path}", path)

    def check_run(self, found: Findings, manifest: RunManifest) -> None:
        """Checks the snapshot of a run, and what its record says of it."""
        looked = self.look(manifest.identity.commit_id)
        if looked.tree is None:
            found.failed("snapshot", manifest.identity.commit_id, looked.fault or "")
        elif looked.damaged:
            texts = [f"{path}: {fault}" for path, fault in looked.damaged[:_SHOWN]]
            if len(looked.damaged) > _SHOWN:
                texts.append(f"and {len(looked.damaged) - _SHOWN} more")
            found.failed("snapshot", _expected(looked.tree), "; ".join(texts))
        else:
            found.checks.append(_sound(looked.tree))
        self._check_dependencies(found, manifest, looked.tree)
        diff = manifest.environment.git.diff_object if manifest.environment.git else None
        if diff is not None:
            fault = self.fault(diff)
            if fault is None:
                found.passed("git_diff")
            else:
                found.failed("git_diff", diff, fault)

    def _check_dependencies(self, found: Findings, manifest: RunManifest, tree: Tree | None) -> None:
        environment = manifest.environment
        if environment.dependencies_name is None or tree is None:
            return
        entry = tree.find(environment.dependencies_name)
        expected = environment.dependencies_sha256 or "a digest"
        if not isinstance(entry, FileEntry):
            found.failed("dependencies", expected, "no such file in the snapshot", environment.dependencies_name)
        else:
            actual = self.fault(entry.sha256) or entry.sha256
            found.equal("dependencies", expected, actual, environment.dependencies_name)


def _expected(tree: Tree) -> str:
    return f"{len(tree.files)} files with their digests"


def _sound(tree: Tree) -> Check:
    return Check("snapshot", True, _expected(tree))


def _shown(entry: FileEntry) -> str:
    return entry.path.decode("utf-8", "backslashreplace")
