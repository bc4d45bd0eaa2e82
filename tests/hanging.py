"""A file system that does not answer, for tests: `python hanging.py FOLDER COMMAND...` runs a command that sees it.

It is a FUSE mount that nobody serves: what looks into the folder is stuck in the kernel, in state D, as with a share
whose server is gone. The mount is in a namespace of its own, so nothing else on the machine can run into it.
"""

import ctypes
import os
import sys
from pathlib import Path

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x4000 | 0x40000


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def can_hang() -> bool:
    """Tells whether this machine lets a test mount such a thing."""
    return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)


def become(folder: str, command: list[str]) -> None:
    """Mounts it on a folder, in a namespace of this process, and becomes a command; never returns."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS))
    _checked(libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None))
    device = os.open("/dev/fuse", os.O_RDWR)
    options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % device
    _checked(libc.mount(b"hanging", os.fsencode(folder), b"fuse.hanging", 0, options))
    # Somebody else is the server, who does not go away with the command: that would be an answer.
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.set_inheritable(writer, True)
    os.execvp(command[0], command)


def is_stuck(pid: int) -> bool:
    """Tells whether a thread of a process waits for such a file system."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return "D" in states


if __name__ == "__main__":
    become(sys.argv[1], sys.argv[2:])
