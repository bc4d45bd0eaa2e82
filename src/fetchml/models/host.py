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
