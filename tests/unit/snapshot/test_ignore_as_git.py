"""What is left out is what git leaves out: git itself says so, for trees and rules nobody thought of."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fetchml.snapshot.found import Limits
from fetchml.snapshot.scan import scan

NAMES = (
    "a",
    "ab",
    "a.py",
    "b.log",
    "A1",
    "data",
    ".env",
    "x y",
    "t ",
    "[b]",
    "!c",
    "#d",
    "-",
    "é",
    "x\\y",
    "a\tb",
    "à",
)
FOLDERS = ("", "a/", "data/", "data/b/", "data/b/data/", "src/", "src/data/", "x y/", "é/")
IGNORE_FILES = (".gitignore", "data/.gitignore", "data/b/.gitignore", "src/.gitignore")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which every name is in every folder but where a folder has it."""
    root = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder in FOLDERS:
        for name in NAMES:
            if not (root / folder / name).exists():
                (root / folder / name).touch()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def differing(root: Path, ignore_files: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Returns what git alone takes, and what fetchml alone takes."""
    for name in IGNORE_FILES:
        (root / name).unlink(missing_ok=True)
    for name, content in ignore_files.items():
        (root / name).write_bytes(content)
    listed = subprocess.run(
        ["git", "-c", "core.excludesFile=", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout
    theirs = set(listed.split(b"\0")) - {b""}
    ours = {item.path for item in scan(root, Limits(2**20, 10_000))}
    return {"git": sorted(theirs - ours), "fetchml": sorted(ours - theirs)}


ALIKE: dict[str, list[bytes]] = {"git": [], "fetchml": []}

IDIOMS = [
    "data/**\n!data/*.py\n",
    "data/**\n!data/**/\n!data/**/*.py\n",
    "data/**/\n",
    "**/data/**\n!**/data/**/\n!a.py\n",
    "*\n!*/\n!*.py\n",
    "*\n!.gitignore\n!data/\n!data/**\n",
    "/*\n!/src\n",
    "/**\n!/src/\n",
    "**\n!**/\n!a.py\n",
    "**/*\n!src/\n",
    "*/**\n",
    "*/\n!/src/\n",
    "*.*\n!*.py\n",
    "data/*\n!data/b\n",
    "data\n!data/\n",
    "data/b\n!data/b/\ndata/b/*.log\n",
    "[[:punct:]]*\n",
    "[![:alnum:]]*\n",
    "[[:upper:]][[:digit:]]\n",
    "[^[:alpha:].]\n",
    "*[[:blank:]]*\n",
    "[[:nonsense:]]\n",
    "[[:alpha:]\n[[:alpha:\n[:alpha:]\n[[:]\n",
    "[" * 50_000,
    "[[:alpha:]" * 5_000,
    "[]-]\n[[]b]\n",
    "[\\]]\n\\[b\\]\n",
    "[a-c]\n[c-a]\n[!-.]\n",
    "[a-^]\n",
    "[a-Z]*\n[z-a]\n",
    "[a-c-e]\n[-a]\n[a-]\n[--a]\n[a--]\n",
    "[a-[:alpha:]b]\n[[:alpha:]-z]\n[!-b-]\n",
    "[[:alpha]\n[[:]\n[[:a]\n[[::]\n[]:]\n",
    "[\\a-\\c]\n[\\!-\\.]\n[a\\]]\n",
    "[a&&b]\n[a--b]\n[[a]\n[a||b]\n[~~]\n",
    "data[!a]b\ndata[/]b\n",
    "\ufeffa.py\n",
    "\ufeff*.log",
    "data\\/a.py\n",
    "data\\/\n",
    "data/***\n/***/b\ndata***/a\n",
    "\\/a.py\n",
    "a.py\r\n*.log\r\n",
    "a.py \nt\\ \nx\\ y\n",
    "t\\  \n",
    "a\tb\na.py\t\n",
    "?\n",
    "??\n",
    "é\n",
    "à",
    "[é]\n[à][à]\n",
    "\\é\n",
    "!\n!!c\n\\!c\n",
    "#d\n\\#d\n",
    "!/\n/\n//\n!//\n",
    "a//b\na//\n//a\n",
    "./a\na/.\n../a\n",
    "**a\na**\n**/a**\na**/b\ndata/**b\n",
    "**/b/**/data\n",
    "data/**/**/a\n",
    "***\n!a\n",
    "***/a\n",
    "x\\\\y\nx\\y\n",
    "a.py\0b\n*.log\n",
    "a.py\x0b\na.py\u2028*\n",
    "\n\n   \n",
]


@pytest.mark.parametrize("rules", IDIOMS, ids=lambda rules: rules[:20])
def test_idioms_and_oddities_mean_what_they_mean_to_git(tree: Path, rules: str) -> None:
    assert differing(tree, {".gitignore": rules.encode()}) == ALIKE
    assert differing(tree, {"data/.gitignore": rules.encode()}) == ALIKE


def test_what_a_deeper_file_says_of_a_folder_it_does_not_say_of_its_files(tree: Path) -> None:
    assert differing(tree, {".gitignore": b"*.log\n", "data/.gitignore": b"!b/\n"}) == ALIKE


_pieces = st.sampled_from(
    [
        *("a", "b", "data", "src", "x y", "é", ".py", ".log", "py", "A1", "-", "\\ ", "\\!", "\\#", "\\[", "\\a", "c"),
        *("*", "?", "*.", "[ab]", "[!a]", "[^.]", "[a-z]", "[]b]", "[[:alpha:]]", "[![:digit:]a]", "[[:punct:]]"),
    ]
)
_segments = st.one_of(
    st.sampled_from(["*", "**", "a", "b", "data", "src", "*.py", "*.log", "a.py"]),
    st.lists(_pieces, min_size=1, max_size=3).map("".join),
)
_lines = st.builds(
    lambda sign, lead, segments, end: sign + lead + "/".join(segments) + end,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    st.lists(_segments, min_size=1, max_size=4),
    st.sampled_from(["", "", "/", "/*", "/**", " ", "\r"]),
)
_contents = st.lists(_lines, min_size=1, max_size=5).map(lambda lines: "\n".join(lines).encode())


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(IGNORE_FILES), _contents, min_size=1, max_size=3))
@example({".gitignore": b"*\n!*/"})
def test_any_rules_mean_what_they_mean_to_git(tree: Path, ignore_files: dict[str, bytes]) -> None:
    assert differing(tree, ignore_files) == ALIKE


# The two differences that `patterns.py` names, in any form.
_exotic = re.compile(r"[^/!\r]\*\*|\[.*/")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab.*?[]!^-\\/ :#\té\r", max_size=8).filter(lambda line: not _exotic.search(line)), max_size=4))
def test_rules_that_make_no_sense_mean_what_they_mean_to_git(tree: Path, lines: list[str]) -> None:
    assert differing(tree, {".gitignore": "\n".join(lines).encode()}) == ALIKE
