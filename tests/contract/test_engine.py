"""The engine port: one suite over Docker, Podman, plain processes and the twin in memory."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread

import pytest

from contract.engines import ALL, CONTAINERS, REAL, TIMEOUT_S, Bench, Payload, exits, prints, waits
from contract.racing import in_processes, in_threads
from fetchml.containers import STORE_LABEL, Mount
from fetchml.diagnosis import EndFacts, diagnose
from fetchml.engine.port import ContainerState, Phase, StartFailed
from fetchml.errors import Conflict, NotFound
from fetchml.models.units import MIB
from fetchml.snapshot.tree import MAX_FOLDERS, MAX_PATH_BYTES
from stack import until

on_all = pytest.mark.parametrize("bench", ALL, indirect=True)
on_real = pytest.mark.parametrize("bench", REAL, indirect=True)
on_containers = pytest.mark.parametrize("bench", CONTAINERS, indirect=True)

NO_NAME = "fetchml-2026-11-20_aaaaaa-1"


# Creating


@on_all
def test_what_was_created_has_not_started(bench: Bench) -> None:
    name = bench.created(exits(0))
    assert bench.state(name) == ContainerState(Phase.CREATED)
    assert bench.starts(name) == 0


@on_all
def test_creating_the_same_again_changes_nothing(bench: Bench) -> None:
    spec = bench.spec(waits())
    bench.engine.create(spec)
    bench.engine.create(spec)
    bench.engine.start(spec.name)
    bench.wait_for_output(spec.name, b"ready")
    bench.engine.create(spec)
    assert bench.state(spec.name).phase is Phase.RUNNING
    assert bench.engine.names(bench.store_id) == [spec.name]


@on_all
def test_the_name_of_another_is_refused(bench: Bench) -> None:
    spec = bench.spec(exits(0))
    bench.engine.create(spec)
    with pytest.raises(Conflict):
        bench.engine.create(replace(spec, labels={**spec.labels, "fetchml.plan_sha256": "another"}))
    with pytest.raises(Conflict):
        bench.engine.create(replace(spec, labels={**spec.labels, STORE_LABEL: "another"}))
    assert bench.engine.names(bench.store_id) == [spec.name]


@pytest.mark.parametrize("bench", ["memory", *CONTAINERS], indirect=True)
def test_an_image_that_is_not_here_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.engine.image("fetchml-no-such-image")
    with pytest.raises(NotFound):
        bench.created(exits(0), image="fetchml-no-such-image")
    assert bench.engine.names(bench.store_id) == []


@on_all
def test_many_may_create_the_same(bench: Bench) -> None:
    spec = bench.spec(exits(0))
    in_threads(4, lambda _: bench.engine.create(spec))
    assert bench.engine.names(bench.store_id) == [spec.name]
    assert bench.state(spec.name).phase is Phase.CREATED


@on_real
def test_code_may_be_as_deep_as_a_snapshot(bench: Bench) -> None:
    """Also from deep inside a program: the limit of depth leaves room for what calls itself for each folder."""
    length = MAX_PATH_BYTES // (MAX_FOLDERS + 1) - 1
    folder = "/".join(["d" * length] * MAX_FOLDERS)
    path = folder + "/" + "f" * (MAX_PATH_BYTES - len(folder) - 1)
    (bench.root / "code" / folder).mkdir(parents=True)
    (bench.root / "code" / path).write_text("deep")
    spec = bench.spec(Payload(f"print(open({path!r}).read())", exits(0).script))

    def create(frames: int) -> None:
        if frames:
            create(frames - 1)
        else:
            bench.engine.create(spec)

    create(300)
    bench.engine.start(spec.name)
    assert bench.wait(spec.name).exit_code == 0
    assert bench.output(spec.name) == b"deep\n"
    bench.engine.remove(spec.name)
    assert bench.engine.names(bench.store_id) == []


# Starting


@on_all
def test_a_payload_starts_once(bench: Bench) -> None:
    name = bench.started(waits())
    bench.wait_for_output(name, b"ready")
    bench.engine.start(name)
    assert bench.state(name).phase is Phase.RUNNING
    bench.let("go")
    before = bench.wait(name)
    bench.engine.start(name)
    assert bench.state(name) == before
    assert bench.starts(name) == 1


@on_real
def test_of_two_processes_that_start_a_payload_one_does(bench: Bench) -> None:
    names = [bench.created(exits(0)) for _ in range(3)]
    program = f"""
from pathlib import Path
from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.podman_engine import PodmanEngine
from fetchml.engine.process_engine import ProcessEngine

engine = {bench.factory}
engine.inspect(sys.argv[2])
gate()
for name in sys.argv[2:]:
    engine.start(name)
"""
    in_processes(2, program, *names)
    for name in names:
        bench.wait(name)
        assert bench.starts(name) == 1


@on_all
def test_of_many_threads_that_start_a_payload_one_does(bench: Bench) -> None:
    name = bench.created(exits(0))
    in_threads(4, lambda _: bench.engine.start(name))
    bench.wait(name)
    assert bench.starts(name) == 1


@on_containers
def test_a_start_that_was_overtaken_starts_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look that says `created` and the start, another start may come and go."""
    name = bench.created(exits(0))
    look = type(bench.engine)._state
    looked = Event()

    def slow_look(engine: object, container: object) -> ContainerState:
        found = look(engine, container)
        if not looked.is_set():
            looked.set()
            other.join(1)  # it would be over by then, were it not kept waiting
        return found

    other = Thread(target=lambda: (looked.wait(), bench.engine.start(name), bench.wait(name)))
    monkeypatch.setattr(type(bench.engine), "_state", slow_look)
    other.start()
    bench.engine.start(name)
    other.join()
    bench.wait(name)
    assert bench.starts(name) == 1


@on_all
def test_a_program_that_is_not_there_is_told(bench: Bench) -> None:
    name = bench.created(exits(0), argv=("no-such-program", "x"))
    with suppress(StartFailed):
        bench.engine.start(name)
    state = bench.wait(name)
    if state.error is None:  # the init program of the container is what finds out
        assert state.exit_code not in (0, None)
        assert diagnose(EndFacts(exit_code=state.exit_code, tail=bench.output(name).decode())).category == "image_error"
    else:
        assert state.started_at is None
        assert bench.output(name) == b""
    bench.engine.start(name)  # it had its start
    assert bench.state(name) == state


@on_containers
@pytest.mark.parametrize("name", ["da:ta", "a,b", "a,rw", 'q"q', "n\nn", "with space \u00e4", "a=b", "-v"], ids=ascii)
def test_a_folder_of_any_name_is_mounted(bench: Bench, name: str) -> None:
    folder = bench.root / name
    folder.mkdir()
    (folder / "x").write_text(name)
    spec = bench.spec(Payload("print(open('/data/one/x').read())", exits(0).script))
    spec = replace(spec, mounts=(*spec.mounts, Mount(folder, "/data/one", read_only=True)))
    if bench.kind == "podman" and not {",", '"', "\n"}.isdisjoint(name):
        with pytest.raises(StartFailed, match="Podman cannot mount"):
            bench.engine.create(spec)
        return
    bench.engine.create(spec)
    bench.engine.start(spec.name)
    assert bench.wait(spec.name).exit_code == 0
    assert bench.output(spec.name).decode() == f"{name}\n"


@pytest.mark.parametrize("bench", ["memory", *CONTAINERS], indirect=True)
def test_what_was_mounted_is_told_whatever_its_path_means_by_then(bench: Bench) -> None:
    one, other = bench.root / "one", bench.root / "other"
    one.mkdir()
    other.mkdir()
    spec = bench.spec(waits())
    spec = replace(spec, mounts=(*spec.mounts, Mount(one, "/data/one", read_only=True)))
    bench.engine.create(spec)
    bench.engine.start(spec.name)
    bench.wait_for_output(spec.name, b"ready")
    one.rename(bench.root / "away")
    one.symlink_to(other)
    was = (bench.root / "away").stat()
    found = bench.engine.mounted(spec.name, "/data/one")
    assert found == (was.st_dev, was.st_ino)
    assert bench.engine.mounted(spec.name, "/data/two") is None
    bench.let("go")
    bench.wait(spec.name)


# Looking


@on_all
@pytest.mark.parametrize("code", [0, 42])
def test_an_exit_code_is_seen_with_its_times(bench: Bench, code: int) -> None:
    before = datetime.now(UTC)
    state = bench.state(bench.ended(exits(code)))
    assert state.exit_code == code
    assert state.out_of_memory is False
    assert state.error is None
    assert not state.lost
    assert state.started_at is not None
    assert state.ended_at is not None
    assert state.started_at <= state.ended_at
    assert abs((state.started_at - before).total_seconds()) < 60


@on_all
def test_a_running_payload_has_a_start_and_no_end(bench: Bench) -> None:
    name = bench.started(waits())
    bench.wait_for_output(name, b"ready")
    state = bench.state(name)
    assert state.phase is Phase.RUNNING
    assert state.started_at is not None
    assert (state.ended_at, state.exit_code) == (None, None)
    bench.engine.usage(name)


@on_all
def test_what_is_not_there_is_not_found(bench: Bench) -> None:
    assert bench.engine.inspect(NO_NAME) is None
    with pytest.raises(NotFound):
        bench.engine.start(NO_NAME)
    with pytest.raises(NotFound):
        bench.output(NO_NAME)
    bench.engine.stop(NO_NAME, 1)
    bench.engine.remove(NO_NAME)
    bench.engine.usage(NO_NAME)


@on_all
def test_names_are_those_of_one_store_in_any_phase(bench: Bench) -> None:
    spec = bench.spec(exits(0))
    foreign = replace(spec, labels={**spec.labels, STORE_LABEL: bench.store_id + "0"})
    bench.engine.create(foreign)
    try:
        names = [bench.created(exits(0)), bench.ended(exits(3))]
        assert bench.engine.names(bench.store_id) == sorted(names)
        assert bench.engine.names(bench.store_id + "0") == [foreign.name]
        assert bench.engine.names("no-store") == []
    finally:
        bench.engine.remove(foreign.name)


# Output

LINES = "b''.join(b'%d: some words\\n' % number for number in range(160_000))"
OUTPUTS = {
    "nothing": "b''",
    "a last line without newline": "b'one\\ntwo\\nthree'",
    "all bytes": "bytes(range(256)) * 64",
    "three megabytes in short lines": LINES,
    "one long line": "b'x' * 500_000",
    "empty lines": "b'\\n' * 5_000",
}


@on_all
@pytest.mark.parametrize("expression", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_output_is_complete_and_can_be_resumed(bench: Bench, expression: str) -> None:
    whole = eval(expression)  # the test's own text
    name = bench.started(prints(expression))
    assert bench.output(name) == whole
    assert bench.wait(name).exit_code == 0
    for skip in (0, 1, len(whole) // 2, max(0, len(whole) - 1), len(whole), len(whole) + 5):
        assert bench.output(name, skip) == whole[skip:], f"from byte {skip}"


@on_real
def test_both_streams_are_kept(bench: Bench) -> None:
    source = "for n in range(3000):\n    print('out', n)\n    print('err', n, file=sys.stderr)"
    name = bench.started(Payload(source))
    lines = bench.output(name).splitlines()
    assert [line for line in lines if line.startswith(b"out")] == [b"out %d" % n for n in range(3000)]
    assert [line for line in lines if line.startswith(b"err")] == [b"err %d" % n for n in range(3000)]


@on_all
def test_output_arrives_while_the_payload_runs(bench: Bench) -> None:
    name = bench.started(waits())
    stream = bench.engine.output(name, 0)
    assert next(stream).startswith(b"ready")
    assert bench.state(name).phase is Phase.RUNNING
    bench.let("go")
    assert b"".join(stream).strip() == b""
    assert bench.state(name).phase is Phase.EXITED


@on_all
def test_output_of_what_was_removed_meanwhile_ends(bench: Bench) -> None:
    name = bench.started(waits())
    stream = bench.engine.output(name, 0)
    assert next(stream).startswith(b"ready")
    ends: list[object] = []

    def read() -> None:
        try:
            ends.append(b"".join(stream))
        except NotFound as error:
            ends.append(error)

    reader = Thread(target=read, daemon=True)
    reader.start()
    bench.engine.remove(name)
    reader.join(5)
    assert len(ends) == 1, "nobody ever hears that it was removed"


# Stopping and removing

HANDLES = Payload(
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint('ready')\nwait_for('go')",
    lambda payload: 7 if (payload.write(b"ready\n"), payload.stopping.wait(60)) else 0,
)
IGNORES = Payload(
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\nwait_for('go')",
    lambda payload: 0 if (payload.write(b"ready\n"), payload.killed.wait(60)) else 1,
)


@on_all
def test_a_payload_may_clean_up_when_it_is_stopped(bench: Bench) -> None:
    name = bench.started(HANDLES)
    bench.wait_for_output(name, b"ready")
    bench.engine.stop(name, 30)
    state = bench.state(name)
    assert state.phase is Phase.EXITED
    assert state.exit_code == 7
    assert not state.lost
    bench.engine.stop(name, 30)
    assert bench.state(name) == state


@on_all
def test_a_payload_that_does_not_stop_is_killed(bench: Bench) -> None:
    name = bench.started(IGNORES)
    bench.wait_for_output(name, b"ready")
    bench.engine.stop(name, 1)
    state = bench.state(name)
    assert state.phase is Phase.EXITED
    assert state.exit_code == 137
    if bench.kind in ("process", "docker"):
        assert state.out_of_memory is False


@on_all
def test_stopping_what_never_started_changes_nothing(bench: Bench) -> None:
    name = bench.created(exits(0))
    bench.engine.stop(name, 1)
    assert bench.state(name).phase is Phase.CREATED


DAEMONS = Payload("""
def daemon(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3):
                os.close(number)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            work()
        os._exit(0)

for _ in range(5):
    daemon(lambda: time.sleep(600))
print("ready")
""")


@on_real
def test_nothing_of_an_ended_payload_is_left(bench: Bench) -> None:
    name = bench.ended(DAEMONS)
    assert bench.state(name).exit_code == 0
    until(lambda: not bench.processes(), "the end of all it started", TIMEOUT_S)


@on_real
def test_nothing_of_a_stopped_payload_is_left(bench: Bench) -> None:
    name = bench.started(replace(DAEMONS, source=DAEMONS.source + "wait_for('go')"))
    bench.wait_for_output(name, b"ready")
    until(lambda: len(bench.processes()) >= 6, "all its processes", TIMEOUT_S)
    bench.engine.stop(name, 10)
    assert bench.processes() == []


@on_real
def test_removing_ends_all_and_can_be_repeated(bench: Bench) -> None:
    name = bench.started(replace(DAEMONS, source=DAEMONS.source + "wait_for('go')"))
    bench.wait_for_output(name, b"ready")
    bench.engine.remove(name)
    assert bench.processes() == []
    assert bench.engine.inspect(name) is None
    bench.engine.remove(name)
    assert bench.engine.names(bench.store_id) == []


@on_all
@pytest.mark.parametrize("phase", list(Phase))
def test_anything_can_be_removed(bench: Bench, phase: Phase) -> None:
    make: dict[Phase, Callable[[Payload], str]] = {
        Phase.CREATED: bench.created,
        Phase.RUNNING: bench.started,
        Phase.EXITED: bench.ended,
    }
    name = make[phase](exits(0) if phase is Phase.EXITED else waits())
    in_threads(2, lambda _: bench.engine.remove(name))
    assert bench.engine.inspect(name) is None
    with pytest.raises(NotFound):
        bench.engine.start(name)


# Limits


@on_real
def test_a_payload_that_takes_too_much_memory_is_killed(bench: Bench) -> None:
    name = bench.ended(Payload("hog = b'x' * (500 << 20)\ntime.sleep(60)"), memory_bytes=100 * MIB)
    state = bench.state(name)
    assert state.exit_code == 137
    # Podman on the first kind of control groups does not tell.
    assert state.out_of_memory is True or (bench.kind == "podman" and state.out_of_memory is None)


@on_real
def test_a_child_that_takes_too_much_memory_is_killed(bench: Bench) -> None:
    source = """
pid = os.fork()
if pid == 0:
    os.setsid()
    hog = b"x" * (500 << 20)
    time.sleep(60)
print(os.waitpid(pid, 0)[1])
"""
    name = bench.ended(Payload(source), memory_bytes=100 * MIB)
    assert bench.state(name).out_of_memory is not False or bench.kind == "podman"
    assert bench.output(name).strip() in (b"9", b"")
    assert bench.processes() == []


INSIDE = Payload("""
import errno, json, resource, socket

def tries(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def forks():
    count = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            count += 1
    except OSError:
        return count

def first(*paths):
    for path in paths:
        if os.path.exists(path):
            return open(path).read().strip()

status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "ids": [os.getuid(), os.getgid()],
    "capabilities": [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"],
    "code": tries(lambda: open("/code/new", "w")),
    "code_mode": tries(lambda: os.chmod("/code", 0o777)),
    "support": tries(lambda: open("/opt/fetchml/new", "w")),
    "results": tries(lambda: open("/results/new", "w")),
    "inbox": tries(lambda: open("/run/fetchml/new", "w")),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "memory": first("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"),
    "swap": first("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "/sys/fs/cgroup/memory.swap.max"),
    "pid_1": open("/proc/1/cmdline").read(),
    "sockets": [path for path in ("/var/run/docker.sock", "/run/podman/podman.sock") if os.path.exists(path)],
    "cwd": os.getcwd(),
    "shm": os.statvfs("/dev/shm").f_frsize * os.statvfs("/dev/shm").f_blocks,
    "forks": forks(),
}))
os.killpg(0, signal.SIGKILL)
""")


@on_containers
def test_a_container_is_fenced_in(bench: Bench) -> None:
    name = bench.started(INSIDE, memory_bytes=200 * MIB, pids_limit=40)
    inside = json.loads(bench.output(name))
    assert inside["ids"] == ([1000, 1000] if os.geteuid() == 0 else [os.geteuid(), os.getegid()])
    assert inside["capabilities"] == [0] * 5
    assert inside["no_new_privileges"] == "1"
    assert inside["code"] == inside["support"] == "EROFS"
    assert inside["code_mode"] == "EROFS"
    assert inside["results"] == inside["inbox"] == "done"
    assert inside["interfaces"] == ["lo"]
    assert inside["memory"] == str(200 * MIB)
    assert inside["swap"] in (str(200 * MIB), "0", None)
    assert "python3" not in inside["pid_1"].split("\0")[0]
    assert inside["sockets"] == []
    assert inside["cwd"] == "/code"
    assert inside["shm"] == 64 * MIB
    assert 20 <= inside["forks"] < 40
