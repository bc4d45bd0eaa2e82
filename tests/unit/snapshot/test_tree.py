"""The canonical tree: one form, one digest, and nothing else is read as one."""

import base64
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.canonical import canonical_bytes
from fetchml.errors import Corrupt
from fetchml.snapshot.tree import Entry, FileEntry, LinkEntry, Tree, folders_above, import_roots, make_tree, read_tree

SHA = "ab" * 32


def file(path: bytes, size_bytes: int = 3, sha256: str = SHA, *, executable: bool = False) -> FileEntry:
    return FileEntry(path, size_bytes, sha256, executable)


_names = st.binary(min_size=1, max_size=6).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)
_paths = st.lists(_names, min_size=1, max_size=3).map(b"/".join)
_digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
_entries = st.one_of(
    st.builds(FileEntry, _paths, st.integers(0, 2**50), _digests, st.booleans()),
    st.builds(LinkEntry, _paths, _names),
)


def _fits_in_a_folder(entries: list[Entry]) -> bool:
    paths = {entry.path for entry in entries}
    return not any(folder in paths for path in paths for folder in folders_above(path))


@given(st.lists(_entries, max_size=8, unique_by=lambda entry: entry.path).filter(_fits_in_a_folder))
def test_what_was_written_is_read_back(entries: list[Entry]) -> None:
    tree = make_tree(entries)
    assert read_tree(tree.canonical) == tree
    assert canonical_bytes(json.loads(tree.canonical)) == tree.canonical
    assert sorted(tree.entries, key=lambda entry: entry.path) == list(tree.entries)
    assert set(tree.entries) == set(entries)


@given(st.lists(_entries, max_size=8, unique_by=lambda entry: entry.path), st.randoms())
def test_the_order_of_a_listing_does_not_matter(entries: list[Entry], random: Any) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert make_tree(shuffled).canonical == make_tree(entries).canonical


PINNED = "612c45548be579ebfc1d2b7046fbd7d38c88d3d6194db9114dcb9d34dba2910a"
PINNED_EMPTY = "d334b2d36869593b14ea5f445f373b517e4ed12b46c490d39e1db972cf36f694"


def test_the_form_is_pinned() -> None:
    """A commit id of today has to be the commit id of the same tree for ever."""
    tree = make_tree([file(b"b/\xff.py", 0, executable=True), LinkEntry(b"c", b"a.py"), file(b"a.py")])
    assert json.loads(tree.canonical) == {
        "type": "fetchml.tree.v1",
        "entries": [
            {"path": "a.py", "kind": "file", "sha256": SHA, "size": 3},
            {"path_base64": "Yi//LnB5", "kind": "executable", "sha256": SHA, "size": 0},
            {"path": "c", "kind": "link", "target": "a.py"},
        ],
    }
    assert hashlib.sha256(tree.canonical).hexdigest() == PINNED
    assert hashlib.sha256(make_tree([]).canonical).hexdigest() == PINNED_EMPTY


@pytest.mark.parametrize(
    "other",
    [
        file(b"a.pz"),
        file(b"a.py", 4),
        file(b"a.py", 3, "cd" * 32),
        file(b"a.py", executable=True),
        LinkEntry(b"a.py", b"b.py"),
    ],
)
def test_any_difference_is_another_tree(other: Entry) -> None:
    assert make_tree([other]).canonical != make_tree([file(b"a.py")]).canonical


def test_a_tree_knows_its_files() -> None:
    tree = make_tree([LinkEntry(b"link", b"a.py"), file(b"a.py", 3), file(b"d/\xff", 4)])
    assert tree.size_bytes == 7
    assert [entry.path for entry in tree.files] == [b"a.py", b"d/\xff"]
    assert tree.find("a.py") == file(b"a.py", 3)
    assert tree.find("d/\udcff") == file(b"d/\xff", 4)
    assert tree.find("d") is None


ITEM = {"path": "a.py", "kind": "file", "sha256": SHA, "size": 3}


def content(*items: object, **changes: object) -> bytes:
    """The bytes of a tree in canonical JSON, whatever is in it."""
    value = {"entries": list(items), "type": "fetchml.tree.v1", **changes}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def test_the_forgeries_below_begin_from_a_good_one() -> None:
    assert read_tree(content(ITEM)) == make_tree([file(b"a.py")])


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b'"tree"',
        b"[" * 100_000,
        content(ITEM, type="fetchml.tree.v2"),
        content(ITEM)[:-1],
        content(ITEM) + b"\n",
        b" " + content(ITEM),
        content({**ITEM, "extra": 1}),
        content({**ITEM, "kind": "folder"}),
        content({**ITEM, "size": -1}),
        content({**ITEM, "size": "3"}),
        content({**ITEM, "size": 3.5}),
        content({**ITEM, "size": True}),
        content({**ITEM, "size": 2**53}),
        content({**ITEM, "size": 10**400}),
        content({**ITEM, "sha256": SHA[:-1]}),
        content({**ITEM, "sha256": SHA.upper()}),
        content({**ITEM, "sha256": 7}),
        content({**ITEM, "path": 7}),
        content({"kind": "file", "sha256": SHA, "size": 3}),
        content({**ITEM, "path_base64": "YQ=="}),
        content({"path_base64": base64.b64encode(b"a.py").decode(), "kind": "file", "sha256": SHA, "size": 3}),
        content({"path_base64": "!!", "kind": "file", "sha256": SHA, "size": 3}),
        content({"path": "link", "kind": "link"}),
        content({"path": "link", "kind": "link", "target": "a\0b"}),
        content({"path": "link", "kind": "link", "target": "a" * 4096}),
        content({**ITEM, "path": "d/" * 201 + "a"}),
        content({**ITEM, "path": "/".join(["d" * 200] * 10)}),
        content({**ITEM, "path": "b.py"}, ITEM),
        content("a.py"),
        content(entries=7),
        *(
            content({**ITEM, "path": path})
            for path in ("", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b")
        ),
    ],
)
def test_nothing_else_is_read_as_a_tree(forged: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        read_tree(forged)
    assert caught.value.code == "tree-damaged"


@pytest.mark.parametrize(
    "items",
    [
        [ITEM, ITEM],
        [{"path": "a", "kind": "link", "target": "b"}, {**ITEM, "path": "a"}],
        [{**ITEM, "path": "a"}, {**ITEM, "path": "a/b"}],
    ],
    ids=["twice", "link and file", "file and folder"],
)
def test_a_path_is_there_once(items: list[dict[str, object]]) -> None:
    with pytest.raises(Corrupt):
        read_tree(content(*items))


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "x/../../outside", "", "here/../outside"])
def test_a_link_of_a_tree_stays_inside(target: str) -> None:
    """Trees come from stores that others write to, not only from `capture`."""
    here = {"path": "here", "kind": "link", "target": "."}
    with pytest.raises(Corrupt):
        read_tree(content(here, {"path": "link", "kind": "link", "target": target}))


_link_names = st.sampled_from([b"a", b"b", b"c", b"d/a", b"d/b", b"d/e/a", b"d/e/b"])
_link_targets = st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b".", b".."]), min_size=1, max_size=4)


@given(st.dictionaries(_link_names, _link_targets.map(b"/".join), min_size=1))
def test_no_link_of_a_tree_leads_out_whatever_the_others_are(links: dict[bytes, bytes]) -> None:
    """The system follows the links of a real folder; what it finds outside is what has to be refused."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(os.path.realpath(folder)) + b"/outside/tree"
        os.makedirs(root + b"/d/e")
        Path(os.fsdecode(root), "d", "e", "f").touch()
        for path, target in links.items():
            os.symlink(target, root + b"/" + path)
        entries: list[Entry] = [file(b"d/e/f"), *(LinkEntry(path, target) for path, target in links.items())]
        try:
            read_tree(make_tree(entries).canonical)
        except Corrupt:
            return
        for path in links:
            with suppress(OSError):  # dangling, or a circle
                found = os.path.realpath(root + b"/" + path, strict=True)
                assert found == root or found.startswith(root + b"/")


@pytest.mark.parametrize(
    ("paths", "roots"),
    [
        ([], ()),
        ([b"train.py", b"src/package/__init__.py"], ()),
        ([b"pyproject.toml", b"package/__init__.py"], ("",)),
        ([b"setup.py"], ("",)),
        ([b"pyproject.toml", b"src/package/__init__.py"], ("src",)),
        ([b"sub/pyproject.toml"], ()),
    ],
)
def test_a_project_is_imported_from_where_it_would_be_installed(paths: list[bytes], roots: tuple[str, ...]) -> None:
    assert import_roots(make_tree([file(path) for path in paths])) == roots


def test_a_tree_is_a_value() -> None:
    assert make_tree([file(b"a")]) == Tree((file(b"a"),))
