"""What the worker last said, as far as commands need it that must answer at once; read without building a model."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

STATE_FILE = "worker.json"


def read_api_url(services: Path) -> str | None:
    """Returns the Prefect API the last worker took runs from, or None if no worker has said anything."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((services / STATE_FILE).read_bytes())["api_url"])
    return None


def read_waiting(services: Path) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Returns place and reasons of each run that waits, by run id; empty if no worker has said anything."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        waiting = cast("dict[str, dict[str, Any]]", json.loads((services / STATE_FILE).read_bytes())["waiting"])
        return {
            run_id: (int(item["position"]), tuple(str(reason) for reason in item["reasons"]))
            for run_id, item in waiting.items()
        }
    return {}
