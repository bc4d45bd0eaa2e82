"""The runs of a lab as a person's computer sees them: what commands ask the gateway for instead of reading a folder."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from fetchml.config.settings import Settings
from fetchml.errors import NotFound
from fetchml.home import Home
from fetchml.link.client import Link
from fetchml.link.login import read_login
from fetchml.store.index import RunRow
from fetchml.store.remote import RemoteRunStore
from fetchml.store.remote_index import RemoteIndex

_PATIENT_S = 0.5
_TAIL_BLOCK = 64 * 1024


def is_far(settings: Settings) -> bool:
    """Tells whether the runs of this home are those of a lab; reads one small file."""
    return read_login(settings.home) is not None


def find(home: Home, target: str) -> RunRow:
    """Returns the run that a text means to the gateway."""
    return RemoteIndex(_link(home)).find(target)


def output(home: Home, target: str, *, follow: bool, tail: int | None, attempt: int | None) -> Iterator[bytes]:
    """Yields the output of a run, byte for byte, as `logs` does.

    Raises:
        NotFound: There is no such run, or it had no such attempt.
    """
    store = home.far_store
    run_id = find(home, target).run_id
    latest = store.read_manifest(run_id).attempt
    if attempt is not None and not 1 <= attempt <= latest:
        raise NotFound(f"run `{run_id}` had no attempt {attempt}", detail=f"the latest is {latest}", code="no-attempt")
    number, position = attempt or latest, None
    has_printed = False
    while True:
        manifest = store.read_manifest(run_id)
        is_last = manifest.is_over(number) or not follow
        path = f"attempts/{number}/output.log"
        try:
            if position is None:
                position = 0 if tail is None else _tail_position(store, run_id, path, tail)
            for part in _parts(store, run_id, path, position):
                has_printed = True
                position += len(part)
                yield part
        except NotFound:
            pass
        if is_last and follow and attempt is None and manifest.seal is None:
            number, position, tail = number + 1, 0, None
            continue
        if is_last:
            if not has_printed and not follow and manifest.seal is None:
                raise NotFound(
                    f"run `{run_id}` has printed nothing yet",
                    hint="`fetchml logs --follow` waits for it",
                    code="no-output",
                )
            return
        if follow and tail is None:
            yield from _streamed(home, run_id, number, position or 0)
            # What the stream brought is not counted: the manifest says whether that was all.
            return
        time.sleep(_PATIENT_S)


def fetch_small_files(home: Home, run_id: str) -> None:
    """Brings what `info` shows of a run beside its manifest: metrics and why it cannot go on."""
    listed = cast("list[dict[str, Any]]", _link(home).get(f"/v1/runs/{run_id}/files").json()["files"])
    home.far_store.forget_files(run_id)
    for item in listed:
        path = str(item["path"])
        if path.startswith("attempts/") and Path(path).name in ("metrics.jsonl", "stall.json"):
            home.far_store.fetch_file(run_id, path)


def stop(home: Home, run_id: str, reason: str | None) -> dict[str, Any]:
    """Asks for a run to stop; returns run_id, state and note."""
    return cast("dict[str, Any]", _link(home).post(f"/v1/runs/{run_id}/stop", {"reason": reason}).json())


def _streamed(home: Home, run_id: str, attempt: int, position: int) -> Iterator[bytes]:
    """Yields output as it arrives; a stream that breaks off is taken up where it was."""
    from fetchml.link.stream import messages

    while True:
        for part in messages(
            _link(home), f"/v1/runs/{run_id}/output", {"attempt": attempt, "offset": position, "follow": 1}
        ):
            position += len(part)
            yield part
        manifest = home.far_store.read_manifest(run_id)
        if manifest.is_over(attempt):
            for part in _parts(home.far_store, run_id, f"attempts/{attempt}/output.log", position):
                position += len(part)
                yield part
            if manifest.seal is not None:
                return
            attempt, position = attempt + 1, 0
        time.sleep(_PATIENT_S)


def _parts(store: RemoteRunStore, run_id: str, path: str, position: int) -> Iterator[bytes]:
    while True:
        try:
            reply = store.read_part(run_id, path, position)
        except NotFound:
            return
        if reply.content:
            yield reply.content
        position += len(reply.content)
        if not reply.content or position >= (reply.size_bytes or 0):
            return


def _tail_position(store: RemoteRunStore, run_id: str, path: str, lines: int) -> int:
    """Returns where the last lines of a file begin; reads it backwards, in parts."""
    size = store.read_part(run_id, path, 2**40).size_bytes or 0
    end, tail = size, b""
    while end > 0 and tail.rstrip(b"\n").count(b"\n") < lines:
        start = max(0, end - _TAIL_BLOCK)
        tail = store.read_part(run_id, path, start).content[: end - start] + tail
        end = start
    if lines <= 0:
        return size
    body = tail[:-1] if tail.endswith(b"\n") else tail
    at = len(body)
    for _ in range(lines):
        at = body.rfind(b"\n", 0, at)
        if at < 0:
            return end
    return end + at + 1


def _link(home: Home) -> Link:
    return home.far_store.link
