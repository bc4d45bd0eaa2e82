from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetchml import durable
from fetchml.datasets.catalogue import Catalogue, Dataset, local_path
from fetchml.datasets.digest import digest
from fetchml.errors import ConfigError, Conflict, Corrupt, NotFound
from fetchml.models.dataset import parse_spec

MOMENT = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "store" / "datasets")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "with space ä"
    folder.mkdir()
    (folder / "a").write_text("1")
    return folder


def add(catalogue: Catalogue, data: Path, version: str | None = None, name: str = "mnist") -> tuple[Dataset, bool]:
    now = MOMENT + timedelta(seconds=sum(1 for _ in catalogue.all()))
    return catalogue.add(name, data.as_uri(), digest(data), version=version, samples=None, by="ada", now=now)


def test_the_same_content_is_no_new_version_and_other_content_is(catalogue: Catalogue, data: Path) -> None:
    one, is_new = add(catalogue, data)
    assert (one.version, is_new, one.path) == ("1", True, data)
    assert add(catalogue, data) == (one, False)
    (data / "a").write_text("2")
    two, is_new = add(catalogue, data)
    assert (two.version, is_new) == ("2", True)
    assert catalogue.versions("mnist") == [one, two]
    assert add(catalogue, data, "named")[0].version == "named"
    (data / "a").write_text("3")
    assert add(catalogue, data)[0].version == "3"
    with pytest.raises(Conflict, match="other content"):
        add(catalogue, data, "1")


def test_names_and_versions_that_differ_in_case_alone_are_refused(catalogue: Catalogue, data: Path) -> None:
    add(catalogue, data, "one")
    with pytest.raises(Conflict, match="there is a dataset `mnist`, which differs from `MNIST` in case alone"):
        add(catalogue, data, name="MNIST")
    (data / "a").write_text("2")
    with pytest.raises(Conflict, match="there is a version `one`, which differs from `One` in case alone"):
        add(catalogue, data, "One")
    assert catalogue.names() == ["mnist"]
    assert [item.version for item in catalogue.versions("mnist")] == ["one"]
    assert not (catalogue.root / "MNIST").exists()
    catalogue.remove(catalogue.find(parse_spec("mnist")))
    assert add(catalogue, data, name="MNIST")[1]


def test_of_two_twins_that_are_added_at_once_one_is(catalogue: Catalogue, data: Path) -> None:
    names = ["twin", "Twin", "TWIN", "tWIN"]

    def tried(name: str) -> bool:
        try:
            return catalogue.add(name, data.as_uri(), digest(data), version=None, samples=None, by="a", now=MOMENT)[1]
        except Conflict:
            return False

    with ThreadPoolExecutor(len(names)) as pool:
        assert sum(pool.map(tried, names)) == 1
    assert len(catalogue.names()) == 1


def test_data_that_was_moved_keeps_its_version(catalogue: Catalogue, data: Path) -> None:
    one, _ = add(catalogue, data)
    moved = data.rename(data.parent / "moved")
    again, is_new = add(catalogue, moved)
    assert (again.version, is_new, again.path) == (one.version, False, moved)
    assert catalogue.versions("mnist") == [again]


def test_a_spec_means_the_latest_or_what_it_names(catalogue: Catalogue, data: Path) -> None:
    one, _ = add(catalogue, data)
    (data / "a").write_text("2")
    two, _ = add(catalogue, data)
    assert catalogue.find(parse_spec("mnist")) == two
    assert catalogue.find(parse_spec("mnist@1")) == one
    assert catalogue.find(parse_spec(f"mnist@{one.checksum}")) == one
    for text in ("mnist@3", f"mnist@sha256:{'0' * 64}"):
        with pytest.raises(NotFound) as caught:
            catalogue.find(parse_spec(text))
        assert one.checksum in (caught.value.detail or "")
    with pytest.raises(NotFound) as caught:
        catalogue.find(parse_spec("minst"))
    assert caught.value.detail == "there are: mnist"


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/a", "a\n", "x" * 65, "ä", "sp ace"])
def test_hostile_names_reach_no_path(catalogue: Catalogue, data: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        add(catalogue, data, name=name)
    with pytest.raises(ConfigError):
        catalogue.versions(name)
    assert not catalogue.root.exists()


def test_a_crash_before_the_entry_leaves_no_version(
    catalogue: Catalogue, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = durable.write_atomic

    def crash(path: Path, content: bytes, **more: object) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(durable, "write_atomic", crash)
    with pytest.raises(KeyboardInterrupt):
        add(catalogue, data)
    monkeypatch.undo()
    assert (catalogue.names(), catalogue.versions("mnist")) == ([], [])
    one, is_new = add(catalogue, data)
    assert (one.version, is_new, catalogue.listing(one)) == ("1", True, digest(data).listing)


def test_damaged_entries_are_named(catalogue: Catalogue, data: Path) -> None:
    one, _ = add(catalogue, data)
    path = catalogue.root / "mnist" / "1.json"
    path.rename(path.with_name("2.json"))
    with pytest.raises(Corrupt, match="another dataset"):
        catalogue.versions("mnist")
    path.with_name("2.json").write_text("{")
    with pytest.raises(Corrupt, match="damaged"):
        catalogue.find(parse_spec("mnist"))
    assert one.path.exists()


def test_an_entry_is_removed_and_the_data_stays(catalogue: Catalogue, data: Path) -> None:
    one, _ = add(catalogue, data)
    catalogue.remove(one)
    assert catalogue.names() == []
    assert (data / "a").read_text() == "1"


@pytest.mark.parametrize("text", ["s3://bucket/key", "https://example.org/x", "gs://b"])
def test_urls_are_refused_as_not_there_yet(text: str) -> None:
    with pytest.raises(ConfigError, match="not supported yet") as caught:
        local_path(text)
    assert caught.value.code == "not-supported-yet"


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        local_path(text)


@pytest.mark.parametrize("name", [".tmp-0123456789abcdef-1.json", ".tmp-0123456789abcdef-1.listing"])
def test_what_somebody_who_died_was_writing_is_no_entry(tmp_path: Path, name: str) -> None:
    catalogue = Catalogue(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).write_bytes(b"{")
    assert catalogue.names() == []
    assert catalogue.versions("set") == []
