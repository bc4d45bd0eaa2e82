"""Built environments that nobody has used for a while."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.environment.image import REPOSITORY
from fetchml.environment.venv import READY
from fetchml.models.plan import EngineKind

_VENV = re.compile(r"venv-([0-9a-f]{24})", re.ASCII)
_IMAGE = re.compile(r"image-([a-z]+)-([0-9a-f]{24})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Built:
    """An environment that was built, or what is known of one."""

    path: Path
    """Folder of a virtual environment, or record of an image."""
    key: str
    """First digits of its key."""
    used_at_s: float
    """When it was used last, in seconds of the clock."""
    engine: EngineKind
    image: str | None = None
    """Name of the image that was built; None where there is none of its own."""


def built(root: Path) -> Iterator[Built]:
    """Yields the environments below a folder."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(root)):
            path = root / name
            if (venv := _VENV.fullmatch(name)) is not None:
                marker = path / READY
                used_at_s = (marker if marker.exists() else path).stat().st_mtime
                yield Built(path, venv[1], used_at_s, EngineKind.PROCESS)
            elif (image := _IMAGE.fullmatch(name)) is not None and image[1] in tuple(EngineKind):
                tag = f"{REPOSITORY}:{image[2]}"
                own = None if _is_as_is(path, image[2]) else tag
                yield Built(path, image[2], path.stat().st_mtime, EngineKind(image[1]), own)


def remove_unused(item: Built, is_unused: Callable[[float], bool], remove_image: Callable[[Built], bool]) -> bool:
    """Removes an environment, unless it is being built or was used meanwhile; tells whether it did.

    Args:
        item: The environment.
        is_unused: Tells whether one that was used at a moment counts as unused; asked when nobody else can use it.
        remove_image: Removes its image; tells whether it is gone.
    """
    lock = item.path.with_suffix(".lock")
    lock.touch(mode=0o600)
    try:
        with durable.locked(lock, waiting=_give_up):
            marker = item.path / READY if item.image is None and item.path.is_dir() else item.path
            if not is_unused((marker if marker.exists() else item.path).stat().st_mtime):
                return False
            if item.path.is_dir():
                marker.unlink(missing_ok=True)  # first: without it what is left is no environment
                shutil.rmtree(item.path)
                return True
            if item.image is not None and not remove_image(item):
                return False
            item.path.unlink(missing_ok=True)
            return True
    except _Busy:
        return False


class _Busy(Exception):
    """Somebody is building it."""


def _give_up() -> None:
    raise _Busy


def _is_as_is(record: Path, key: str) -> bool:
    """Tells whether a record is about a base image; that one is not fetchml's to remove."""
    try:
        known = cast("dict[str, Any]", json.loads(record.read_bytes()))
        return str(known["image"]).removeprefix("sha256:").startswith(key)
    except (OSError, ValueError, KeyError, TypeError):
        return False
