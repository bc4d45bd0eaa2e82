"""Death and disk faults at every system call that changes a file: what is on disk is old or new, never torn.

`strace` strikes at the N-th call of a kind in a process, and each process counts for itself. So one traced program
forks a process for each crash point, and the process of the first, second, ... call first spends calls on nothing.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from fetchml.errors import Conflict
from fetchml.objects.directory import DirectoryObjects
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import RUN_ID, make_claim, make_manifest, make_plan

LAST = 12
"""More calls of one kind than any act makes, so that the last process is never struck."""

KINDS = ("write", "fchmod", "chmod", "fsync", "rename", "link", "unlink", "mkdir")
CALLS = "write,fchmod,fchmodat,chmod,fsync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat"
"""What the kinds are called on all architectures."""

DONE, REFUSED, KILLED = 0, 3, -9

OLD, NEW = b"old" * 10_000, b"new" * 20_000

PROGRAM = """
import json, os, sys
from pathlib import Path

from fetchml import durable
from fetchml.errors import FetchmlError
from fetchml.models.manifest import Narrative
from fetchml.objects.directory import DirectoryObjects
from fetchml.store.directory import DirectoryRunStore
from fetchml.testing.builders import RUN_ID, make_claim, make_manifest, make_plan

NEW = b"new" * 20_000

def replace(folder):
    durable.write_atomic(folder / "file", NEW)

def create(folder):
    durable.create_exclusive(folder / "file", NEW)

def accept(folder):
    DirectoryRunStore(folder).create(make_plan(), make_manifest())

def update(folder):
    narrative = Narrative(context=NEW.decode())
    DirectoryRunStore(folder).update(RUN_ID, lambda manifest: manifest.with_sections(narrative=narrative))

def claim(folder):
    DirectoryRunStore(folder).claim(make_claim())

def store(folder):
    with DirectoryObjects(folder).batch() as batch:
        batch.put_bytes(NEW)

# Calls that do nothing: a descriptor that is not open, a name that is empty.
NOTHING = {
    "write": lambda: os.write(4095, b""),
    "fchmod": lambda: os.fchmod(4095, 0),
    "chmod": lambda: os.chmod("", 0),
    "fsync": lambda: os.fsync(4095),
    "rename": lambda: os.rename("", ""),
    "link": lambda: os.link("", ""),
    "unlink": lambda: os.unlink(""),
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
acts = (replace, create, accept, update, claim, store)
print(json.dumps({act.__name__: list(all_steps(act)) for act in acts}))
"""


@dataclass(frozen=True)
class Struck:
    """What one process answered, and the folder it worked in."""

    folder: Path
    answer: int


@pytest.fixture(scope="module", params=["signal=KILL", "error=ENOSPC", "error=EIO"])
def struck(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Struck]]:
    """Each act, struck at its first, second, ... call, each time in a folder of its own."""
    if shutil.which("strace") is None:
        pytest.skip("NOT TESTED: no strace (Debian package strace)")
    root = tmp_path_factory.mktemp("struck")
    prepare(root)
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}"]
    command += ["-e", f"inject={CALLS}:{request.param}:when={LAST}", sys.executable, "-c", PROGRAM, root, str(LAST)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "ptrace" in done.stderr:
        pytest.skip(f"NOT TESTED: strace may not trace here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[tuple[str, int]]] = json.loads(done.stdout)
    for act, steps in answers.items():
        codes = [code for _, code in steps]
        assert set(codes) <= {DONE, REFUSED, KILLED}, f"{act}: {steps}\n{done.stderr}"
        assert codes.count(DONE) >= len(KINDS), f"{act} makes more calls than were struck: {steps}"
        assert len(codes) - codes.count(DONE) >= 4, f"{act} was not struck: {steps}"
    return {act: [Struck(root / act / name, code) for name, code in steps] for act, steps in answers.items()}


def prepare(root: Path) -> None:
    """Makes the folder of each act and step, with what was there before."""
    for act in ("replace", "create", "accept", "update", "claim", "store"):
        for kind, step in product(KINDS, range(1, LAST + 1)):
            folder = root / act / f"{kind}-{step}"
            folder.mkdir(parents=True)
            if act == "replace":
                (folder / "file").write_bytes(OLD)
            elif act in ("update", "claim"):
                DirectoryRunStore(folder).create(make_plan(), make_manifest())


def test_a_replaced_file_is_old_or_new(struck: dict[str, list[Struck]]) -> None:
    for one in struck["replace"]:
        found = (one.folder / "file").read_bytes()
        assert found == NEW if one.answer == DONE else found in (OLD, NEW)


def test_a_created_file_is_whole_or_absent(struck: dict[str, list[Struck]]) -> None:
    for one in struck["create"]:
        path = one.folder / "file"
        assert path.exists() or one.answer != DONE
        assert not path.exists() or path.read_bytes() == NEW


def test_a_run_is_whole_or_absent_and_can_be_queued_again(struck: dict[str, list[Struck]]) -> None:
    for one in struck["accept"]:
        store = DirectoryRunStore(one.folder)
        accepted = store.exists(RUN_ID)
        assert accepted or one.answer != DONE
        assert store.run_ids() == ([RUN_ID] if accepted else [])
        if accepted:
            with pytest.raises(Conflict):
                store.create(make_plan(), make_manifest())
        else:
            store.create(make_plan(), make_manifest())
        assert store.read_plan(RUN_ID) == make_plan()
        assert store.read_manifest(RUN_ID) == make_manifest()


def test_a_changed_manifest_is_old_or_new(struck: dict[str, list[Struck]]) -> None:
    for one in struck["update"]:
        found = DirectoryRunStore(one.folder).read_manifest(RUN_ID).narrative.context
        assert found == NEW.decode() if one.answer == DONE else found in (None, NEW.decode())


def test_a_claim_has_one_owner_or_none(struck: dict[str, list[Struck]]) -> None:
    ours, theirs = make_claim(), make_claim(worker="another")
    for one in struck["claim"]:
        store = DirectoryRunStore(one.folder)
        found = store.read_claim(RUN_ID, 1)
        assert found == ours if one.answer == DONE else found in (None, ours)
        assert store.claim(theirs) == (found is None)
        assert store.read_claim(RUN_ID, 1) == (found or theirs)


def test_an_object_is_whole_or_absent_and_can_be_stored_again(struck: dict[str, list[Struck]]) -> None:
    digest = hashlib.sha256(NEW).hexdigest()
    for one in struck["store"]:
        objects = DirectoryObjects(one.folder)
        assert objects.has(digest) or one.answer != DONE
        with objects.batch() as batch:
            batch.put_bytes(NEW)
        assert objects.read(digest) == NEW
