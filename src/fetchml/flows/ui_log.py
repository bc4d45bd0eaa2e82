"""Shows a run's output in the Prefect UI, within reason.

The API stores every line as a row of its database; a payload that prints 200 MB would fill it. The whole output is in
`output.log`.
"""

import logging
import threading
import time
from typing import Self

from prefect.client.schemas.objects import FlowRun
from prefect.logging.handlers import APILogHandler
from prefect.logging.loggers import PrefectLogAdapter

MAX_LINES = 2000
LINES_A_SECOND = 100
_BURST = 500


class UiLog:
    """Passes lines on to the log of a flow run, and to nowhere else.

    Args:
        flow_run: The flow run.
    """

    def __init__(self, flow_run: FlowRun) -> None:
        logger = logging.getLogger("fetchml.payload")
        logger.setLevel(logging.INFO)
        logger.propagate = False  # the worker's own log is not the place for what payloads print
        logger.handlers = [APILogHandler()]
        names = {"flow_run_id": str(flow_run.id), "flow_run_name": flow_run.name, "flow_name": "run-experiment"}
        self._logger = PrefectLogAdapter(logger, extra=names)
        self._shown = 0
        self._left_out = 0
        self._credit = float(_BURST)
        self._last = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._left_out:
            self._logger.info("... %d more lines are in output.log", self._left_out)

    def show(self, lines: list[str]) -> None:
        """Passes lines on as far as the limits allow, escaped and as one record."""
        with self._lock:
            now = time.monotonic()
            self._credit = min(_BURST, self._credit + (now - self._last) * LINES_A_SECOND)
            self._last = now
            room = max(0, min(int(self._credit), MAX_LINES - self._shown))
            taken = lines[:room]
            self._left_out += len(lines) - len(taken)
            self._shown += len(taken)
            self._credit -= len(taken)
        if taken:
            self._logger.info("%s", "\n".join(_visible(line) for line in taken))


def _visible(line: str) -> str:
    """Returns the line with control codes escaped; of a progress bar only what it showed last."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in last)
