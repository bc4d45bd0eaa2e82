"""Pruning: what a run needs is never removed, whatever else is, and whoever queues meanwhile."""

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from contract.racing import in_processes
from fetchml.config.layers import load
from fetchml.errors import ConfigError, FetchmlError
from fetchml.home import Home
from fetchml.models.ids import new_run_id
from fetchml.objects.directory import DirectoryObjects
from fetchml.service.command import Words
from fetchml.service.prune import Pruned, PruneRequest, prune
from fetchml.service.queue import QueueRequest, queue
from fetchml.service.references import References
from fetchml.service.sync import sync
from fetchml.service.validate import validate_all
from fetchml.snapshot.capture import Limits, capture
from fetchml.store import turns
from fetchml.testing.builders import MOMENT, make_manifest, make_plan

DAY_S = 24 * 3600
LIMITS = Limits(1024 * 1024, 100)
NOW = PruneRequest(older_than_s=0)


def write(project: Path, files: dict[str, str]) -> None:
    shutil.rmtree(project, ignore_errors=True)
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project.mkdir(exist_ok=True)


def stored(home: Home, project: Path, files: dict[str, str]) -> str:
    """Captures a project as `sync` does and returns its commit id."""
    write(project, files)
    return capture(project, home.objects, LIMITS).commit_id


def queued(home: Home, commit_id: str) -> str:
    plan = make_plan(snapshot_id=commit_id)
    run_id = new_run_id(MOMENT)
    home.store.create(plan, make_manifest(plan, run_id))
    return run_id


def aged(home: Home, days: float) -> None:
    """Makes everything that is stored as old as that."""
    moment = time.time() - days * DAY_S
    for path in home.path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (moment, moment))


def later(home: Home, request: PruneRequest = NOW) -> Pruned:
    """Prunes a moment later, so that what is there is older than nothing."""
    return prune(home.settings, request, now=lambda: time.time() + 1)


def digests(home: Home) -> set[str]:
    return set(home.objects.digests())


def all_valid(home: Home) -> bool:
    _, reports = validate_all(home.settings)
    return all(check.ok for report in reports for check in report.checks if check.name in ("snapshot", "git_diff"))


def test_objects_of_runs_stay_and_others_go(home: Home, tmp_path: Path) -> None:
    used = stored(home, tmp_path / "p", {"a.py": "a", "both.py": "b"})
    needed = digests(home)
    stored(home, tmp_path / "p", {"c.py": "c", "both.py": "b"})
    run_id = queued(home, used)
    done = later(home)
    assert digests(home) == needed
    assert done.removed["objects"].count == 2
    assert done.kept["objects that runs refer to"].count == len(needed)
    assert all_valid(home)
    assert home.store.exists(run_id)
    assert later(home).removed == {}


def test_a_dry_run_says_the_same_and_removes_nothing(home: Home, tmp_path: Path) -> None:
    stored(home, tmp_path / "p", {"a.py": "a"})
    before = digests(home)
    said = later(home, PruneRequest(older_than_s=0, dry_run=True))
    assert digests(home) == before
    assert later(home).removed == said.removed


def test_what_was_synced_lately_stays_with_files_that_were_stored_long_ago(home: Home, tmp_path: Path) -> None:
    stored(home, tmp_path / "p", {"old.py": "old"})
    aged(home, 30)
    stored(home, tmp_path / "p", {"old.py": "old", "new.py": "new"})
    kept = digests(home)
    done = prune(home.settings, PruneRequest())
    assert done.removed["objects"].count == 1  # the tree of the first
    assert len(digests(home)) == len(kept) - 1
    aged(home, 30)
    stored(home, tmp_path / "p", {"old.py": "old", "new.py": "new"})  # nothing is written, but it counts
    assert prune(home.settings, PruneRequest()).removed == {}
    aged(home, 30)
    prune(home.settings, PruneRequest())
    assert digests(home) == set()


def test_what_any_file_of_the_store_names_stays(home: Home, tmp_path: Path) -> None:
    with home.objects.batch() as batch:
        part, other = batch.put_bytes(b"part"), batch.put_bytes(b"other")
        listed = batch.put_bytes(b'{"parts":["' + part.encode() + b'"]}')
    (home.settings.store / "datasets").mkdir(parents=True)
    (home.settings.store / "datasets" / "mnist.json").write_text(f'{{"checksum": "sha256:{listed}"}}')
    later(home)
    assert digests(home) == {part, listed}
    assert other not in digests(home)


def test_a_run_that_cannot_be_read_keeps_every_object(home: Home, tmp_path: Path) -> None:
    stored(home, tmp_path / "p", {"loose.py": "x"})
    run_id = queued(home, stored(home, tmp_path / "p", {"a.py": "a"}))
    for damage in ("manifest", "tree"):
        if damage == "manifest":
            home.store.folder(run_id).manifest.write_text("{")
        else:
            shutil.rmtree(home.store.folder(run_id).path)
            run_id = queued(home, "ab" * 32)
        before = digests(home)
        assert list(later(home).unreadable) == [run_id]
        assert digests(home) == before


def test_leftovers_of_a_process_that_was_killed_go_when_they_are_old(home: Home, tmp_path: Path) -> None:
    stored(home, tmp_path / "p", {})
    assert isinstance(home.objects, DirectoryObjects)
    left = home.objects.root / "incoming" / ".tmp-0123"
    left.write_bytes(b"xyz")
    assert "leftovers" not in later(home).removed
    os.utime(left, (0, 0))
    assert later(home).removed["leftovers"].size_bytes == 3
    assert not left.exists()


def test_laid_out_code_goes_unless_a_run_waits_for_it(home: Home, tmp_path: Path) -> None:
    used = stored(home, tmp_path / "p", {"a.py": "a"})
    unused = stored(home, tmp_path / "p", {"b.py": "b"})
    queued(home, used)
    for commit_id in (used, unused):
        home.snapshots.ensure(commit_id)
    (home.snapshots.root / ".tmp-00").mkdir()
    done = prune(home.settings, PruneRequest())
    assert os.listdir(home.snapshots.root) == [used]
    assert (done.removed["snapshots"].count, done.removed["leftovers"].count) == (1, 1)


def test_environments_go_when_nobody_used_them_lately(home: Home) -> None:
    old, young, building = (home.environments / f"venv-{name * 24}" for name in "abc")
    for folder in (old, young, building):
        (folder / "bin").mkdir(parents=True)
        (folder / "fetchml-environment.json").write_text("{}")
    for folder in (old, building):
        os.utime(folder / "fetchml-environment.json", (0, 0))
    lock = building.with_suffix(".lock")
    lock.touch()
    from fetchml import durable

    with durable.locked(lock):
        done = later(home)
    assert not old.exists()
    assert young.exists()
    assert building.exists()
    assert done.removed["environments"].count == 1


def test_runs_go_only_when_they_are_asked_for(home: Home) -> None:
    with pytest.raises(ConfigError):
        prune(home.settings, PruneRequest(runs=True))
    with pytest.raises(ConfigError):
        prune(home.settings, PruneRequest(keep_last=3))
    run_id = queued(home, "5e" * 32)
    assert prune(home.settings, PruneRequest(runs=True, keep_last=0)).run_ids == ()
    assert home.store.exists(run_id)


NAMES = st.sampled_from(["a", "b", "c", "d"])
TREES = st.dictionaries(NAMES, st.sampled_from(["1", "2", "3", "4", "5"]), max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from(["sync", "queue", "prune", "age"]), TREES), max_size=12)


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=STEPS, days=st.sampled_from([0.0, 7.0]))
def test_pruning_never_removes_what_a_run_needs(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, dict[str, str]]], days: float
) -> None:
    folder = tmp_path_factory.mktemp("prune")
    home = Home(load(environ={"FETCHML_HOME": str(folder / "home")}, with_project=False).settings)
    home.create()
    for step, files in steps:
        match step:
            case "prune":
                later(home, PruneRequest(older_than_s=days * DAY_S))
            case "age":
                aged(home, 8)
            case _:
                commit_id = stored(home, folder / "p", files)
                if step == "queue":
                    queued(home, commit_id)
        assert all_valid(home)
    later(home)
    assert all_valid(home)
    assert isinstance(home.objects, DirectoryObjects)
    references = References(home, home.objects)
    references.update()
    assert digests(home) <= references.digests


WORK = """
import os, sys, time
from pathlib import Path
from fetchml.config.layers import load
from fetchml.service.prune import PruneRequest, prune
from fetchml.service.queue import QueueRequest, queue
from fetchml.service.command import Words
from fetchml.service.sync import sync

number, folder = int(sys.argv[1]), Path(sys.argv[2])
project = folder / f"project{number}"
project.mkdir()
os.chdir(project)
loaded = load()
(project / "train.py").write_text("print()")
gate()
until = time.monotonic() + 4
count = 0
while time.monotonic() < until:
    count += 1
    if number == 0:
        prune(loaded.settings, PruneRequest(older_than_s=0))
        continue
    # All have the same few files at about the same time, so each finds what another has just stored.
    (project / "a.py").write_text(str(int(time.monotonic() * 4)))
    (project / "b.py").write_text(str(count % 5))
    if number == 1:
        sync(loaded, project)
    else:
        queue(QueueRequest(Words("train.py", ()), cwd=project), loaded)
print(count)
"""


def test_queueing_and_pruning_at_the_same_time_loses_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ENGINE": "process", "REPRO_POLICY": "best-effort", "EXECUTION_MODE": "direct"}.items():
        monkeypatch.setenv(f"FETCHML_{name}", value)
    monkeypatch.setenv("FETCHML_HOME", str(home.path))
    counts = [int(text) for text in in_processes(4, WORK, tmp_path)]
    assert min(counts) >= 3, "everyone got a turn"
    run_ids = home.store.run_ids()
    assert len(run_ids) == counts[2] + counts[3]
    assert all_valid(home)
    prune(home.settings, NOW)
    assert all_valid(home)


def test_whoever_removes_waits_for_those_who_add_and_lets_others_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_SHUT_S", 0.0)
    with turns.adding(tmp_path), turns.adding(tmp_path):
        tries = 0

        def give_up() -> None:
            nonlocal tries
            tries += 1
            with turns.adding(tmp_path):  # the gate is open in between
                pass
            if tries == 3:
                raise FetchmlError("enough")

        with pytest.raises(FetchmlError), turns.removing(tmp_path, give_up):
            pass
    with turns.removing(tmp_path):
        pass


def test_queueing_is_possible_after_a_sync_was_pruned(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of the files does not count where the objects are gone."""
    for name, value in {"HOME": str(home.path), "ENGINE": "process", "REPRO_POLICY": "best-effort"}.items():
        monkeypatch.setenv(f"FETCHML_{name}", value)
    project = tmp_path / "project"
    write(project, {"train.py": "print()"})
    os.utime(project / "train.py", (0, 0))
    monkeypatch.chdir(project)
    loaded = load()
    monkeypatch.setattr(time, "time_ns", lambda: 2**62)
    assert sync(loaded, project).read_files == 1
    assert sync(loaded, project).read_files == 0
    later(home)
    assert digests(home) == set()
    queue(QueueRequest(Words("train.py", ()), cwd=project), loaded)
    assert all_valid(home)
