"""The hosts of the lab: one suite over the directory, its twin in memory, and the directory of another host."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from contract.racing import in_threads
from fetchml.errors import ConfigError, NotFound
from fetchml.keys.access import AccessKind
from fetchml.models.lab_host import HeldRun, HostDedication, HostMarks, PublishedHost
from fetchml.models.resources import Device, DeviceShare, GpuVendor, HostCapacity
from fetchml.models.units import GIB
from fetchml.store.hosts import Clock, DirectoryHosts, Hosts, MemoryHosts
from fetchml.store.remote_hosts import RemoteHosts
from fetchml.testing.builders import MOMENT, RUN_ID
from gateways import EVERYTHING, gateway

NO_NAMES = ("", ".", "..", "../a", "a/b", "/a", "a\0", "a\n", " a", "-a", ".a", "x" * 65, "gpü")


class Ticking:
    """A clock that a test moves: the wall and what counts seconds, apart."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.moment = MOMENT
        self.boot = "boot-1"

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.moment, lambda: self.seconds, lambda: self.boot)


@pytest.fixture
def ticking() -> Ticking:
    return Ticking()


@pytest.fixture(params=["directory", "memory", "remote"])
def hosts(request: pytest.FixtureRequest, tmp_path: Path, ticking: Ticking) -> Iterator[Hosts]:
    """Hosts of each kind; none is known yet."""
    if request.param == "memory":
        yield MemoryHosts(ticking.clock)
        return
    made = DirectoryHosts(tmp_path / "lab" / "store", ticking.clock)
    if request.param == "directory":
        yield made
        return
    with gateway(tmp_path / "lab", EVERYTHING, hosts=made) as lab:
        yield RemoteHosts(lab.link(AccessKind.USER, "ada"))


def published(host: str = "gpu1", **changes: object) -> PublishedHost:
    fields = {
        "capacity": HostCapacity(
            host=host, cpus=8, memory_bytes=64 * GIB, devices=(Device(id="GPU-1", vendor=GpuVendor.NVIDIA),)
        ),
        "worker": f"fetchml-{host}",
        "pid": 1,
        "version": "0.1.0",
        "boot_id": "boot",
        "started_at": MOMENT,
        "published_at": MOMENT,
        "running": (
            HeldRun(
                run_id=RUN_ID, attempt=1, cpus=1, memory_bytes=GIB, shares=(DeviceShare(device_id="GPU-1", share=1),)
            ),
        ),
    }
    return PublishedHost(**{**fields, **changes})


def drained(marks: HostMarks) -> HostMarks:
    return marks.model_copy(update={"is_drained": True, "drained_by": "ada", "drain_reason": "new disk"})


def test_nobody_is_known_before_anybody_has_published(hosts: Hosts) -> None:
    assert hosts.known() == []


def test_what_was_published_last_is_read_back(hosts: Hosts) -> None:
    hosts.publish(published("gpu2"))
    hosts.publish(published("gpu1", pid=1))
    hosts.publish(published("gpu1", pid=2))
    assert [(item.name, item.state) for item in hosts.known()] == [
        ("gpu1", published("gpu1", pid=2)),
        ("gpu2", published("gpu2")),
    ]


def test_silence_is_counted_by_the_owner(hosts: Hosts, ticking: Ticking) -> None:
    hosts.publish(published(published_at=MOMENT - timedelta(days=400)))
    assert [item.silent_s for item in hosts.known()] == [0]
    ticking.seconds += 40
    assert [item.silent_s for item in hosts.known()] == [40]
    hosts.publish(published())
    assert [item.silent_s for item in hosts.known()] == [0]


@pytest.mark.parametrize(
    "jump", [timedelta(days=-3650), timedelta(hours=-1), timedelta(hours=1), timedelta(days=10950)]
)
def test_a_wall_clock_that_jumps_makes_no_host_silent(hosts: Hosts, ticking: Ticking, jump: timedelta) -> None:
    hosts.publish(published())
    ticking.moment += jump
    ticking.seconds += 3
    assert [item.silent_s for item in hosts.known()] == [3]


def test_after_a_reboot_of_the_owner_its_wall_clock_counts(tmp_path: Path, ticking: Ticking) -> None:
    hosts = DirectoryHosts(tmp_path, ticking.clock)
    hosts.publish(published())
    ticking.boot, ticking.seconds = "boot-2", 1.0
    ticking.moment += timedelta(seconds=90)
    assert [item.silent_s for item in hosts.known()] == [90]


def test_marks_are_kept_apart_from_what_is_published(hosts: Hosts) -> None:
    hosts.publish(published())
    assert hosts.mark("gpu1", drained).is_drained
    hosts.publish(published(pid=9))
    hosts.mark("gpu1", lambda marks: marks.model_copy(update={"dedication": HostDedication(users=("ada",))}))
    [found] = hosts.known()
    assert found.state == published(pid=9)
    assert (found.marks.is_drained, found.marks.drained_by) == (True, "ada")
    assert found.marks.dedication == HostDedication(users=("ada",))


def test_no_mark_is_lost_between_operators(hosts: Hosts) -> None:
    hosts.publish(published())

    def add(number: int) -> None:
        def change(marks: HostMarks) -> HostMarks:
            users = marks.dedication.users if marks.dedication else ()
            return marks.model_copy(update={"dedication": HostDedication(users=(*users, f"user-{number}"))})

        hosts.mark("gpu1", change)

    in_threads(12, add)
    [found] = hosts.known()
    assert found.marks.dedication is not None
    assert len(found.marks.dedication.users) == 12


def test_a_host_that_is_not_known_cannot_be_marked(hosts: Hosts) -> None:
    with pytest.raises(NotFound) as caught:
        hosts.mark("gpu1", drained)
    assert caught.value.code == "no-such-host"


def test_a_forgotten_host_is_not_known(hosts: Hosts) -> None:
    hosts.publish(published())
    hosts.mark("gpu1", drained)
    hosts.forget("gpu1")
    hosts.forget("gpu1")
    assert hosts.known() == []
    hosts.publish(published())
    assert [item.marks for item in hosts.known()] == [HostMarks()]


@pytest.mark.parametrize("name", NO_NAMES, ids=repr)
def test_what_is_no_name_reaches_no_path(hosts: Hosts, name: str) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: hosts.publish(published(name)),
        lambda: hosts.mark(name, drained),
        lambda: hosts.forget(name),
    )
    for call in calls:
        with pytest.raises(ConfigError):
            call()
    assert hosts.known() == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", bytes(64), b'{"schema_version": 99}'], ids=repr)
def test_a_damaged_state_hides_one_host_only(tmp_path: Path, content: bytes) -> None:
    hosts = DirectoryHosts(tmp_path)
    hosts.publish(published("gpu1"))
    hosts.publish(published("gpu2"))
    (tmp_path / "hosts" / "gpu1" / "state.json").write_bytes(content)
    assert [item.name for item in hosts.known()] == ["gpu2"]


def test_a_file_among_the_hosts_is_no_host(tmp_path: Path) -> None:
    hosts = DirectoryHosts(tmp_path)
    hosts.publish(published())
    (tmp_path / "hosts" / "notes").write_text("hello")
    assert [item.name for item in hosts.known() if item.state is not None] == ["gpu1"]
