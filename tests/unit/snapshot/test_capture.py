"""Capturing a project: every file, its execute bit, its links; what cannot be captured is refused by name."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.errors import ConfigError, Refused
from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.capture import capture, shown
from fetchml.snapshot.tree import FileEntry, LinkEntry, read_tree
from unit.snapshot.projects import LIMITS, Capture, Write


def entry(path: bytes, content: bytes, *, executable: bool = False) -> FileEntry:
    return FileEntry(path, len(content), hashlib.sha256(content).hexdigest(), executable)


def refusal(captured: Capture) -> list[str]:
    """Returns the lines that say why a project is refused."""
    with pytest.raises(Refused) as caught:
        captured()
    assert caught.value.code == "snapshot-refused"
    assert caught.value.detail is not None
    return sorted(caught.value.detail.splitlines())


# What is in a snapshot


def test_a_snapshot_holds_every_file(project: Path, write: Write, captured: Capture, objects: MemoryObjects) -> None:
    write({"train.py": "print()", "empty": "", "deep/er/a.py": "a", "deep/same.py": "a"})
    snapshot = captured()
    assert snapshot.tree.entries == (
        entry(b"deep/er/a.py", b"a"),
        entry(b"deep/same.py", b"a"),
        entry(b"empty", b""),
        entry(b"train.py", b"print()"),
    )
    assert read_tree(objects.read(snapshot.commit_id)) == snapshot.tree
    assert {objects.read(item.sha256) for item in snapshot.tree.files} == {b"a", b"", b"print()"}


@pytest.mark.parametrize("name", [".fetchml", "deep/er/home"])
def test_the_home_of_fetchml_is_no_part_of_a_project(
    project: Path, write: Write, objects: MemoryObjects, name: str
) -> None:
    write({"train.py": "print()", "deep/a.py": "a", f"{name}/store/objects/x": "x", ".fetchml2": "b"})
    os.mkfifo(project / name / "worker.wake")
    kept = capture(project, objects, LIMITS, project / "." / name).tree.entries
    assert [item.path for item in kept] == [b".fetchml2", b"deep/a.py", b"train.py"]


def test_the_home_of_fetchml_is_left_out_by_whichever_path_it_is_named(
    project: Path, write: Write, objects: MemoryObjects, tmp_path: Path
) -> None:
    write({"train.py": "print()", "home/x": "x"})
    (tmp_path / "link").symlink_to(project / "home")
    assert [item.path for item in capture(project, objects, LIMITS, tmp_path / "link").tree.entries] == [b"train.py"]


def test_the_commit_id_is_the_digest_of_the_tree(write: Write, captured: Capture) -> None:
    write({"a.py": "a"})
    snapshot = captured()
    assert snapshot.commit_id == hashlib.sha256(snapshot.tree.canonical).hexdigest()


def test_an_empty_project_is_a_snapshot(captured: Capture) -> None:
    assert captured().tree.entries == ()


def test_empty_folders_are_not_kept(project: Path, write: Write, captured: Capture) -> None:
    write({"a.py": "a"})
    before = captured().commit_id
    (project / "empty" / "deeper").mkdir(parents=True)
    assert captured().commit_id == before


def _touch(project: Path) -> None:
    os.utime(project / "a.py", (0, 0))


def _chmod_group(project: Path) -> None:
    (project / "a.py").chmod(0o660)


def _write_again(project: Path) -> None:
    (project / "b.py").unlink()
    (project / "b.py").write_text("b")


def _move_away(project: Path) -> None:
    project.rename(project.with_name("elsewhere"))
    (project.with_name("elsewhere")).rename(project)


@pytest.mark.parametrize("change", [_touch, _chmod_group, _write_again, _move_away])
def test_the_same_tree_has_the_same_id(
    project: Path, write: Write, captured: Capture, change: Callable[[Path], None]
) -> None:
    write({"a.py": "a", "b.py": "b"})
    before = captured()
    change(project)
    assert captured() == before


def test_an_id_is_the_same_wherever_the_project_is(tmp_path: Path) -> None:
    ids: set[str] = set()
    for name, order in (("one", "abc"), ("another", "cba")):
        for letter in order:
            path = tmp_path / name / letter / "x.py"
            path.parent.mkdir(parents=True)
            path.write_text(letter)
        ids.add(capture(tmp_path / name, MemoryObjects(), LIMITS).commit_id)
    assert len(ids) == 1


def _edit(project: Path) -> None:
    (project / "a.py").write_text("A")


def _rename(project: Path) -> None:
    (project / "a.py").rename(project / "c.py")


def _add(project: Path) -> None:
    (project / "c.py").touch()


def _make_executable(project: Path) -> None:
    (project / "a.py").chmod(0o744)


def _swap(project: Path) -> None:
    (project / "a.py").write_text("b")
    (project / "b.py").write_text("a")


def _link(project: Path) -> None:
    (project / "a.py").unlink()
    (project / "a.py").symlink_to("b.py")


@pytest.mark.parametrize("change", [_edit, _rename, _add, _make_executable, _swap, _link])
def test_any_change_is_another_id(
    project: Path, write: Write, captured: Capture, change: Callable[[Path], None]
) -> None:
    write({"a.py": "a", "b.py": "b"})
    before = captured().commit_id
    change(project)
    assert captured().commit_id != before


@pytest.mark.parametrize(
    ("mode", "executable"),
    [(0o644, False), (0o600, False), (0o444, False), (0o744, True), (0o700, True), (0o777, True), (0o655, False)],
)
def test_of_a_mode_the_execute_bit_of_the_owner_counts(
    project: Path, write: Write, captured: Capture, mode: int, executable: bool
) -> None:
    write({"run.sh": "x"})
    (project / "run.sh").chmod(mode)
    assert captured().tree.entries == (entry(b"run.sh", b"x", executable=executable),)


NAMES = (b"\xff\xfe", b"new\nline", b"tab\t", b" ", b"-rf", b"\xc3\xa9", b"e\xcc\x81", b'"', b"a\\b", b"~", b"x" * 255)


def test_names_are_bytes(project: Path, captured: Capture, objects: MemoryObjects) -> None:
    for name in NAMES:
        Path(project, os.fsdecode(name)).write_bytes(name)
    snapshot = captured()
    assert snapshot.tree.entries == tuple(entry(name, name) for name in sorted(NAMES))
    assert read_tree(objects.read(snapshot.commit_id)) == snapshot.tree


def deep_file(folder: int, name: str) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=folder))


@pytest.mark.parametrize(("folder", "depth"), [("d" * 200, 40), ("d", 201), ("d", 1200)])
def test_what_lies_too_deep_is_refused_by_name(
    project: Path, captured: Capture, deep_folder: Callable[[Path, str, int], int], folder: str, depth: int
) -> None:
    deep_file(deep_folder(project, folder, depth), "file")
    why = "lies in more than 200 folders" if folder == "d" else "has a path longer than 2000 bytes"
    assert refusal(captured) == [f"- {((folder + '/') * 50)[:100]}...: {why}"]


def test_a_path_that_is_too_long_is_refused_by_name(
    project: Path, captured: Capture, deep_folder: Callable[[Path, str, int], int]
) -> None:
    inner = deep_folder(project, "d" * 199, 9)
    deep_file(inner, "f" * 200)
    assert [len(item.path) for item in captured().tree.entries] == [2000]
    deep_file(inner, "f" * 201)
    assert len(refusal(captured)) == 1


def test_what_is_ignored_may_lie_at_any_depth(
    project: Path, write: Write, captured: Capture, deep_folder: Callable[[Path, str, int], int]
) -> None:
    write({".gitignore": "d/"})
    deep_file(deep_folder(project, "d", 300), "file")
    assert [item.path for item in captured().tree.entries] == [b".gitignore"]


def test_at_the_limit_of_depth_a_file_is_captured(
    project: Path, captured: Capture, deep_folder: Callable[[Path, str, int], int], objects: MemoryObjects
) -> None:
    deep_file(deep_folder(project, "d", 200), "file")
    snapshot = captured()
    assert [item.path for item in snapshot.tree.entries] == [b"d/" * 200 + b"file"]
    assert read_tree(objects.read(snapshot.commit_id)) == snapshot.tree


# Links


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("link", "a.py"),
        ("link", "./a.py"),
        ("link", "missing"),
        ("link", "."),
        ("link", "sub"),
        ("sub/link", "../a.py"),
        ("sub/link", ".."),
        ("sub/link", "../sub/../a.py"),
        ("link", "link"),
        ("link", "sub//x"),
    ],
)
def test_a_link_that_stays_inside_is_kept_as_a_link(
    project: Path, write: Write, captured: Capture, path: str, target: str
) -> None:
    write({"a.py": "a", "sub/b.py": "b"})
    (project / path).symlink_to(target)
    assert captured().tree.find(path) == LinkEntry(path.encode(), target.encode())


def test_a_linked_folder_is_not_entered(project: Path, write: Write, captured: Capture) -> None:
    write({"sub/a.py": "a"})
    (project / "other").symlink_to("sub")
    (project / "sub" / "loop").symlink_to("..")
    assert [item.path for item in captured().tree.entries] == [b"other", b"sub/a.py", b"sub/loop"]


@pytest.mark.parametrize(
    ("path", "target", "fault"),
    [
        ("link", "/etc/passwd", "links to the absolute path `/etc/passwd`"),
        ("link", "..", "links out of the project, to `..`"),
        ("link", "../secret", "links out of the project, to `../secret`"),
        ("sub/link", "../../secret", "links out of the project, to `../../secret`"),
        ("link", "sub/../../secret", "links out of the project, to `sub/../../secret`"),
        ("link", "../project/a.py", "links out of the project, to `../project/a.py`"),
        ("link", "/\x1b[2J", "links to the absolute path `/\\x1b[2J`"),
    ],
)
def test_a_link_that_leaves_the_project_is_refused(
    project: Path, write: Write, captured: Capture, path: str, target: str, fault: str
) -> None:
    write({"a.py": "a", "sub/b.py": "b"})
    (project / path).symlink_to(target)
    assert refusal(captured) == [f"- {path}: {fault}"]


def test_a_link_that_leaves_through_another_link_is_refused(project: Path, write: Write, captured: Capture) -> None:
    write({"a.py": "a"})
    (project / "here").symlink_to(".")
    (project / "out").symlink_to("here/../secret")
    (project.parent / "secret").write_text("secret")
    assert (project / "out").read_text() == "secret"
    assert len(refusal(captured)) == 1


@pytest.mark.parametrize(
    ("links", "content"),
    [
        ({"here": ".", "link": "here/a.py"}, "a"),
        ({"here": ".", "link": "here/sub/../a.py"}, "a"),
        ({"in": "sub/deep", "link": "in/../b.py"}, "b"),
        ({"in": "sub/deep", "link": "in/../../a.py"}, "a"),
        ({"one": "two", "two": "sub", "link": "one/b.py"}, "b"),
        ({"one": "two/deep", "two": "sub", "link": "one/../../a.py"}, "a"),
        ({"sub/up": "../sub/deep", "link": "sub/up/../b.py"}, "b"),
        ({"in": "sub", "link": "in/missing/x"}, None),
        ({"link": "link/x"}, None),
        ({"one": "two/x", "two": "one/y"}, None),
    ],
    ids=str,
)
def test_a_link_may_pass_through_others_of_the_tree(
    project: Path, write: Write, captured: Capture, links: dict[str, str], content: str | None
) -> None:
    write({"a.py": "a", "sub/b.py": "b", "sub/deep/c.py": "c"})
    for path, target in links.items():
        (project / path).symlink_to(target)
    tree = captured().tree
    assert {item.path: item.target for item in tree.entries if isinstance(item, LinkEntry)} == {
        path.encode(): target.encode() for path, target in links.items()
    }
    if content is not None:
        assert (project / "link").read_text() == content, "what the system makes of it"


@pytest.mark.parametrize(
    ("links", "refused"),
    [
        ({"here": ".", "link": "here/../project/a.py"}, 1),
        ({"in": "sub/deep", "link": "in/../../../secret"}, 1),
        ({"one": "two", "two": "sub", "link": "one/../../secret"}, 1),
        ({"out": "..", "link": "out/secret"}, 2),
        ({"out": "/", "link": "out/etc"}, 2),
        ({"link": "link/../../secret"}, 1),
        ({"one": "two/..", "two": "one/.."}, 2),
        ({**{f"l{number}": f"l{number + 1}/." for number in range(45)}, "l45": ".", "link": "l0/../secret"}, 6),
    ],
    ids=str,
)
def test_a_link_that_leaves_through_others_is_refused(
    project: Path, write: Write, captured: Capture, links: dict[str, str], refused: int
) -> None:
    write({"a.py": "a", "sub/b.py": "b", "sub/deep/c.py": "c"})
    for path, target in links.items():
        (project / path).symlink_to(target)
    assert len(refusal(captured)) == refused


# What is no file


def test_what_is_no_file_is_refused_by_name_and_all_at_once(project: Path, write: Write, captured: Capture) -> None:
    write({"a.py": "a"})
    os.mkfifo(project / "pipe")
    os.mkfifo(project / os.fsdecode(b"p\xff\n"))
    with socket.socket(socket.AF_UNIX) as listener:
        (project / "run").mkdir()
        here = os.open(project / "run", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket")  # the path of a socket may not be long
        os.close(here)
        (project / "out").symlink_to("/tmp")
        assert refusal(captured) == [
            "- out: links to the absolute path `/tmp`",
            "- p\\xff\\n: is a FIFO, not a file",
            "- pipe: is a FIFO, not a file",
            "- run/socket: is a socket, not a file",
        ]


@pytest.mark.root
def test_a_device_is_refused(project: Path, captured: Capture) -> None:
    try:
        os.mknod(project / "null", 0o20666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("NOT TESTED: devices cannot be made here")
    assert refusal(captured) == ["- null: is a device, not a file"]


def test_what_is_ignored_may_be_anything(project: Path, write: Write, captured: Capture) -> None:
    write({"a.py": "a", ".fetchmlignore": "pipe\nout\n"})
    os.mkfifo(project / "pipe")
    (project / "out").symlink_to("/etc")
    assert [item.path for item in captured().tree.entries] == [b".fetchmlignore", b"a.py"]


def test_many_faults_are_counted_after_the_first_twenty(project: Path, captured: Capture) -> None:
    for number in range(30):
        os.mkfifo(project / f"pipe{number}")
    lines = refusal(captured)
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more"


@pytest.mark.usefixtures("mode_bits_count")
def test_what_cannot_be_read_is_refused_by_name(project: Path, write: Write, captured: Capture) -> None:
    write({"a.py": "a", "secret.py": "b", "closed/c.py": "c"})
    (project / "secret.py").chmod(0)
    (project / "closed").chmod(0)
    try:
        assert refusal(captured) == ["- closed/: Permission denied"]
        (project / "closed").chmod(0o755)
        assert refusal(captured) == ["- secret.py: Permission denied"]
    finally:
        (project / "closed").chmod(0o755)


@pytest.mark.parametrize("what", ["missing", "file"])
def test_a_project_that_is_no_folder_is_an_error_of_the_input(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        capture(tmp_path / what, MemoryObjects(), LIMITS)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"a.py", "a.py"),
        (b"\xc3\xa9", "\u00e9"),
        (b"\xff", "\\xff"),
        (b"a\nb", "a\\nb"),
        (b"\x1b[31m", "\\x1b[31m"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
    ],
)
def test_a_path_is_shown_without_what_could_deceive(path: bytes, text: str) -> None:
    assert shown(path) == text
