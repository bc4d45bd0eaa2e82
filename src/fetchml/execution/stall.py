"""Why an attempt cannot go on now: left by a driver that gave up, for whoever asks what the run waits for.

A run is not failed because an engine or a disk does not answer: the worker tries again. Until then this is the only
place outside its log that says why.
"""

import json
from contextlib import suppress

from fetchml import durable
from fetchml.errors import FetchmlError
from fetchml.store.folder import AttemptFolder, RunFolder

_MAX_CHARACTERS = 500


def note_stall(folder: AttemptFolder, error: BaseException) -> None:
    """Writes down what stopped the driver of an attempt, best effort: the disk may be what is wrong."""
    if isinstance(error, FetchmlError):
        reason = ": ".join(filter(None, (error.summary, error.detail)))
    else:
        reason = f"{type(error).__name__}: {error}"
    with suppress(FetchmlError):
        durable.write_atomic(folder.stall, json.dumps({"reason": reason[:_MAX_CHARACTERS]}).encode() + b"\n")


def clear_stall(folder: AttemptFolder) -> None:
    """Takes back what an earlier driver wrote: the attempt goes on."""
    folder.stall.unlink(missing_ok=True)


def read_stall(run: RunFolder) -> str | None:
    """Returns why the latest attempt of a run cannot go on now, or None."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        latest = max(run.attempts.iterdir(), key=lambda path: int(path.name))
        return " ".join(str(json.loads(AttemptFolder(latest).stall.read_bytes())["reason"]).split())
    return None
