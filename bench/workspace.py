"""The folder of one run of the bench, and the environment its commands get."""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fetchml.engine.process_engine import remove_folder

PAYLOADS = Path(__file__).parent / "payload"

_SCRUBBED = ("FETCHML_", "FETCH_ML_", "PREFECT_", "TS_", "PYTHON", "FORCE_COLOR", "NO_COLOR", "CLICOLOR")
"""Nobody's own settings take part. PYTHONDONTWRITEBYTECODE would have every command compile what it imports."""


@contextmanager
def workspace(parent: Path | None) -> Generator[Path]:
    """Yields a new folder and removes it with everything in it.

    Args:
        parent: Where it is made; None takes the system's place for temporary files.
    """
    path = Path(tempfile.mkdtemp(prefix="fetchml-bench-", dir=parent))
    try:
        yield path
    finally:
        remove_folder(path)


def environment(**own: str | Path) -> dict[str, str]:
    """Returns a scrubbed environment with some variables of the caller's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SCRUBBED)}
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, **{name: str(value) for name, value in own.items()}}


def tool(name: str) -> str:
    """Returns a command of the environment this bench runs in, such as `fetchml` or `prefect`."""
    return str(Path(sys.executable).with_name(name))


def copy_payload(name: str, folder: Path) -> Path:
    """Puts a payload into a folder of its own, as a user's project."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(PAYLOADS / name, folder / name))
