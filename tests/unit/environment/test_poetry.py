"""`poetry.lock` as requirements: what is wanted, where, with which hashes; or why not."""

import pytest

from fetchml.environment.poetry import poetry_requirements
from fetchml.errors import Refused

HEAD = '[metadata]\nlock-version = "2.1"\npython-versions = ">=3.11"\ncontent-hash = "aa"\n'
NUMPY = """
[[package]]
name = "numpy"
version = "2.1.0"
optional = false
groups = ["main"]
files = [{file = "a.whl", hash = "sha256:aa"}, {file = "b.whl", hash = "sha256:bb"}]
"""


def lines(text: str, head: str = HEAD) -> list[str]:
    return poetry_requirements((head + text).encode(), "poetry.lock").splitlines()


def test_each_package_is_pinned_with_its_hashes() -> None:
    assert lines(NUMPY) == ["numpy==2.1.0 --hash=sha256:aa --hash=sha256:bb"]


def test_an_empty_lock_names_nothing() -> None:
    assert lines("") == []


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (('groups = ["main"]', 'groups = ["dev"]'), False),
        (('groups = ["main"]', 'groups = ["main", "dev"]'), True),
        (('groups = ["main"]\n', ""), True),
        (("optional = false", "optional = true"), False),
    ],
)
def test_only_what_the_main_group_needs_is_taken(change: tuple[str, str], wanted: bool) -> None:
    assert bool(lines(NUMPY.replace(*change))) is wanted


@pytest.mark.parametrize(
    "markers",
    ["\"sys_platform == 'linux'\"", "{main = \"sys_platform == 'linux'\", dev = \"os_name == 'nt'\"}"],
)
def test_a_package_for_some_hosts_keeps_its_marker(markers: str) -> None:
    (line,) = lines(NUMPY.replace('groups = ["main"]', f'groups = ["main"]\nmarkers = {markers}'))
    assert line.startswith("numpy==2.1.0 ; sys_platform == 'linux' --hash=")


@pytest.mark.parametrize(
    ("source", "requirement"),
    [
        ('type = "legacy"\nurl = "https://host/simple"\nreference = "own"', "numpy==2.1.0 --hash=sha256:aa"),
        ('type = "url"\nurl = "https://host/n.whl"', "numpy @ https://host/n.whl --hash=sha256:aa"),
        (
            f'type = "git"\nurl = "https://host/n.git"\nreference = "main"\nresolved_reference = "{"c" * 40}"',
            f"numpy @ git+https://host/n.git@{'c' * 40}",
        ),
    ],
)
def test_a_package_comes_from_where_the_lock_says(source: str, requirement: str) -> None:
    one_file = NUMPY.replace(', {file = "b.whl", hash = "sha256:bb"}', "")
    assert lines(f"{one_file}\n[package.source]\n{source}\n") == [requirement]


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_path_of_the_host_it_was_made_on_is_refused(kind: str) -> None:
    with pytest.raises(Refused, match="numpy"):
        lines(f'{NUMPY}\n[package.source]\ntype = "{kind}"\nurl = "../numpy"\n')


@pytest.mark.parametrize(
    ("head", "part"),
    [
        ("", "cannot be read"),
        ("[metadata", "cannot be read"),
        ("metadata = 7", "cannot be read"),
        ('[metadata]\nlock-version = "1.1"', "lock version 1.1"),
    ],
)
def test_what_is_no_lock_is_refused_with_what_to_do(head: str, part: str) -> None:
    with pytest.raises(Refused, match=part) as caught:
        lines("", head)
    assert caught.value.hint is not None
    assert "poetry lock" in caught.value.hint


def test_a_package_without_a_version_is_refused() -> None:
    with pytest.raises(Refused, match="cannot be read"):
        lines('[[package]]\nname = "numpy"\n' + HEAD, "")
