"""Copies of datasets on a host: whole or not there, fetched once, never removed under a run, and not more than fits."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fetchml.datasets import staging as staging_module
from fetchml.datasets.digest import Digest, digest
from fetchml.datasets.listing import Entry
from fetchml.datasets.source import Check, FolderSource, Sink
from fetchml.datasets.staging import CACHE_FULL, HEADROOM, NO_ROOM, Copy, Limits, Staging
from fetchml.errors import Corrupt, Refused, Unavailable
from fetchml.models.units import MIB
from fetchml.snapshot.materialise import remove_tree

CALLS = frozenset(
    {"os.rename", "os.mkdir", "os.chmod", "os.remove", "os.rmdir", "os.symlink", "os.utime", "os.truncate", "open"}
)
KILLED = -signal.SIGKILL


class Share:
    """A folder with data, and the copies of it.

    Args:
        folder: A folder of the test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "share"
        (self.data / "deep" / "er").mkdir(parents=True)
        (self.data / "a.txt").write_bytes(b"pixels" * 1000)
        (self.data / "deep" / "er" / "b.bin").write_bytes(os.urandom(100_000))
        (self.data / "deep" / "empty").touch()
        (self.data / "deep" / "link").symlink_to("../a.txt")
        self.clock_s = 1_000_000.0
        self.used: set[str] = set()
        self.limits = Limits()
        self.found = digest(self.data)

    @property
    def staging(self) -> Staging:
        return Staging(self.folder / "cache", self.limits, self.used.__contains__, lambda: self.clock_s)

    def ensure(self, found: Digest | None = None, source: FolderSource | None = None) -> tuple[Copy, bool]:
        found = found or self.found
        source = source or FolderSource(self.data)
        return self.staging.ensure(found.checksum, found.listing, source, "file:///share")

    def other(self, name: str, size_bytes: int) -> Callable[[], Copy]:
        """Makes another dataset and returns what stages it."""
        path = self.folder / name
        path.write_bytes(os.urandom(size_bytes))
        found = digest(path)
        return lambda: self.ensure(found, FolderSource(path))[0]

    def is_right(self, copy: Copy) -> bool:
        return digest(copy.data).listing == self.found.listing


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    yield Share(tmp_path)
    remove_tree(tmp_path / "cache")


# Copies


def test_a_copy_has_everything_and_cannot_be_written(share: Share) -> None:
    copy, is_new = share.ensure()
    assert is_new
    assert share.is_right(copy)
    assert (copy.data / "deep" / "link").readlink() == Path("../a.txt")
    assert (copy.data / "deep" / "link").read_bytes() == b"pixels" * 1000
    modes = {path.stat().st_mode & 0o777 for path in copy.data.rglob("*") if path.is_file()}
    assert modes == {0o444}
    assert {path.stat().st_mode & 0o777 for path in [copy.data, *copy.data.rglob("*")] if path.is_dir()} == {0o555}
    assert (copy.size_bytes, copy.file_count, copy.uri) == (106_000, 3, "file:///share")


def test_the_second_run_reads_the_same_copy_and_nothing_of_the_share(share: Share) -> None:
    first, _ = share.ensure()
    shutil.rmtree(share.data)
    second, is_new = share.ensure()
    assert (second.folder, is_new) == (first.folder, False)


def test_one_file_can_be_staged(share: Share) -> None:
    assert share.other("one.csv", 5)().data.read_bytes() == (share.folder / "one.csv").read_bytes()


def test_data_that_has_changed_is_refused_before_it_is_copied_if_its_size_tells(share: Share) -> None:
    (share.data / "a.txt").write_bytes(b"short")
    (share.data / "deep" / "empty").unlink()
    with pytest.raises(Refused, match="has changed") as caught:
        share.ensure()
    assert "a.txt: changed; deep/empty: removed" in str(caught.value)
    assert share.staging.copies() == []
    assert not list((share.folder / "cache" / "incoming").glob("*/data/*"))


def test_data_that_has_changed_is_refused_after_it_was_copied_if_only_its_bytes_tell(share: Share) -> None:
    (share.data / "a.txt").write_bytes(b"PIXELS" * 1000)
    with pytest.raises(Refused, match="has changed") as caught:
        share.ensure()
    assert (caught.value.code, "a.txt: changed" in str(caught.value)) == ("dataset-changed", True)
    assert share.staging.copies() == []
    (share.data / "a.txt").write_bytes(b"pixels" * 1000)
    assert share.is_right(share.ensure()[0])


def test_a_link_that_leads_elsewhere_by_now_is_refused(share: Share) -> None:
    (share.data / "deep" / "link").unlink()
    (share.data / "deep" / "link").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="has changed"):
        share.ensure()


def test_a_file_that_became_a_link_is_not_followed(share: Share) -> None:
    (share.data / "a.txt").rename(share.folder / "a.txt")
    (share.data / "a.txt").symlink_to(share.folder / "a.txt")
    with pytest.raises(Refused, match="has changed"):
        share.ensure()


@pytest.mark.parametrize("path", [b"../escape", b"/escape", b"a//b", b"a/./b"])
def test_a_listing_that_leads_elsewhere_is_corrupt(share: Share, path: bytes) -> None:
    record = b"file 1 " + b"0" * 64 + b" " + path + b"\0"
    listing = b"fetchml.dataset.v1 folder\n" + record
    import hashlib

    with pytest.raises(Corrupt, match="listing"):
        share.staging.ensure(
            f"sha256:{hashlib.sha256(listing).hexdigest()}", listing, FolderSource(share.data), "file:///share"
        )
    with pytest.raises(Corrupt, match="listing"):
        share.staging.ensure(share.found.checksum, listing, FolderSource(share.data), "file:///share")


# Crashes and company


def killed_at(share: Share, number: int) -> int:
    """Stages in a process that is killed before its N-th change of the disk; returns how the process ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    lock = threading.Lock()
    left = number

    def strike(*_: object) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        # Of files that are opened, those that are written to.
        if event in CALLS and (event != "open" or (isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE)):
            strike()

    try:
        sync = os.fsync
        os.fsync = lambda descriptor: (strike(), sync(descriptor))[1]
        sys.addaudithook(hook)
        share.ensure()
        os._exit(0)
    finally:
        os._exit(1)


def test_who_is_killed_between_any_two_steps_leaves_a_whole_copy_or_none(share: Share) -> None:
    number, codes = 0, [KILLED]
    while codes[-1] == KILLED:
        number += 1
        remove_tree(share.folder / "cache")
        codes.append(killed_at(share, number))
        copy = share.staging.find(share.found.checksum)
        assert copy is None or share.is_right(copy), number
        after, is_new = share.ensure()
        assert is_new is (copy is None)
        assert share.is_right(after), number
        assert list((share.folder / "cache" / "incoming").iterdir()) == [], number
    assert codes[-1] == 0
    assert number > 30


def test_who_is_killed_again_and_again_arrives(share: Share) -> None:
    """Each life is a little longer than what is left to do at its begin, so every one has to go on with the last."""
    for _ in range(100):
        if killed_at(share, 25) == 0:
            break
    else:
        pytest.fail("it never arrives")
    copy = share.staging.find(share.found.checksum)
    assert copy is not None
    assert share.is_right(copy)


class Gated(FolderSource):
    """A folder that is read once a gate is open."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reached, self.gate = threading.Event(), threading.Event()
        self.count = 0

    def append(self, entry: Entry, sink: Sink, check: Check) -> None:
        self.count += 1
        self.reached.set()
        assert self.gate.wait(60)
        super().append(entry, sink, check)


def test_two_that_want_the_same_fetch_it_once(share: Share) -> None:
    source = Gated(share.data)
    answers: list[tuple[Copy, bool]] = []
    threads = [threading.Thread(target=lambda: answers.append(share.ensure(source=source))) for _ in range(2)]
    threads[0].start()
    assert source.reached.wait(60)
    threads[1].start()
    source.gate.set()
    for thread in threads:
        thread.join(60)
    assert sorted(is_new for _, is_new in answers) == [False, True]
    assert all(share.is_right(copy) for copy, _ in answers)
    assert source.count == 3


def test_processes_that_want_the_same_fetch_it_once(share: Share) -> None:
    program = (
        "import sys; from pathlib import Path; from fetchml.datasets.digest import digest\n"
        "from fetchml.datasets.source import FolderSource; from fetchml.datasets.staging import Limits, Staging\n"
        "share, cache = map(Path, sys.argv[1:]); found = digest(share)\n"
        "copy, new = Staging(cache, Limits(), lambda _: False).ensure("
        "found.checksum, found.listing, FolderSource(share), 'file:///x')\n"
        "assert digest(copy.data).listing == found.listing; print(new)"
    )
    words = [sys.executable, "-c", program, str(share.data), str(share.folder / "cache")]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert sorted(answers) == ["False", "False", "False", "True"]


def test_a_run_that_is_cancelled_stops_the_copy_and_the_next_goes_on(share: Share) -> None:
    class Stopped(Exception):
        pass

    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks > 4:
            raise Stopped

    with pytest.raises(Stopped):
        share.staging.ensure(share.found.checksum, share.found.listing, FolderSource(share.data), "file:///x", check)
    assert share.staging.copies() == []
    assert share.is_right(share.ensure()[0])


def test_who_waits_for_another_can_be_cancelled(share: Share) -> None:
    class Stopped(Exception):
        pass

    def check() -> None:
        raise Stopped

    source = Gated(share.data)
    thread = threading.Thread(target=lambda: share.ensure(source=source))
    thread.start()
    assert source.reached.wait(60)
    with pytest.raises(Stopped):
        share.staging.ensure(share.found.checksum, share.found.listing, source, "file:///x", check)
    source.gate.set()
    thread.join(60)


# Room


def test_what_was_not_used_for_longest_goes_first_and_never_what_is_in_use(share: Share) -> None:
    make = {name: share.other(name, 100_000) for name in ("a", "b", "c", "d")}
    share.limits = Limits(max_bytes=300_000)
    copies: dict[str, Copy] = {}
    for name in ("a", "b", "c"):
        share.clock_s += 10
        copies[name] = make[name]()
    share.clock_s += 10
    make["a"]()  # used again
    share.used.add(copies["b"].checksum)
    make["d"]()
    left = {copy.checksum for copy in share.staging.copies()}
    assert copies["c"].checksum not in left
    assert {copies["a"].checksum, copies["b"].checksum} < left
    assert len(left) == 3


def test_what_runs_read_now_makes_the_next_one_wait(share: Share) -> None:
    one, two = share.other("one", 100_000), share.other("two", 100_000)
    share.limits = Limits(max_bytes=150_000)
    share.used.add(one().checksum)
    with pytest.raises(Unavailable, match="no room for one more") as caught:
        two()
    assert caught.value.code == CACHE_FULL
    share.used.clear()
    assert two().size_bytes == 100_000
    assert len(share.staging.copies()) == 1


def test_what_never_fits_is_refused(share: Share) -> None:
    share.limits = Limits(max_bytes=50_000)
    with pytest.raises(Refused, match="more than all copies together") as caught:
        share.ensure()
    assert caught.value.code == NO_ROOM


def test_what_others_fetch_now_counts(share: Share) -> None:
    share.limits = Limits(max_bytes=150_000)
    source = Gated(share.data)
    thread = threading.Thread(target=lambda: share.ensure(source=source))
    thread.start()
    assert source.reached.wait(60)
    other = share.other("other", 100_000)
    with pytest.raises(Unavailable, match="no room for one more"):
        other()
    source.gate.set()
    thread.join(60)
    assert other().size_bytes == 100_000


def test_copies_that_nobody_has_used_for_long_go(share: Share) -> None:
    share.limits = Limits(ttl_s=100)
    old = share.other("old", 10)()
    used = share.other("used", 10)()
    share.used.add(used.checksum)
    share.clock_s += 101
    share.ensure()
    left = {copy.checksum for copy in share.staging.copies()}
    assert old.checksum not in left
    assert left == {used.checksum, share.found.checksum}


def test_a_disk_that_is_too_small_is_told_before_anything_is_copied(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, used = share.other("old", 20_000)(), share.other("used", 10)()
    share.used.add(used.checksum)
    free = HEADROOM + 50_000
    monkeypatch.setattr(staging_module.Staging, "_free_bytes", lambda _: free)
    with pytest.raises(Refused, match="disk is too small") as caught:
        share.ensure()
    assert caught.value.code == NO_ROOM
    assert not list((share.folder / "cache" / "incoming").glob("*/parts"))
    left = {copy.checksum for copy in share.staging.copies()}
    assert (old.checksum in left, used.checksum in left) == (False, True)


@pytest.mark.root
def test_a_real_disk_that_is_too_small_is_told(share: Share) -> None:
    disk = share.folder / "cache"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={HEADROOM // MIB + 8}m", "none", str(disk)], check=True)
    try:
        fits, large = share.other("fits", 5 * MIB), share.other("large", 20 * MIB)
        assert fits().size_bytes == 5 * MIB
        with pytest.raises(Refused, match="disk is too small"):
            large()
        assert share.ensure()[1]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_who_removes_gives_way_to_who_fetches_and_to_who_has_just_used_it(share: Share) -> None:
    copy, _ = share.ensure()
    share.clock_s += 10
    share.ensure()
    assert share.staging.remove(copy) is False  # as it was found, it was older
    (found,) = share.staging.copies()
    share.used.add(found.checksum)
    assert share.staging.remove(found) is False
    share.used.clear()
    with share.staging._locked(found.folder.name, lambda: None):  # as someone who fetches it
        assert share.staging.remove(found) is False
    assert share.staging.remove(found) is True
    assert share.staging.copies() == []


def test_what_is_left_of_the_killed_can_be_told_from_what_is_on_its_way(share: Share) -> None:
    assert killed_at(share, 20) == KILLED
    cache = share.folder / "cache"
    (part,) = (cache / "incoming").iterdir()
    os.utime(part, (1, 1))
    assert list(share.staging.leftovers(0.5)) == []
    with share.staging._locked(part.name, lambda: None):  # as someone who goes on with it
        assert list(share.staging.leftovers(2)) == []
    assert list(share.staging.leftovers(2)) == [part]
