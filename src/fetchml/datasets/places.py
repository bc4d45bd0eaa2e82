"""Where data may lie on a host, and whether what lies there is still the same folder.

A dataset is mounted into runs, so a name in the catalogue must not open what only the host should see. What a path
means can change at any moment; its device and inode tell whether it did.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fetchml.errors import Refused

_SYSTEM = (
    *("/etc", "/proc", "/sys", "/dev", "/boot", "/run", "/var/run"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet"),
)
"""Secrets and controls of the host, and the sockets and files of its engines."""
_OPEN = (Path("/dev/shm"), Path("/run/media"))  # noqa: S108  # compared, not written to
"""Below these people keep data all the same: in memory, and on disks that were plugged in."""
_OWN = (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config", ".local/share/keyrings", ".netrc")
"""What holds keys in the home folder of a user."""
_RUNS = "store/runs"
"""Below the home folder of fetchml: what runs made may be data of others."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder that a path meant at a moment."""

    path: Path
    """Without links on the way to it."""
    device: int
    inode: int


def place_at(path: Path) -> Place | None:
    """Returns what a path means now; None if there is nothing, or it cannot be told."""
    try:
        real = os.path.realpath(path, strict=True)
        status = os.stat(real, follow_symlinks=False)
    except OSError:
        return None
    return Place(Path(real), status.st_dev, status.st_ino)


def check_place(path: Path, fetchml_home: Path, sockets: Iterable[str] = ()) -> None:
    """Checks that a path may be that of a dataset, wherever links on the way to it lead.

    Args:
        path: Where the data is.
        fetchml_home: The home folder of fetchml.
        sockets: Where engines listen: paths, or URLs such as `unix:///run/docker.sock`.

    Raises:
        Refused: Runs would see what only the host should see.
    """
    real = Path(os.path.realpath(path))
    if str(real) == "/":
        raise _refused(path, "it is the whole host")
    is_open = any(real != place and real.is_relative_to(place) for place in _OPEN)
    for text in _closed(sockets):
        # As it is called, and as it is: `/var/run` is a link to `/run`.
        for closed in {text, Path(os.path.realpath(text))}:
            if real.is_relative_to(closed) and not (is_open and str(text) in _SYSTEM):
                raise _refused(path, f"it is in `{text}`" if real != closed else f"it is `{closed}`")
            if closed.is_relative_to(real):
                raise _refused(path, f"`{text}` is in it")
    home = Path(os.path.realpath(fetchml_home))
    if home.is_relative_to(real) or (real.is_relative_to(home) and not real.is_relative_to(home / _RUNS)):
        raise _refused(path, f"`{home}` is the home folder of fetchml")


def _closed(sockets: Iterable[str]) -> list[Path]:
    found = [Path(text) for text in _SYSTEM]
    own = os.path.expanduser("~")
    if os.path.isabs(own):
        found += [Path(own, name) for name in _OWN]
    paths = [text.removeprefix("unix://") for text in sockets]
    return found + [Path(text) for text in paths if os.path.isabs(text)]


def _refused(path: Path, why: str) -> Refused:
    return Refused(
        f"`{path}` cannot be a dataset",
        detail=f"{why}, and runs would see what only this host should see",
        hint="name a folder that holds nothing but the data, or copy the data into one",
        code="place-refused",
    )
