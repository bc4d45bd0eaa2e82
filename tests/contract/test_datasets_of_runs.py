"""What becomes of the datasets of a run: before it starts, while it has them, and when it has ended."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract.attempts import COMPLETED, Bench, Death, Line, at_every_point, bench_maker
from fetchml.datasets.catalogue import Catalogue
from fetchml.datasets.digest import digest
from fetchml.datasets.oversight import DATA_UNAVAILABLE
from fetchml.engine.memory_engine import Payload
from fetchml.errors import Unavailable
from fetchml.models.dataset_record import DatasetRecord
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import DatasetPlan
from fetchml.models.status import State
from fetchml.service.validate import validate
from fetchml.testing.builders import RUN_ID

FILES = {"a.txt": b"one", "b.txt": b"two"}

Change = Callable[[Path], object]
Make = Callable[..., Bench]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def benches(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes benches whose run reads a dataset, with files that count as settled, and does something to it."""
    monkeypatch.setattr("fetchml.execution.watch._LOOK_S", 0.01)
    monkeypatch.setattr("fetchml.datasets.stat_cache._SETTLED_NS", -(10**12))
    make = bench_maker(tmp_path)

    def made(change: Change = lambda _: None, **more: Any) -> Bench:
        found = digest(data)

        def payload(payload: Payload) -> int:
            change(data)
            return bench.payload(payload)

        item = DatasetPlan(name="mnist", checksum=found.checksum, mount="/data/mnist")
        bench = make(plan_changes={"datasets": (item,)}, scripts={"train": payload}, **more)
        catalogue = Catalogue(bench.settings.store / "datasets")
        catalogue.add("mnist", data.as_uri(), found, version="v1", samples=None, by="ada", now=datetime.now(UTC))
        return bench

    return made


def record_of(manifest: RunManifest) -> DatasetRecord:
    (record,) = manifest.datasets
    assert (manifest.status.state, manifest.end_reason) == (State.COMPLETED, "ok"), "data never changes an outcome"
    assert manifest.seal is not None
    manifest.check_seal()
    return record


def failed_checks(bench: Bench) -> list[str]:
    return [check.name for check in validate(bench.settings, RUN_ID).checks if not check.ok]


def datasets_evidence(manifest: RunManifest) -> tuple[str, str]:
    (found,) = [item for item in manifest.plan.trust_evidence if item.field == "datasets"]
    return found.state.value, found.detail


@pytest.mark.parametrize(
    ("settings", "via"), [({}, "stat-cache"), ({"datasets_check_after": "full"}, "full-hash")], ids=["stat", "full"]
)
def test_data_that_stays_as_it_was_is_recorded_as_that(benches: Make, settings: dict[str, Any], via: str) -> None:
    bench = benches(settings_changes=settings)
    manifest = bench.drive()
    record = record_of(manifest)
    assert record.version == "v1"
    assert record.after is not None
    assert (record.after.outcome, record.after.verified_via, record.after.checksum) == (
        "unchanged",
        via,
        record.checksum,
    )
    assert (datasets_evidence(manifest)[0], manifest.warnings, bench.outcome()) == ("verified", (), COMPLETED)


@pytest.mark.parametrize("how", ["stat", "full"])
@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda data: (data / "a.txt").write_bytes(b"six"), "a.txt: changed"),
        (lambda data: (data / "a.txt").unlink(), "a.txt: removed"),
        (lambda data: (data / "c\x1b.txt").touch(), "c\\x1b.txt: added"),
        (shutil.rmtree, "there is nothing at"),
        (lambda data: [path.unlink() for path in data.iterdir()], "there are no files in"),
    ],
    ids=["written", "removed", "added", "gone", "unmounted"],
)
def test_data_that_changes_under_a_run_is_a_flag_and_costs_its_trust(
    benches: Make, how: str, change: Change, detail: str
) -> None:
    bench = benches(change, settings_changes={"datasets_check_after": how})
    manifest = bench.drive()
    record = record_of(manifest)
    assert record.drifted
    assert record.after is not None
    assert (record.after.detail or "").startswith(detail)
    assert record.after.checksum != record.checksum
    assert datasets_evidence(manifest) == ("missing", "changed during the run: mnist")
    assert manifest.plan.trust_level in ("L0", "L1", "L2")
    (warning,) = manifest.warnings
    assert warning.startswith(f"the dataset `mnist` changed during the run: {detail}")
    assert failed_checks(bench) == ["dataset:mnist"]


def test_data_that_was_touched_and_holds_the_same_has_not_changed(benches: Make) -> None:
    record = record_of(benches(lambda data: os.utime(data / "a.txt", (1, 1))).drive())
    assert record.after is not None
    assert (record.after.outcome, record.after.verified_via) == ("unchanged", "full-hash")


def test_data_is_not_looked_at_again_where_nobody_wants_that(benches: Make) -> None:
    bench = benches(shutil.rmtree, settings_changes={"datasets_check_after": "never"})
    assert record_of(bench.drive()).after is None
    assert failed_checks(bench) == []


def test_a_run_that_never_started_is_not_compared(benches: Make) -> None:
    bench = benches()
    bench.cancel()
    manifest = bench.drive()
    assert (manifest.status.state, [item.after for item in manifest.datasets]) == (State.CANCELLED, [])


class Stuck:
    """Makes the reading of the data hang once it is armed, until it is released."""

    def __init__(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed = False
        self.reached = threading.Event()
        self.released = threading.Event()
        self._data = os.fsencode(data)
        self._real = os.scandir
        monkeypatch.setattr("fetchml.datasets.scan.os.scandir", self._scandir)

    def _scandir(self, path: Any) -> Any:
        if self.armed and isinstance(path, bytes) and path.startswith(self._data):
            self.reached.set()
            self.released.wait()
        return self._real(path)

    def arm(self, _: Path) -> None:
        self.armed = True


@pytest.fixture
def stuck(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    made = Stuck(data, monkeypatch)
    yield made
    made.released.set()
    for thread in threading.enumerate():
        if thread.name == "fetchml-data":
            thread.join()


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"datasets_check_limit": 2}, "not done within 2.0s (`datasets.check_limit`)"),
        ({"datasets_timeout": 2}, "does not answer"),
    ],
    ids=["limit", "silence"],
)
def test_data_that_does_not_answer_after_a_run_keeps_it_from_nothing(
    benches: Make, stuck: Stuck, settings: dict[str, Any], detail: str
) -> None:
    bench = benches(stuck.arm, settings_changes=settings)
    manifest = bench.drive()
    record = record_of(manifest)
    assert record.after is not None
    assert (record.after.outcome, record.after.checksum) == ("unknown", None)
    assert detail in (record.after.detail or "")
    assert datasets_evidence(manifest)[0] == "verified", "it was, before the start"
    (warning,) = validate(bench.settings, RUN_ID).warnings
    assert "could not be compared again" in warning
    assert failed_checks(bench) == []


def test_a_cancel_request_ends_the_comparison_and_not_the_run(benches: Make, stuck: Stuck) -> None:
    bench = benches(stuck.arm)
    asking = threading.Thread(target=lambda: stuck.reached.wait() and bench.cancel())
    asking.start()
    record = record_of(bench.drive())
    asking.join()
    assert record.after is not None
    assert (record.after.outcome, record.after.detail) == ("unknown", "the run was cancelled meanwhile")


def test_for_a_cancelled_run_not_everything_is_read_again(benches: Make) -> None:
    bench: Bench
    bench = benches(lambda _: bench.cancel(), settings_changes={"datasets_check_after": "full"})
    manifest = bench.drive()
    (record,) = manifest.datasets
    assert manifest.status.state is State.CANCELLED
    assert record.after is not None
    assert (record.after.outcome, record.after.verified_via) == ("unchanged", "stat-cache")


def test_a_driver_that_dies_while_it_compares_leaves_that_to_the_next(
    benches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = benches()

    def dies(*_: object, **__: object) -> None:
        raise Death

    with monkeypatch.context() as patched:
        patched.setattr("fetchml.execution.after.digest", dies)
        with pytest.raises(Death):
            bench.drive()
    assert bench.store.read_manifest(RUN_ID).status.state is State.FINALIZING
    record = record_of(bench.drive(Line()))
    assert record.after is not None
    assert (record.after.outcome, bench.starts) == ("unchanged", 1)


# Before the start


def test_a_run_waits_for_data_that_does_not_answer(benches: Make, stuck: Stuck, data: Path) -> None:
    bench = benches(settings_changes={"datasets_timeout": 1})
    stuck.arm(data)
    with pytest.raises(Unavailable) as caught:
        bench.drive()
    assert caught.value.code == DATA_UNAVAILABLE
    assert bench.store.read_manifest(RUN_ID).status.state is State.PREPARING
    stuck.armed = False
    assert record_of(bench.drive()).drifted is False


def test_a_run_is_cancelled_while_its_data_does_not_answer(benches: Make, stuck: Stuck, data: Path) -> None:
    bench = benches()
    stuck.arm(data)
    asking = threading.Thread(target=lambda: stuck.reached.wait() and bench.cancel())
    asking.start()
    manifest = bench.drive()
    asking.join()
    assert (manifest.status.state, bench.starts, manifest.datasets) == (State.CANCELLED, 0, ())


def test_data_without_a_file_refuses_the_run_as_if_nothing_were_mounted(benches: Make, data: Path) -> None:
    bench = benches()
    for path in data.iterdir():
        path.unlink()
    manifest = bench.drive()
    assert manifest.status.state is State.REFUSED
    assert manifest.diagnosis is not None
    assert "there are no files in" in (manifest.diagnosis.detail or "")


# The place itself becomes another


def test_a_place_that_is_swapped_at_any_moment_gives_no_run_other_data(
    benches: Make, data: Path, tmp_path: Path
) -> None:
    original, bad = tmp_path / "original", tmp_path / "bad"
    shutil.copytree(data, original)
    shutil.copytree(data, bad)
    (bad / "secret").touch()

    def make(**changes: Any) -> Bench:
        if data.is_symlink():
            data.unlink()
            shutil.copytree(original, data)
        return benches(**changes)

    def swap(_: Bench, line: Line) -> None:
        shutil.rmtree(data)
        data.symlink_to(bad)
        before_the_mount.append("after engine.start #1" not in line.points)

    before_the_mount: list[bool] = []
    struck = at_every_point(make, swap)
    ends = {item.point: item.outcome.end_reason for item in struck}
    early = {point for point, is_early in zip(ends, before_the_mount, strict=True) if is_early}
    assert {ends[point] for point in early} == {"preflight_refused", "data_error"}
    assert ends["after environments.make #1"] == "preflight_refused"
    assert ends["before engine.start #1"] == "data_error"
    assert {ends[point] for point in ends.keys() - early} == {"ok"}, "data never changes an outcome afterwards"
    assert [
        item.point for item in struck if item.outcome.starts > (item.outcome.end_reason != "preflight_refused")
    ] == []
    assert [item.point for item in struck if item.outcome.seals != 1 or item.outcome.containers] == []
