"""Facts about this host that records carry."""

import getpass
import os
import socket
from pathlib import Path

HOST_NAME_VARIABLE = "FETCHML_HOST_NAME"
"""Gives this host another name than the system's, where several of a lab would have the same."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def host_name() -> str:
    """Returns the name of this host in the lab."""
    return os.environ.get(HOST_NAME_VARIABLE) or socket.gethostname() or "localhost"


def total_memory_bytes() -> int:
    """Returns the memory of this host, or of the control group it is confined to, in bytes."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                total = min(total, int(file.read()))
        except (OSError, ValueError):
            continue
    return total


def boot_id() -> str:
    """Returns an id of this boot of the host: what another boot started is dead."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def user_name() -> str:
    """Returns the name of the user, or the uid where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
