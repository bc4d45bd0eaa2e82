"""Payloads that leave odd things behind: whatever it is, the run ends and its record is sealed and valid."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.attempts import Bench, MakeBench, bench_maker
from fetchml.engine.memory_engine import Payload, Script
from fetchml.models.status import State


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """Makes benches whose watches look often."""
    monkeypatch.setattr("fetchml.execution.watch._LOOK_S", 0.01)
    return bench_maker(tmp_path)


Leave = Callable[[Path, Path], None]
"""What a payload does to its results and its inbox."""


def leaving(leave: Leave) -> Script:
    """A payload that does it, and says so."""

    def script(payload: Payload) -> int:
        folders = {mount.target: mount.source for mount in payload.spec.mounts}
        leave(folders["/results"], folders["/run/fetchml"])
        payload.write(b"done\n")
        return 0

    return script


def logs(*lines: bytes) -> Leave:
    """A payload that writes lines into its inbox."""

    def leave(_: Path, inbox: Path) -> None:
        (inbox / "metrics.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))

    return leave


def makes_nothing(results: Path, inbox: Path) -> None:
    """Leaves nothing."""


def makes_inbox_fifo(_: Path, inbox: Path) -> None:
    os.mkfifo(inbox / "metrics.jsonl")


def makes_inbox_link(_: Path, inbox: Path) -> None:
    (inbox / "metrics.jsonl").symlink_to("/etc/passwd")


def makes_inbox_folder(_: Path, inbox: Path) -> None:
    (inbox / "metrics.jsonl").mkdir()


def removes_inbox(_: Path, inbox: Path) -> None:
    shutil.rmtree(inbox)


def removes_results(results: Path, _: Path) -> None:
    shutil.rmtree(results)


def makes_odd_results(results: Path, _: Path) -> None:
    os.mkfifo(results / "pipe")
    (results / "loop").symlink_to("loop")
    (results / "out").symlink_to("/etc")
    (results / "empty").touch(0)
    (results / "closed").mkdir(0)


def makes_odd_name(results: Path, _: Path) -> None:
    Path(results, os.fsdecode(b"\xff\n")).write_text("x")


def results_become_a_file(results: Path, _: Path) -> None:
    results.rmdir()
    results.write_text("x")


@pytest.mark.parametrize(
    "leave",
    [
        makes_nothing,
        makes_inbox_fifo,
        makes_inbox_link,
        removes_inbox,
        removes_results,
        makes_odd_results,
        results_become_a_file,
        logs(b"", b"\xff", b"null", b'{"name": "a", "value": "NaN"}', b"[" * 4000, b"x" * 10_000),
        logs(b'{"name": "a", "value": 1e308, "step": 9007199254740991}'),
        logs(b'{"name": "\\ud800", "value": 1}'),
        logs(b'{"name": "\\u0000\\u202e", "value": -0.0}'),
        makes_inbox_folder,
        logs(b'{"name": "a", "value": 1, "step": 9007199254740993}'),
        makes_odd_name,
    ],
)
def test_whatever_a_payload_leaves_its_run_is_sealed(benches: MakeBench, leave: Leave) -> None:
    bench: Bench = benches(scripts={"train": leaving(leave)})
    manifest = bench.drive()
    outcome = bench.outcome()
    assert (manifest.status.state, outcome.faults, outcome.containers) == (State.COMPLETED, (), ())
    assert outcome.output == b"done\n"


def test_results_that_became_a_link_are_not_followed(benches: MakeBench, tmp_path: Path) -> None:
    """A script may do that on purpose, to write to a larger disk; a plain process can."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dataset").write_text("precious")

    def links(results: Path, _: Path) -> None:
        results.rmdir()
        results.symlink_to(elsewhere)

    bench: Bench = benches(scripts={"train": leaving(links)})
    manifest = bench.drive()
    assert manifest.seal is not None
    assert manifest.artifacts is None or manifest.artifacts.files == ()
    assert [path.stat().st_mode & 0o777 for path in (elsewhere, elsewhere / "dataset")] == [0o755, 0o644]


def test_folders_that_became_links_without_an_end_are_passed_over(benches: MakeBench) -> None:
    def links(results: Path, inbox: Path) -> None:
        for folder in (results, inbox):
            folder.rmdir()
            folder.symlink_to("x" * 300)  # longer than a name may be: an error of the system, not a dangling link

    manifest = benches(scripts={"train": leaving(links)}).drive()
    assert manifest.seal is not None
    assert manifest.status.state is State.COMPLETED
    assert manifest.artifacts is None


@pytest.mark.parametrize(
    ("text", "warning"),
    [(b"x" * 99 + b"\n", ()), (b"x" * 101, ("output beyond `output.max_size` was dropped",))],
)
def test_output_beyond_the_cap_is_dropped_and_the_record_says_so(
    benches: MakeBench, text: bytes, warning: tuple[str, ...]
) -> None:
    def prints(payload: Payload) -> int:
        payload.output += text  # the twin's own cap is not what this is about
        return 0

    bench: Bench = benches(scripts={"train": prints}, settings_changes={"output_max_bytes": 100})
    manifest = bench.drive()
    assert bench.outcome().output == text[:100]
    assert manifest.warnings == warning
    assert bench.outcome().faults == ()
