"""Every bit of a record counts: each file of a real run and each object it refers to is damaged, found and named."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.calls import User
from fetchml.config.settings import Settings
from fetchml.models.manifest import EDITABLE_SECTIONS
from fetchml.service.findings import Report
from fetchml.service.validate import validate
from fetchml.store.document import is_as_written

SEED = 20261120
FLIPS = 24
"""Positions a file; those of the manifest are more, as it has many fields."""
SCRIPT = """\
import os
from fetchml import log_metric
log_metric("loss", 0.1 + 0.2, step=1)
log_metric("rate", 1e-7, step=1)
print("a line")
folder = os.environ["FETCHML_RESULTS"]
os.makedirs(os.path.join(folder, "deep"))
for name in ("model.bin", "deep/notes.txt"):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(os.urandom(300))
"""
NO_RECORD = {"attempts/1/owner.lock"}
"""A lock; it holds nothing."""


class Sealed:
    """A sealed and signed run that was really carried out, and its home."""

    def __init__(self, user: User, run_id: str) -> None:
        self.user = user
        self.run_id = run_id
        self.folder = user.runs / run_id
        self.objects = user.home / "store" / "objects" / "sha256"

    def check(self) -> Report:
        return validate(Settings(home=self.user.home), self.run_id)

    def files(self) -> list[str]:
        """Returns the files of the run folder, without the link to the code."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return sorted({str(path.relative_to(self.folder)) for path in found} - NO_RECORD)

    def referred(self) -> dict[str, str]:
        """Returns the objects that the run refers to, and how a report names each."""
        manifest = json.loads((self.folder / "run_manifest.json").read_bytes())
        commit_id, diff = manifest["identity"]["commit_id"], manifest["environment"]["git"]["diff_object"]
        tree = json.loads(self.object(commit_id).read_bytes())
        return {
            commit_id: "snapshot",
            diff: "git_diff",
            **{entry["sha256"]: entry["path"] for entry in tree["entries"]},
        }

    def object(self, digest: str) -> Path:
        return self.objects / digest[:2] / digest[2:]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """A run by the process engine in the execution mode direct, from a git repository with changes."""
    user = User(tmp_path_factory.mktemp("flips"))
    user.script("train.py", SCRIPT)
    user.script("empty.py", "")
    (user.project / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\ndependencies = []\n')
    git = f"git -C {user.project} -c user.name=a -c user.email=a@b"
    assert os.system(f"{git} init -q && {git} add -A && {git} commit -qm one") == 0
    user.script("train.py", SCRIPT + "print('changed')\n")
    assert user.call("keys", "init").code == 0
    env = {"FETCHML_EXECUTION_MODE": "direct", "FETCHML_ENVIRONMENT_MODE": "as-is"}
    done = user.call("queue", "--quiet", "--sign", "--note", "why\x7f é", "train.py", env=env)
    assert done.code == 0, done.err
    made = Sealed(user, done.out.strip())
    report = made.check()
    assert (report.errors, report.warnings, report.signature) == ((), (), "trusted")
    return made


class Damaged:
    """A file that is damaged for a moment, and then what it was."""

    def __init__(self, path: Path, spare: Path) -> None:
        self.path = path
        self.content = path.read_bytes()
        self._mode = path.stat().st_mode
        self._spare = spare

    def write(self, content: bytes) -> None:
        self.path.chmod(0o644)
        self.path.write_bytes(content)
        self.path.chmod(self._mode)

    def remove(self) -> None:
        self.path.unlink()

    def link(self) -> None:
        """Puts a link to the very same content in its place."""
        self._spare.write_bytes(self.content)
        self.path.unlink()
        self.path.symlink_to(self._spare)

    def restore(self) -> None:
        self.path.unlink(missing_ok=True)
        self._spare.unlink(missing_ok=True)
        self.path.write_bytes(self.content)
        self.path.chmod(self._mode)


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Callable[[Path], Damaged]]:
    made: list[Damaged] = []
    folders: dict[Path, int] = {}

    def damage(path: Path) -> Damaged:
        folders[path.parent] = path.parent.stat().st_mode
        path.parent.chmod(0o755)
        made.append(Damaged(path, tmp_path / "spare"))
        return made[-1]

    yield damage
    for item in made:
        item.restore()
    for folder, mode in folders.items():
        folder.chmod(mode)


def flipped(content: bytes, count: int, name: str) -> Iterator[bytes]:
    """Yields copies with one other bit: the first, the last, and some between."""
    bits = random.Random(f"{SEED} {name}")
    places = {0, len(content) * 8 - 1, *(bits.randrange(len(content) * 8) for _ in range(count))}
    for place in sorted(places):
        yield content[: place // 8] + bytes([content[place // 8] ^ 1 << place % 8]) + content[place // 8 + 1 :]


def is_found(sealed: Sealed, name: str) -> None:
    """Fails unless the report says that something is wrong and names it."""
    report = sealed.check()
    assert report.exit_code == 7, name
    assert any(name in error for error in report.errors), f"{name} is not in {report.errors}"


@pytest.mark.parametrize("place", range(12))
def test_every_flipped_bit_of_a_file_is_found_and_named(
    sealed: Sealed, damaged: Callable[[Path], Damaged], place: int
) -> None:
    files = [name for name in sealed.files() if name != "run_manifest.json"]
    for name in files[place::12]:
        file = damaged(sealed.folder / name)
        for content in flipped(file.content, FLIPS, name) if file.content else ():
            file.write(content)
            is_found(sealed, name)


def test_there_is_a_file_of_every_kind(sealed: Sealed) -> None:
    assert {"run_manifest.json", "plan.json", "results/model.bin", "results/deep/notes.txt"} <= set(sealed.files())
    record = {"claim.json", "container.json", "ended.json", "output.log", "output.index.jsonl", "metrics.jsonl"}
    assert {f"attempts/1/{name}" for name in record} <= set(sealed.files())
    assert {"snapshot", "git_diff", "train.py", "empty.py", "pyproject.toml"} == set(sealed.referred().values())


def outside_editable(content: bytes, changed: bytes) -> bool:
    """Tells whether a change is in what the seal covers: not in a section that people may edit."""
    try:
        before, after = json.loads(content), json.loads(changed)
    except ValueError:
        return True
    kept = [{key: value for key, value in item.items() if key not in EDITABLE_SECTIONS} for item in (before, after)]
    return kept[0] != kept[1]


@pytest.mark.parametrize("part", range(8))
def test_every_flipped_bit_of_the_manifest_is_found_and_named(
    sealed: Sealed, damaged: Callable[[Path], Damaged], part: int
) -> None:
    """A bit that changes the spelling of a value and not the value is told as a warning."""
    file = damaged(sealed.folder / "run_manifest.json")
    found = 0
    for content in flipped(file.content, 150, f"manifest {part}"):
        file.write(content)
        if outside_editable(file.content, content):
            is_found(sealed, "run_manifest.json")
            found += 1
        elif not is_as_written(content):
            assert any("run_manifest.json" in text for text in sealed.check().warnings)
    assert found > 100


def test_numbers_that_are_spelt_in_another_way_are_told(sealed: Sealed, damaged: Callable[[Path], Damaged]) -> None:
    file = damaged(sealed.folder / "run_manifest.json")
    for old, new in (
        (b"0.30000000000000004", b"0.30000000000000005"),
        (b"1e-7", b"1E-7"),
        (b'"run_id"', b'"\\u0072un_id"'),
    ):
        assert old in file.content
        file.write(file.content.replace(old, new, 1))
        report = sealed.check()
        assert report.errors == ()
        assert len(report.warnings) == 1
        assert "`run_manifest.json` has other bytes" in report.warnings[0]


def test_a_key_that_is_there_twice_is_found(sealed: Sealed, damaged: Callable[[Path], Damaged]) -> None:
    file = damaged(sealed.folder / "run_manifest.json")
    file.write(file.content.replace(b'"exit_code": 0,', b'"exit_code": 7, "exit_code": 0,', 1))
    is_found(sealed, "run_manifest.json")


def test_every_flipped_bit_of_the_signature_is_found(sealed: Sealed, damaged: Callable[[Path], Damaged]) -> None:
    file = damaged(sealed.folder / "run_manifest.json")
    seal = json.loads(file.content)["seal"]
    for part in ("signature", "key_id", "public_key", "digest", "sealed_at"):
        start = file.content.rindex(seal[part].encode())
        for content in flipped(seal[part].encode(), 40, part):
            file.write(file.content[:start] + content + file.content[start + len(content) :])
            is_found(sealed, "run_manifest.json")


@pytest.mark.parametrize("kind", ["truncated", "grown", "emptied", "deleted", "linked"])
def test_a_file_that_is_not_what_it_was_is_found_and_named(
    sealed: Sealed, damaged: Callable[[Path], Damaged], kind: str
) -> None:
    for name in sealed.files():
        file = damaged(sealed.folder / name)
        if not file.content and kind in ("truncated", "emptied"):
            continue
        _damage(file, kind)
        is_found(sealed, name)
        file.restore()


@pytest.mark.parametrize("kind", ["truncated", "grown", "emptied", "deleted", "linked", "flipped"])
def test_an_object_that_is_not_what_it_was_is_found_and_named(
    sealed: Sealed, damaged: Callable[[Path], Damaged], kind: str
) -> None:
    commit_id = next(iter(sealed.referred()))
    for digest, name in sealed.referred().items():
        file = damaged(sealed.object(digest))
        if not file.content and kind in ("truncated", "emptied", "flipped"):
            continue
        for content in flipped(file.content, 6, digest) if kind == "flipped" else (b"",):
            if kind == "flipped":
                file.write(content)
            else:
                _damage(file, kind)
            is_found(sealed, name)
            if name not in ("git_diff", "snapshot"):  # the tree itself has no path
                report = validate(Settings(home=sealed.user.home), commit_id)
                assert [check.name for check in report.checks if not check.ok] == [f"file:{name}"]
            file.restore()


def _damage(file: Damaged, kind: str) -> None:
    match kind:
        case "truncated":
            file.write(file.content[:-3])  # a last newline is no value of the manifest
        case "grown":
            file.write(file.content + b"\0")
        case "emptied":
            file.write(b"")
        case "deleted":
            file.remove()
        case _:
            file.link()


@pytest.mark.parametrize("folder", ["attempts", "attempts/1", "results", "results/deep"])
def test_a_folder_that_became_a_link_is_found(sealed: Sealed, tmp_path: Path, folder: str) -> None:
    path = sealed.folder / folder
    mode = path.parent.stat().st_mode
    path.parent.chmod(0o755)
    own = path.stat().st_mode
    path.chmod(0o755)
    shutil.copytree(path, tmp_path / "copy")
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(tmp_path / "copy")
    try:
        is_found(sealed, f"{folder}/")
    finally:
        path.unlink()
        moved.rename(path)
        path.chmod(own)
        path.parent.chmod(mode)
    assert sealed.check().ok


def test_a_run_folder_that_became_a_link_is_found(sealed: Sealed, tmp_path: Path) -> None:
    sealed.folder.rename(tmp_path / sealed.run_id)
    sealed.folder.symlink_to(tmp_path / sealed.run_id)
    try:
        is_found(sealed, "folder")
    finally:
        sealed.folder.unlink()
        (tmp_path / sealed.run_id).rename(sealed.folder)
    assert sealed.check().ok


def test_a_link_to_other_code_is_found(sealed: Sealed, tmp_path: Path) -> None:
    link = sealed.folder / "code"
    target = os.readlink(link)
    elsewhere = tmp_path / Path(target).name
    elsewhere.mkdir()
    try:
        for put in (lambda: link.symlink_to(elsewhere), link.mkdir, lambda: None):
            link.rmdir() if link.is_dir() and not link.is_symlink() else link.unlink(missing_ok=True)
            put()
            is_found(sealed, "code")
    finally:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    assert sealed.check().ok


def test_files_that_are_added_to_the_results_are_found(sealed: Sealed) -> None:
    results = sealed.folder / "results"
    results.chmod(0o755)
    for name, make in (
        ("more.txt", lambda path: path.write_text("x")),
        ("link", lambda path: path.symlink_to("/etc/passwd")),
        ("pipe", os.mkfifo),
    ):
        make(results / name)
        is_found(sealed, f"results: artifacts_complete: expected only files the manifest lists, found {name}")
        (results / name).unlink()
    results.chmod(0o555)
    assert sealed.check().ok


@pytest.mark.parametrize("section", ["narrative", "annotations"])
def test_what_people_may_edit_is_the_exception(
    sealed: Sealed, damaged: Callable[[Path], Damaged], section: str
) -> None:
    file = damaged(sealed.folder / "run_manifest.json")
    document = json.loads(file.content)
    note = {"timestamp": "2026-11-20T12:00:00Z", "author": "ada", "note": "x"}
    document[section] = {"hypothesis": "it was the loader"} if section == "narrative" else [note]
    file.write(json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
    report = sealed.check()
    assert (report.errors, report.signature) == ((), "trusted")
