"""Which places of a host are no data, however they are named."""

import os
import shutil
from pathlib import Path

import pytest

from fetchml.datasets.places import check_place, place_at
from fetchml.errors import Refused


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The home folder of fetchml; the one of the user is above it."""
    made = tmp_path / "home"
    (made / "store" / "runs" / "one" / "results").mkdir(parents=True)
    (made / "keys").mkdir()
    for name in (".ssh", ".aws", "data"):
        (tmp_path / name).mkdir()
    return made


def refused(path: Path, own: Path, *sockets: str) -> str:
    with pytest.raises(Refused) as caught:
        check_place(path, own, sockets)
    assert caught.value.code == "place-refused"
    assert str(path) in caught.value.summary
    return str(caught.value.detail)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/etc",
            "/etc/ssl",
            "/proc",
            "/proc/self",
            "/sys",
            "/dev/shm",
            "/dev/disk",
            "/run/media",
            "/run",
            "/var/run/docker.sock",
            "/boot",
        ),
        *("/var/lib", "/var/lib/docker/volumes", "/usr/../etc", "//etc", "/proc/self/root", "/proc/self/root/etc"),
    ],
)
def test_what_belongs_to_the_host_is_refused(own: Path, path: str) -> None:
    refused(Path(path), own)


@pytest.mark.parametrize("path", ["/dev/shm/mnist", "/run/media/ada/disk/mnist"])
def test_data_in_memory_and_on_a_disk_that_was_plugged_in_is_data(own: Path, path: str) -> None:
    check_place(Path(path), own)
    refused(Path(path), own, f"{path}/engine.sock")


def test_what_holds_keys_is_refused(own: Path, tmp_path: Path) -> None:
    assert "it is `" in refused(tmp_path / ".ssh", own)
    assert "it is in `" in refused(tmp_path / ".aws" / "cache", own)
    assert "is in it" in refused(tmp_path, own)
    assert "is in it" in refused(tmp_path.parent, own)


def test_of_the_home_folder_of_fetchml_only_what_runs_made_is_data(own: Path) -> None:
    check_place(own / "store" / "runs" / "one" / "results", own)
    for name in ("", "keys", "store", "store/objects", "cache/datasets"):
        assert "the home folder of fetchml" in refused(own / name, own)


def test_a_link_is_what_it_leads_to(own: Path, tmp_path: Path) -> None:
    for number, target in enumerate(("/etc", "/", tmp_path / ".ssh", "../.ssh", own)):
        link = tmp_path / "data" / f"link{number}"
        link.symlink_to(target)
        refused(link, own)
        (tmp_path / "data" / f"again{number}").symlink_to(link.name)
        refused(tmp_path / "data" / f"again{number}", own)
    (tmp_path / "data" / "etc").symlink_to("/etc")
    refused(tmp_path / "data" / "etc" / "ssl", own)


def test_where_engines_listen_is_refused(own: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    check_place(data, own, ["tcp://127.0.0.1:2375", "unix:///elsewhere/engine.sock"])
    assert "engine.sock` is in it" in refused(data, own, f"unix://{data}/engine.sock")
    refused(data / "engine.sock", own, f"{data}/engine.sock")


@pytest.mark.parametrize("name", ["data", "da:ta", "a,b", "with space ä", "etc", ".sshd", "-v", "a=b"])
def test_a_folder_with_nothing_but_data_may_be_anything(own: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data" / name
    folder.mkdir()
    check_place(folder, own)
    check_place(folder / "not there", own)


def test_a_place_is_another_when_what_lies_there_is(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    before = place_at(link)
    assert before is not None
    assert before == place_at(folder)
    assert before.path == folder
    (folder / "file").touch()
    assert place_at(link) == before
    folder.rename(tmp_path / "away")
    assert place_at(link) is None
    shutil.copytree(tmp_path / "away", folder)
    assert place_at(link) != before
    os.rename(tmp_path / "away", tmp_path / "target")
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "target")
    assert place_at(link) != before
