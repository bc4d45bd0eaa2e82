"""What is captured all the same, and told."""

import os
import stat
from pathlib import Path

import pytest

from fetchml.errors import Refused
from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.found import Limits
from fetchml.snapshot.materialise import write_tree
from fetchml.snapshot.oddities import oddities
from fetchml.snapshot.scan import scan
from unit.snapshot.projects import Capture, Write

OWN, OTHER = 1000, 1001


def status(mode: int = stat.S_IFREG | 0o644, links: int = 1, uid: int = OWN) -> os.stat_result:
    return os.stat_result((mode, 1, 1, links, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (status(), None),
        (status(links=2), None),
        (status(uid=OTHER), None),
        (status(links=2, uid=OTHER), "hard links to files of another user, captured as they are now: `a`"),
        (status(stat.S_IFLNK | 0o777, links=2, uid=OTHER), None),
        (status(stat.S_IFREG | stat.S_ISUID | 0o755), "setuid and setgid bits are not kept: `a`"),
        (status(stat.S_IFREG | stat.S_ISGID | 0o755), "setuid and setgid bits are not kept: `a`"),
    ],
)
def test_links_of_others_and_bits_that_are_lost_are_told(found: os.stat_result, text: str | None) -> None:
    assert oddities({b"a": found}, (), OWN) == (() if text is None else (text,))


@pytest.mark.parametrize(
    ("paths", "twins"),
    [
        ([b"a.py", b"b.py"], ""),
        ([b"a.py", b"A.py"], "`A.py`, `a.py`"),
        ([b"A/x", b"a/y"], "`A`, `a`"),
        ([b"x/A/p", b"X/q"], "`X`, `x`"),
        (["é".encode(), "e\u0301".encode()], "`e\u0301`, `é`"),
        (["straße".encode(), b"STRASSE"], "`STRASSE`, `straße`"),
        ([b"\xff", b"\xfe"], ""),
    ],
)
def test_names_that_some_file_systems_take_for_one_are_told(paths: list[bytes], twins: str) -> None:
    found = oddities(dict.fromkeys(paths, status()), (), OWN)
    told = "names that differ in case or Unicode form alone are one name on some file systems: "
    assert found == ((told + twins,) if twins else ())


def test_many_are_counted_after_the_first_five() -> None:
    files = {str(number).encode(): status(links=2, uid=OTHER) for number in range(9)}
    assert oddities(files, (), OWN)[0].endswith("`0`, `1`, `2`, `3`, `4` and 4 more")


def test_a_snapshot_tells_them_and_drops_the_bits(project: Path, write: Write, captured: Capture) -> None:
    write({"tool": "x"})
    (project / "tool").chmod(0o4755)
    snapshot = captured()
    assert snapshot.tree.files[0].executable
    assert snapshot.notes == ("setuid and setgid bits are not kept: `tool`",)


class FoldingObjects(MemoryObjects):
    """Writes to a file system that does not tell capital letters apart."""

    def copy_to(self, digest: str, target: Path, *, executable: bool = False) -> None:
        super().copy_to(digest, target.with_name(target.name.lower()), executable=executable)


def test_names_that_collide_where_the_code_is_laid_out_are_refused(
    project: Path, write: Write, captured: Capture, objects: MemoryObjects, tmp_path: Path
) -> None:
    write({"a.py": "a", "A.py": "A"})
    folding = FoldingObjects()
    with folding.batch() as batch:
        for digest in objects.digests() if (tree := captured().tree) else ():
            batch.put_bytes(objects.read(digest))
    with pytest.raises(Refused) as caught:
        write_tree(tree, folding, tmp_path / "laid-out")
    assert caught.value.code == "names-collide"


def test_another_file_system_in_the_project_is_entered_only_if_that_is_asked_for() -> None:
    """`/dev` has one in `shm` wherever there is Linux, and it can be looked at without being root."""
    if os.stat("/dev").st_dev == os.stat("/dev/shm").st_dev:
        pytest.skip("NOT TESTED: /dev/shm is no file system of its own")
    with pytest.raises(Refused) as caught:
        scan(Path("/dev"), Limits(2**60, 10**6))
    told = "shm: lies on another file system (`snapshot.other_file_systems` is false)"
    assert told in (caught.value.detail or "")
    with pytest.raises(Refused) as caught:
        scan(Path("/dev"), Limits(2**60, 10**6, other_file_systems=True))
    assert "another file system" not in (caught.value.detail or "")
