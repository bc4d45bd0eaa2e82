"""Waits for runs to end."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from fetchml.config.settings import Settings
from fetchml.errors import Unavailable
from fetchml.home import Home
from fetchml.models.manifest import RunManifest
from fetchml.service.far import find, is_far
from fetchml.service.select import select
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.index import RunIndex, stamp_of

_POLL_S = 0.02
"""A look at a file's stamp; the file is read when that has changed."""
_FAR_POLL_S = 0.5
"""A look at a lab goes over the network."""
_READ_EVERY = 50
"""And every fiftieth time regardless, as file systems on a network may show an old stamp."""

Observer = Callable[[RunManifest], None]
"""Called with a run's manifest whenever its state has changed."""


def wait(
    settings: Settings, targets: Sequence[str], observer: Observer, timeout_s: float | None = None
) -> list[RunManifest]:
    """Blocks until all runs have ended, and returns their sealed manifests in the order asked for.

    Args:
        settings: The settings of this call.
        targets: Runs as `select` understands them.
        observer: Told of every change of state.
        timeout_s: Seconds to wait at most; None waits for ever.

    Raises:
        NotFound: One of them does not exist.
        Unavailable: The time is over; the runs go on.
    """
    if is_far(settings):
        home = Home(settings)
        run_ids = [find(home, target).run_id for target in targets]
        return _until_ended(run_ids, home.far_store.read_manifest, observer, timeout_s, _FAR_POLL_S)
    store = DirectoryRunStore(settings.store)
    rows = RunIndex(settings.store).rows()
    run_ids = [select(rows, target).run_id for target in targets]
    return _until_ended(run_ids, _Changes(store).read, observer, timeout_s, _POLL_S)


class _Changes:
    """Reads manifests that may have changed since they were read last."""

    def __init__(self, store: DirectoryRunStore) -> None:
        self._store = store
        self._stamps: dict[str, str] = {}
        self._turns = Counter[str]()

    def read(self, run_id: str) -> RunManifest | None:
        """Returns the manifest, or None if its file is the one that was read before."""
        stamp = stamp_of(self._store.folder(run_id).manifest)
        turn, self._turns[run_id] = self._turns[run_id], self._turns[run_id] + 1
        if stamp and self._stamps.get(run_id) == stamp and turn % _READ_EVERY:
            return None
        self._stamps[run_id] = stamp
        return self._store.read_manifest(run_id)


def _until_ended(
    run_ids: Sequence[str],
    read: Callable[[str], RunManifest | None],
    observer: Observer,
    timeout_s: float | None,
    poll_s: float,
) -> list[RunManifest]:
    """Looks at runs until all are sealed; a read that returns None says that nothing has changed."""
    waiting = dict.fromkeys(run_ids)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    seen: dict[str, object] = {}
    ended: dict[str, RunManifest] = {}
    while True:
        for run_id in [name for name in waiting if name not in ended]:
            manifest = read(run_id)
            if manifest is None:
                continue
            if seen.get(run_id) != manifest.status.state:
                seen[run_id] = manifest.status.state
                observer(manifest)
            if manifest.seal is not None:
                ended[run_id] = manifest
        if len(ended) == len(waiting):
            return [ended[run_id] for run_id in waiting]
        if deadline is not None and time.monotonic() >= deadline:
            left = ", ".join(run_id for run_id in waiting if run_id not in ended)
            raise Unavailable(
                f"still not ended: {left}", hint="they go on; wait again or look with `fetchml status`", code="timeout"
            )
        time.sleep(poll_s)
