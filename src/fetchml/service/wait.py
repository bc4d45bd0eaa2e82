"""Waits for runs to end."""

import time
from collections.abc import Callable, Sequence
from itertools import count

from fetchml.config.settings import Settings
from fetchml.errors import Unavailable
from fetchml.home import Home
from fetchml.models.manifest import RunManifest
from fetchml.service.far import is_far
from fetchml.service.far import wait as wait_far
from fetchml.service.select import select
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.index import RunIndex, stamp_of

_POLL_S = 0.02
"""A look at a file's stamp; the file is read when that has changed."""
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
        return wait_far(Home(settings), list(targets), observer, timeout_s)
    store = DirectoryRunStore(settings.store)
    rows = RunIndex(settings.store).rows()
    run_ids = list(dict.fromkeys(select(rows, target).run_id for target in targets))
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    seen: dict[str, object] = {}
    stamps: dict[str, str] = {}
    ended: dict[str, RunManifest] = {}
    for turn in count():
        for run_id in run_ids:
            if run_id in ended:
                continue
            stamp = stamp_of(store.folder(run_id).manifest)
            if stamp and stamps.get(run_id) == stamp and turn % _READ_EVERY:
                continue
            stamps[run_id] = stamp
            manifest = store.read_manifest(run_id)
            if seen.get(run_id) != manifest.status.state:
                seen[run_id] = manifest.status.state
                observer(manifest)
            if manifest.seal is not None:
                ended[run_id] = manifest
        if len(ended) == len(run_ids):
            return [ended[run_id] for run_id in run_ids]
        if deadline is not None and time.monotonic() >= deadline:
            left = ", ".join(run_id for run_id in run_ids if run_id not in ended)
            raise Unavailable(
                f"still not ended: {left}", hint="they go on; wait again or look with `fetchml status`", code="timeout"
            )
        time.sleep(_POLL_S)
    raise AssertionError  # `count` has no end
