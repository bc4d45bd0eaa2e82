"""Striking a program at each system call that changes a file.

`strace` strikes at the N-th call of a kind in a process, and each process counts for itself. So one traced program
forks a process for each crash point, and the process of the first, second, ... call first spends calls on nothing.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NoReturn

import pytest

from conftest import IN_CI

KINDS = ("write", "fchmod", "chmod", "fsync", "rename", "link", "unlink", "unlinkat", "rmdir", "mkdir")
CALLS = "write,fchmod,fchmodat,chmod,fsync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat"
"""What the kinds are called on all architectures."""
INJECTIONS = ("signal=KILL", "error=ENOSPC", "error=EIO")

DONE, REFUSED, KILLED = 0, 3, -9

_HEAD = """
import json, os, sys
from pathlib import Path

from fetchml.errors import FetchmlError
"""

_TAIL = """
# Calls that do nothing: a descriptor that is not open, a name that is empty.
NOTHING = {
    "write": lambda: os.write(4095, b""),
    "fchmod": lambda: os.fchmod(4095, 0),
    "chmod": lambda: os.chmod("", 0),
    "fsync": lambda: os.fsync(4095),
    "rename": lambda: os.rename("", ""),
    "link": lambda: os.link("", ""),
    "unlink": lambda: os.unlink(""),
    "unlinkat": lambda: os.unlink("nothing", dir_fd=4095),
    "rmdir": lambda: os.rmdir(""),
    "mkdir": lambda: os.mkdir(""),
}

def struck(act, folder, kind, calls_before):
    pid = os.fork()
    if pid == 0:
        for _ in range(calls_before):
            try:
                NOTHING[kind]()
            except OSError:
                pass
        try:
            act(folder)
        except FetchmlError:
            os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def all_steps(act):
    for kind in NOTHING:
        for step in range(1, last + 1):
            folder = root / act.__name__ / f"{kind}-{step}"
            answer = struck(act, folder, kind, last - step)
            yield folder.name, answer
            if answer == 0:
                break  # it makes no more calls of this kind

root, last = Path(sys.argv[1]), int(sys.argv[2])
print(json.dumps({name: list(all_steps(globals()[name])) for name in sys.argv[3:]}))
"""


@dataclass(frozen=True)
class Struck:
    """What one process answered, and the folder it worked in."""

    folder: Path
    answer: int


def _not_tested(why: str) -> NoReturn:
    """Says so, loudly; in CI it fails."""
    if IN_CI:
        pytest.fail(f"crash points were not tested, and in CI they have to be: {why}")
    pytest.skip(f"NOT TESTED: {why}")


def strike(
    root: Path, injection: str, program: str, acts: Sequence[str], last: int, prepare: Callable[[str, Path], None]
) -> dict[str, list[Struck]]:
    """Carries out each act, struck at its first, second, ... call, each time in a folder of its own.

    Args:
        root: Folder for all of it.
        injection: What strikes, in the words of `strace`.
        program: Python that defines the acts, each a function of a folder.
        acts: Their names.
        last: More calls of one kind than any of them makes, so that the last process is never struck.
        prepare: Fills the folder of an act with what is there before.
    """
    if shutil.which("strace") is None:
        _not_tested("no strace (scripts/provision-tests installs it)")
    for act in acts:
        template = root / "templates" / act
        template.mkdir(parents=True)
        prepare(act, template)
        for kind, step in product(KINDS, range(1, last + 1)):
            shutil.copytree(template, root / act / f"{kind}-{step}", symlinks=True)
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}"]
    command += ["-e", f"inject={CALLS}:{injection}:when={last}"]
    command += [sys.executable, "-c", _HEAD + program + _TAIL, str(root), str(last), *acts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if "ptrace" in done.stderr:
        _not_tested(f"strace may not trace here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[tuple[str, int]]] = json.loads(done.stdout)
    for act, steps in answers.items():
        codes = [code for _, code in steps]
        assert set(codes) <= {DONE, REFUSED, KILLED}, f"{act}: {steps}\n{done.stderr}"
        assert codes.count(DONE) >= len(KINDS), f"{act} makes more calls than were struck: {steps}"
        if "KILL" in injection:
            assert codes.count(KILLED) >= 3, f"{act} was not struck: {steps}"
    return {act: [Struck(root / act / name, code) for name, code in steps] for act, steps in answers.items()}
