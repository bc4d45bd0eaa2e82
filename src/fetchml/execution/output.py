"""Records a run's output while it runs: byte for byte, bounded, resumable.

The log holds exactly what the payload wrote, so its size is the position to go on from after a crash. Beside it an
index says when each part arrived.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fetchml import durable
from fetchml.errors import FetchmlError
from fetchml.execution.metrics import (
    STDOUT_PREFIX,
    MetricValue,
    from_json_line,
    from_stdout_line,
    read_lines,
    values_of,
)
from fetchml.store.folder import AttemptFolder

_INDEX_EVERY_S = 1.0
_LINE_CAP = 2000

Listener = Callable[[list[str]], None]
"""Gets complete lines of output, decoded, to show them elsewhere."""


class OutputRecorder:
    """Writes one attempt's output and live metrics.

    Args:
        folder: The attempt.
        max_bytes: Bytes of output to keep.
        listener: Gets the lines as they arrive.
    """

    def __init__(self, folder: AttemptFolder, max_bytes: int, listener: Listener) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._listener = listener
        self._lock = threading.Lock()
        self._closed = False
        self._inbox = folder.inbox / "metrics.jsonl"
        # After a crash the live metrics may have gaps or repetitions; their sources have not.
        self._inbox_offset = rewrite_metrics(folder) if durable.exists(folder.metrics) else 0
        self._log = os.open(folder.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._index = os.open(folder.output_index, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._metrics = os.open(folder.metrics, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.position = os.fstat(self._log).st_size
        """Bytes recorded so far, which is where to go on from."""
        self.dropped = False
        """Whether output beyond the cap was thrown away."""
        self.error: FetchmlError | None = None
        """Why output could not be written any more; the payload is left alone."""
        self._partial = b""
        self._next_index = 0.0

    def record(self, chunks: Iterable[bytes]) -> None:
        """Takes output until there is no more."""
        for chunk in chunks:
            with self._lock:
                if self._closed:
                    return  # whoever watched has given up
                self._take(chunk)
        with self._lock:
            if not self._closed:
                self._pass_on(b"\n" if self._partial else b"")

    def read_inbox(self) -> None:
        """Takes over metrics that the payload logged since the last call."""
        for line, offset in read_lines(self._inbox, self._inbox_offset):
            self._inbox_offset = offset
            value = from_json_line(line)
            if value is not None:
                self._add_metric(value)

    def close(self) -> None:
        """Makes the log durable and closes it."""
        with self._lock:
            self._closed = True
        try:
            os.fsync(self._log)
        except OSError as error:
            self.error = self.error or durable.translate(error, "write", self._folder.output)
        for descriptor in (self._log, self._index, self._metrics):
            os.close(descriptor)

    def _take(self, chunk: bytes) -> None:
        kept = chunk[: max(0, self._max_bytes - self.position)]
        self.dropped = self.dropped or len(kept) < len(chunk)
        if self.error is None and kept:
            now = time.time()
            try:
                if now >= self._next_index:
                    self._next_index = now + _INDEX_EVERY_S
                    entry = {"offset": self.position, "time": round(now, 3)}
                    os.write(self._index, json.dumps(entry).encode() + b"\n")
                durable.write_all(self._log, kept)
                self.position += len(kept)
            except OSError as error:
                self.error = durable.translate(error, "write", self._folder.output)
        self._pass_on(chunk)

    def _pass_on(self, chunk: bytes) -> None:
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        self._partial = self._partial[-_LINE_CAP:]
        shown: list[str] = []
        for line in lines:
            if line.startswith(STDOUT_PREFIX):
                value = from_stdout_line(line, round(time.time(), 3))
                if value is not None:
                    self._add_metric(value)
            shown.append(line[:_LINE_CAP].decode("utf-8", "replace"))
        if shown:
            self._listener(shown)

    def _add_metric(self, value: MetricValue) -> None:
        try:
            os.write(self._metrics, value.as_line())
        except OSError as error:
            self.error = self.error or durable.translate(error, "write", self._folder.metrics)


def rewrite_metrics(folder: AttemptFolder) -> int:
    """Writes metrics.jsonl anew from the inbox and the output; returns how far the inbox was read."""
    inbox = folder.inbox / "metrics.jsonl"
    read = max((offset for _, offset in read_lines(inbox)), default=0)
    durable.write_atomic(folder.metrics, b"".join(value.as_line() for value in values_of(inbox, folder.output)))
    return read


class OutputPump:
    """Records output in a thread of its own, until the container has ended."""

    def __init__(self, recorder: OutputRecorder, chunks: Iterable[bytes]) -> None:
        self._recorder = recorder
        self._chunks = chunks
        self._finished = threading.Event()
        self._failure: BaseException | None = None
        threading.Thread(target=self._run, name="fetchml-output", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Waits for the end of the output; returns whether it has ended."""
        return self._finished.wait(timeout_s)

    def check(self) -> None:
        """Raises what broke the stream, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._recorder.record(self._chunks)
        except BaseException as failure:  # noqa: BLE001  # raised again by `check`, in the thread that watches
            self._failure = failure
        finally:
            self._finished.set()


def read_tail(path: Path, max_bytes: int = 16 * 1024) -> str:
    """Returns the end of a log as text; empty if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
