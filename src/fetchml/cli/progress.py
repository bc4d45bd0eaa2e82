"""Shows on stderr how runs come along."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fetchml.cli import session

if TYPE_CHECKING:
    from fetchml.config.settings import Settings
    from fetchml.models.manifest import RunManifest
    from fetchml.snapshot.capture import Progress

_TOLD_EVERY_S = 2.0

STATE_STYLES = {
    "queued": ("yellow",),
    "preparing": ("cyan",),
    "running": ("blue", "bold"),
    "finalizing": ("cyan",),
    "completed": ("green",),
    "failed": ("red",),
    "refused": ("red",),
    "cancelled": ("dim",),
    "unreachable": ("red", "bold"),
    "damaged": ("red", "bold"),
}


def state_word(state: str, stream: object = None) -> str:
    """Returns a state in its colour; the word says the same without it."""
    return session.style(session.safe(state), *STATE_STYLES.get(state, ()), stream=stream)


def describe(manifest: "RunManifest") -> str:
    """Returns one line about how a run ended or stands."""
    from fetchml.models.units import format_duration

    text = f"{manifest.identity.run_id}  {state_word(manifest.status.state, sys.stderr)}"
    used = manifest.resources.actual
    if used is not None and used.wall_s is not None:
        text += f"  after {format_duration(used.wall_s)}"
    if manifest.diagnosis is not None and manifest.status.state != "completed":
        text += f"  {session.safe(manifest.diagnosis.summary)}"
    drifted = drift(manifest)
    return f"{text}  {session.style(drifted, 'yellow', stream=sys.stderr)}" if drifted else text


def drift(manifest: "RunManifest") -> str:
    """Returns which datasets changed under a run, in words; empty if none did."""
    names = ", ".join(session.safe(item.name) for item in manifest.datasets if item.drifted)
    return f"data changed during the run: {names}" if names else ""


def wait_with_progress(
    settings: "Settings", run_ids: Sequence[str], timeout_s: float | None = None
) -> "list[RunManifest]":
    """Waits for runs, saying every change of state on stderr; tells what is not running if nothing moves."""
    from fetchml.service.wait import wait

    began = time.monotonic()

    def observe(manifest: "RunManifest") -> None:
        elapsed = time.monotonic() - began
        session.note_styled(f"[{elapsed:6.1f}s] {describe(manifest)}")

    return wait(settings, run_ids, observe, timeout_s)


def exit_code(manifests: "Sequence[RunManifest]") -> int:
    """Returns 0 if all runs completed, else 1."""
    return 0 if all(manifest.status.state == "completed" for manifest in manifests) else 1


class Teller:
    """Says now and then how far the reading of files has come; nothing if it is quick."""

    def __init__(self) -> None:
        self._began = self._told_at = time.monotonic()

    def tell(self, progress: "Progress") -> None:
        """Tells a state, if the last one is long ago."""
        from fetchml.models.units import format_size

        now = time.monotonic()
        if now - self._told_at < _TOLD_EVERY_S:
            return
        self._told_at = now
        rate = progress.size_bytes / (now - self._began)
        session.note(
            f"{progress.files} of {progress.total_files} files, {format_size(progress.size_bytes)} of "
            f"{format_size(progress.total_bytes)}, {format_size(int(rate))}/s"
        )
