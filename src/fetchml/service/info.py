"""Reads the record of one run, by name or from a folder that may lie anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fetchml.archive.state import CopyState, copy_state
from fetchml.config.settings import Settings
from fetchml.errors import NotFound
from fetchml.execution.metrics import MetricValue, from_json_line, read_lines
from fetchml.execution.stall import read_stall
from fetchml.home import Home
from fetchml.models.manifest import RunManifest
from fetchml.service.far import fetch_small_files, find, is_far
from fetchml.service.select import select
from fetchml.store.directory import DirectoryRunStore, read_model
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex


@dataclass(frozen=True, slots=True)
class Info:
    """A run and where its record is."""

    manifest: RunManifest
    folder: RunFolder
    copy: CopyState | None = None
    """Its copy in a bucket; None if it has none and is to have none."""

    @property
    def stall(self) -> str | None:
        """Why the run cannot go on now although it has begun, or None."""
        return read_stall(self.folder) if self.manifest.seal is None else None

    def metrics(self) -> Iterator[MetricValue]:
        """Yields every metric value so far, in the order logged."""
        for attempt in sorted(self.folder.attempts.glob("[0-9]*")):
            for line, _ in read_lines(attempt / "metrics.jsonl"):
                value = from_json_line(line)
                if value is not None:
                    yield value


def info(settings: Settings, target: str) -> Info:
    """Returns the record of a run.

    Args:
        settings: The settings of this call.
        target: A run as `select` understands it, or the path of a run folder or of a manifest.

    Raises:
        NotFound: There is no such run, or no manifest at the path.
        Corrupt: The manifest is damaged.
    """
    folder = folder_of(target)
    if folder is not None:
        return _from_folder(folder)
    if is_far(settings):
        home = Home(settings)
        run_id = find(home, target).run_id
        fetch_small_files(home, run_id)
        return Info(home.far_store.read_manifest(run_id), home.far_store.folder(run_id))
    store = DirectoryRunStore(settings.store)
    run_id = select(RunIndex(settings.store).rows(), target).run_id
    manifest, run = store.read_manifest(run_id), store.folder(run_id)
    return Info(manifest, run, copy_state(Home(settings), run) if manifest.seal is not None else None)


def folder_of(target: str) -> RunFolder | None:
    """Returns the run folder that a path means, or None if the text is no path; it need not exist."""
    path = Path(target)
    if "/" not in target and path.name != "run_manifest.json" and target not in (".", ".."):
        return None
    return RunFolder((path.parent if path.name == "run_manifest.json" else path).absolute())


def _from_folder(folder: RunFolder) -> Info:
    manifest = read_model(folder.manifest, RunManifest, lambda: f"`{folder.path}`")
    if manifest is None:
        raise NotFound(f"there is no `run_manifest.json` in `{folder.path}`", code="no-manifest")
    return Info(manifest, folder)
