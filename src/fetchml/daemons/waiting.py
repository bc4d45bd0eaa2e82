"""Why runs wait, as the worker last said; read without building a model, for commands that must answer at once."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

STATE_FILE = "worker.json"


def read_waiting(services: Path) -> dict[str, dict[str, Any]]:
    """Returns place and reasons of each run that waits, by run id; empty if no worker has said anything."""
    with suppress(OSError, ValueError, KeyError):
        return cast("dict[str, dict[str, Any]]", json.loads((services / STATE_FILE).read_bytes())["waiting"])
    return {}
