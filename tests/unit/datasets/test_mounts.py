"""Which places are on another machine, from tables as Linux writes them."""

from pathlib import Path

import pytest

from fetchml.datasets.mounts import is_remote, type_of

TABLE = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /srv/nas rw,relatime shared:9 master:1 - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /srv/nas/local rw - xfs /dev/sdb rw
32 22 0:30 / /srv/with\040space rw - cifs //server/share rw
33 22 0:31 / /srv/ssh rw - fuse.sshfs user@host: rw
34 22 0:32 / /srv/covered rw - nfs server:/x rw
35 34 0:33 / /srv/covered rw - tmpfs none rw
broken
"""


@pytest.mark.parametrize(
    ("path", "kind", "remote"),
    [
        ("/srv", "ext4", False),
        ("/srv/nas", "nfs4", True),
        ("/srv/nas/deep/er", "nfs4", True),
        ("/srv/nas2", "ext4", False),
        ("/srv/nas/local/x", "xfs", False),
        ("/srv/with space/x", "cifs", True),
        ("/srv/ssh", "fuse.sshfs", True),
        ("/srv/covered/x", "tmpfs", False),
    ],
)
def test_the_mount_that_is_nearest_and_on_top_counts(path: str, kind: str, remote: bool) -> None:
    assert type_of(Path(path), TABLE) == kind
    assert is_remote(Path(path), TABLE) is remote


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv/nas/x")
    assert is_remote(tmp_path / "link", TABLE)


def test_without_a_table_nothing_is_remote() -> None:
    assert type_of(Path("/srv"), "") is None
    assert not is_remote(Path("/srv"), "")


def test_this_machine_has_a_table_or_none(tmp_path: Path) -> None:
    assert type_of(tmp_path) != ""
