"""Reads a run's output, from the end on or as it arrives."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fetchml import durable
from fetchml.config.settings import Settings
from fetchml.errors import NotFound
from fetchml.home import Home
from fetchml.service.far import is_far, output
from fetchml.service.select import select
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.index import RunIndex

_CHUNK = 64 * 1024
_POLL_S = 0.1


def logs(
    settings: Settings, target: str, *, follow: bool, tail: int | None, attempt: int | None = None
) -> Iterator[bytes]:
    """Yields the output of a run's latest attempt, byte for byte.

    Args:
        settings: The settings of this call.
        target: A run as `select` understands it.
        follow: Go on until the run has ended, with the attempts that follow.
        tail: Lines from the end to begin with; None begins at the beginning.
        attempt: Number of one attempt to show; None: the latest.

    Raises:
        NotFound: There is no such run, or it had no such attempt.
    """
    if is_far(settings):
        yield from output(Home(settings), target, follow=follow, tail=tail, attempt=attempt)
        return
    store = DirectoryRunStore(settings.store)
    run_id = select(RunIndex(settings.store).rows(), target).run_id
    folder = store.folder(run_id)
    latest = store.read_manifest(run_id).attempt
    if attempt is not None and not 1 <= attempt <= latest:
        raise NotFound(f"run `{run_id}` had no attempt {attempt}", detail=f"the latest is {latest}", code="no-attempt")
    number = attempt or latest
    if not follow and attempt is None and not durable.exists(folder.attempt(latest).output):
        number = max(1, latest - 1)  # it waits for its next attempt: what the one before printed says why

    def is_over() -> bool:
        return store.read_manifest(run_id).is_over(number)

    path = folder.attempt(number).output
    if not durable.exists(path) and not follow and not is_over():
        raise NotFound(
            f"run `{run_id}` has printed nothing yet", hint="`fetchml logs --follow` waits for it", code="no-output"
        )
    yield from _read(path, follow=follow, tail=tail, ended=is_over)
    while follow and attempt is None and store.read_manifest(run_id).seal is None:
        number += 1
        yield from _read(folder.attempt(number).output, follow=True, tail=None, ended=is_over)


def _read(path: Path, *, follow: bool, tail: int | None, ended: Callable[[], bool]) -> Iterator[bytes]:
    position: int | None = None
    while True:
        # The end first: what was written before it is then there when it is read below.
        is_last = not follow or ended()
        try:
            with path.open("rb") as file:
                if position is None:
                    position = 0 if tail is None else _tail_position(path, tail)
                file.seek(position)
                while chunk := file.read(_CHUNK):
                    position += len(chunk)
                    yield chunk
        except FileNotFoundError:
            pass
        if is_last:
            return
        time.sleep(_POLL_S)


def _tail_position(path: Path, lines: int) -> int:
    """Returns where the last lines of a file begin; reads backwards, so the size of the file does not matter."""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        if lines <= 0:
            return position
        missing = lines
        end = position
        while position > 0:
            start = max(0, position - _CHUNK)
            file.seek(start)
            block = file.read(position - start)
            if position == end and block.endswith(b"\n"):
                block = block[:-1] + b"."  # the last newline ends a line, it does not begin one
            while (found := block.rfind(b"\n")) >= 0:
                missing -= 1
                if missing == 0:
                    return start + found + 1
                block = block[:found]
            position = start
        return 0
