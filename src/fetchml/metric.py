"""`log_metric`: the one call a script may make. Standard library only; outside a run it does nothing."""

import json
import math
import os
import time
from typing import SupportsFloat

METRICS_VARIABLE = "FETCHML_METRICS"
"""Names the file a run's metrics are appended to; set inside runs only."""


def log_metric(name: str, value: SupportsFloat, step: int | None = None) -> None:
    """Records one value of a metric of the current run.

    Outside a run this is a quiet no-op, so a script behaves alike with and without fetchml. Safe to call from several
    threads and processes: each call is one append of one line.

    Args:
        name: Name of the metric, 1 to 128 characters, such as `val/loss`.
        value: A number, or anything `float()` takes, such as a NumPy or PyTorch scalar.
        step: Step or epoch the value belongs to.

    Raises:
        ValueError: The name is empty or too long.
        TypeError: The value is no number, or the name no text.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # scripts are not type-checked
        raise TypeError(f"a metric's name is text, not {type(name).__name__}")
    if not 0 < len(name) <= 128:
        raise ValueError("a metric's name has 1 to 128 characters")
    if isinstance(value, str | bytes | bytearray):
        raise TypeError(f"the value of the metric `{name}` is {type(value).__name__}, not a number")
    number = float(value)
    path = os.environ.get(METRICS_VARIABLE)
    if not path:
        return
    record: dict[str, object] = {"name": name, "value": _json_number(number), "time": round(time.time(), 3)}
    if step is not None:
        record["step"] = int(step)
    line = json.dumps(record) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError:
        # A full disk must not end a training run; the gap shows in the metrics.
        return


def _json_number(number: float) -> float | str:
    """Returns the number, or the word for one that JSON has no number for."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number
