"""Whether a place is on a file system of another machine, as far as Linux tells."""

import os
import re
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
REMOTE = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "9p",
        "ceph",
        "lustre",
        "beegfs",
        "gpfs",
        "glusterfs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.sshfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.goofys",
        "fuse.mount-s3",
        "fuse.mountpoint-s3",
        "fuse.gcsfuse",
        "fuse.juicefs",
        "fuse.davfs",
        "fuse.curlftpfs",
        "fuse.smbnetfs",
        "davfs",
    }
)
"""Types of file systems that lie on another machine; one that is not known counts as local."""


def is_remote(path: Path, table: str | None = None) -> bool:
    """Tells whether a path is on a file system of another machine; never where there is no such table, as on macOS.

    Args:
        path: What is asked about; links are followed.
        table: The text of `/proc/self/mountinfo`; None reads it.
    """
    return type_of(path, table) in REMOTE


def type_of(path: Path, table: str | None = None) -> str | None:
    """Returns the type of the file system a path is on, such as `nfs4`; None if that cannot be told."""
    if table is None:
        try:
            table = _TABLE.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    place = os.path.realpath(path)
    best, found = "", None
    for line in table.splitlines():
        # proc_pid_mountinfo(5): id, parent, device, root, mount point, options, ..., " - ", type, source, options
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5 or not kinds[0]:
            continue
        top = _unescaped(fields[4])
        # Of several at one place, the last one covers the others.
        if len(top) >= len(best) and (place == top or place.startswith(top.rstrip("/") + "/")):
            best, found = top, kinds[0]
    return found


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
