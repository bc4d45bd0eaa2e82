"""Who reads a copy now, and what becomes of one that somebody has changed."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fetchml.config.settings import Settings
from fetchml.datasets.source import FolderSource
from fetchml.errors import Unavailable
from fetchml.execution.data import Verified, verify
from fetchml.home import Home
from fetchml.models.plan import DatasetPlan
from fetchml.models.status import Preparing
from fetchml.service.dataset_add import add_dataset
from fetchml.store.readers import Readers
from fetchml.testing.builders import MOMENT, RUN_ID, make_manifest, make_plan


@pytest.fixture
def item(home: Home, tmp_path: Path) -> DatasetPlan:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("1")
    added = add_dataset(home.settings, "mnist", str(tmp_path / "data"), stage="always")
    return DatasetPlan(name="mnist", checksum=added.dataset.checksum)


def test_who_waits_and_who_has_begun_is_told_apart(home: Home, item: DatasetPlan) -> None:
    plan = make_plan().model_copy(update={"datasets": (item,)})
    manifest = make_manifest()
    home.store.create(plan, manifest)
    found = home.readers()
    assert (found.is_read(item.checksum), found.of(item.checksum)) == (False, (RUN_ID,))
    home.store.update(RUN_ID, lambda known: known.with_status(Preparing(since=MOMENT, attempt=1, host="here")))
    found = home.readers()
    assert (found.is_read(item.checksum), found.is_open(item.checksum)) == (True, False)
    assert found.is_read("sha256:" + "0" * 64) is False


def test_where_a_plan_cannot_be_read_everything_may_be_in_use(home: Home, item: DatasetPlan) -> None:
    home.store.create(make_plan(), make_manifest())
    path = home.store.folder(RUN_ID).plan
    path.chmod(0o644)
    path.write_text("{")
    found = home.readers()
    assert found.is_read(item.checksum)
    assert found.is_open(item.checksum)
    assert found.of(item.checksum) == (RUN_ID,)


def test_a_copy_that_was_changed_stays_while_others_read_it(
    home: Home, item: DatasetPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verify(item, home, home.oversight())
    assert isinstance(found, Verified)
    assert found.record.fetched_via == "copy"
    copy = home.staging.find(item.checksum)
    assert copy is not None
    (copy.data / "a").chmod(0o644)
    (copy.data / "a").write_text("2")
    monkeypatch.setattr(
        Home, "readers", lambda _: Readers(begun={item.checksum: ("other",)}, started=frozenset({"other"}))
    )
    with pytest.raises(Unavailable) as caught:
        verify(item, home, home.oversight())
    assert caught.value.code == "copy-changed"
    assert (copy.data / "a").read_text() == "2"
    monkeypatch.undo()
    again = verify(item, home, home.oversight())
    assert isinstance(again, Verified)
    assert again.record.fetched_via == "copy"
    assert (copy.data / "a").read_text() == "1"


def test_a_share_that_is_silent_makes_the_run_wait(
    settings: Settings, item: DatasetPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(FolderSource, "append", lambda *_: gate.wait(60))
    home = Home(settings)
    try:
        with pytest.raises(Unavailable) as caught:
            verify(item, home, replace(home.oversight(), silence_s=0.3))
        assert caught.value.code == "data-unavailable"
        assert home.staging.find(item.checksum) is None
    finally:
        gate.set()
