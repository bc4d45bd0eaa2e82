"""Which file names a project's packages: by order, by folder, or because the user says so."""

import hashlib

import pytest

from fetchml.environment.detect import UNSUPPORTED, Dependencies, DependencyKind, detect, passed_over
from fetchml.errors import Refused
from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.tree import FileEntry, Tree, make_tree

POETRY = '[metadata]\nlock-version = "2.1"\n'
CONTENT = {"poetry.lock": POETRY, "pyproject.toml": "[project]\ndependencies = []\n"}


def project(*names: str) -> tuple[Tree, MemoryObjects]:
    """Returns a snapshot with files of those names."""
    objects = MemoryObjects()
    entries: list[FileEntry] = []
    with objects.batch() as batch:
        for name in names:
            content = CONTENT.get(name.rpartition("/")[2], "").encode()
            digest = batch.put_bytes(content)
            assert digest == hashlib.sha256(content).hexdigest()
            entries.append(FileEntry(name.encode(), len(content), digest, executable=False))
    return make_tree(entries), objects


def found(*names: str, folder: str = "", chosen: str | None = None) -> Dependencies | None:
    return detect(*project(*names), folder, chosen)


ORDER = ["uv.lock", "pylock.toml", "poetry.lock", "requirements.txt", "pyproject.toml"]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_most_exact_file_comes_first(first: int) -> None:
    names = {*ORDER[first:], "pyproject.toml"}
    dependencies = found(*names)
    assert dependencies is not None
    assert dependencies.name == ORDER[first]


def test_a_uv_lock_without_its_project_says_nothing() -> None:
    assert found("uv.lock") is None


def test_the_folder_of_the_command_comes_before_the_root() -> None:
    dependencies = found("requirements.txt", "sub/requirements.txt", folder="sub")
    assert dependencies is not None
    assert dependencies.name == "sub/requirements.txt"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("requirements-gpu.txt", DependencyKind.REQUIREMENTS),
        ("deps/requirements.txt", DependencyKind.REQUIREMENTS),
        ("pylock.gpu.toml", DependencyKind.PYLOCK),
        ("pyproject.toml", DependencyKind.PYPROJECT),
    ],
)
def test_the_file_the_user_names_is_taken(path: str, kind: DependencyKind) -> None:
    dependencies = found("requirements.txt", path, "pyproject.toml", chosen=path)
    assert dependencies is not None
    assert (dependencies.name, dependencies.kind) == (path, kind)


@pytest.mark.parametrize("path", ["missing/requirements.txt", "environment.yml", "train.py", "", "../requirements.txt"])
def test_a_file_that_cannot_be_it_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="cannot be the dependency manifest"):
        found("requirements.txt", "environment.yml", "train.py", chosen=path)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_a_form_that_is_not_built_from_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(Refused, match="it is of no form that is built from") as caught:
        found(name, chosen=name)
    assert caught.value.hint == UNSUPPORTED[name]
    assert "requirements.txt" in UNSUPPORTED[name] or "as-is" in UNSUPPORTED[name]


def test_what_is_not_taken_by_itself_is_named() -> None:
    tree, _ = project("environment.yml", "requirements-gpu.txt", "requirements_dev.txt", "train.py")
    assert passed_over(tree) == ["environment.yml", "requirements-gpu.txt", "requirements_dev.txt"]
