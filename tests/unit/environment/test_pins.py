"""Which requirements can mean more than one release."""

import pytest

from fetchml.environment.detect import Dependencies, DependencyKind
from fetchml.environment.pins import unpinned
from fetchml.objects.memory import MemoryObjects


def loose(*files: str, kind: DependencyKind = DependencyKind.REQUIREMENTS) -> tuple[str, ...]:
    """Returns what is not pinned in a manifest and what it includes."""
    objects = MemoryObjects()
    with objects.batch() as batch:
        digests = [batch.put_bytes(text.encode()) for text in files]
    included = tuple((f"more-{number}.txt", digest) for number, digest in enumerate(digests[1:]))
    return unpinned(Dependencies(kind, "requirements.txt", digests[0], included), objects)


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.1.0",
        "numpy == 2.1.0  # a comment",
        "numpy===2.1.0",
        "numpy[extra]==2.1.0 ; python_version > '3.8'",
        "numpy==2.1.0 --hash=sha256:aa \\\n    --hash=sha256:bb",
        "package @ https://host/package.whl#sha256=" + "a" * 64,
        "package @ git+https://host/package@" + "b" * 40,
        "",
        "# only a comment",
        "--index-url https://host/simple",
        "-r more.txt",
    ],
)
def test_an_exact_version_is_pinned(line: str) -> None:
    assert loose(line + "\n") == ()


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy>=2",
        "numpy==2.*",
        "numpy~=2.1",
        "package @ https://host/package.whl",
        "package @ git+https://host/package@main",
        "-e .",
        "./local",
        "https://host/package.whl",
    ],
)
def test_anything_else_is_not(line: str) -> None:
    assert loose(f"a==1\n{line}\n") == (line,)


def test_included_files_count_and_constraints_pin() -> None:
    assert loose("-r more.txt\nnumpy==1\n", "scipy\n") == ("scipy",)
    assert loose("-c constraints.txt\nNum_Py\n", "num-py==1.2\n") == ()


@pytest.mark.parametrize("kind", [DependencyKind.UV_LOCK, DependencyKind.PYLOCK])
def test_a_lock_file_pins_everything(kind: DependencyKind) -> None:
    assert loose("whatever = 1", kind=kind) == ()


def test_a_project_file_pins_nothing() -> None:
    assert loose("[project]", kind=DependencyKind.PYPROJECT) != ()
