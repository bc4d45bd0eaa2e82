"""The overview: how many runs are where, and which are shown first."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from fetchml.config.settings import Settings
from fetchml.home import Home
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.status import Cancelled, EndReason, Preparing, Running
from fetchml.service.status import status
from fetchml.testing.builders import MOMENT, make_manifest, make_plan


def add(
    home: Home, name: str, minutes: int = 0, priority: int = 5, *changes: Callable[[RunManifest], RunManifest]
) -> None:
    """Queues a run of that name some minutes after `MOMENT`, and takes it further."""
    at = MOMENT + timedelta(minutes=minutes)
    run_id = f"2026-11-20_{name * 6}"
    manifest = make_manifest(run_id=run_id)
    manifest = manifest.with_sections(
        identity=manifest.identity.model_copy(update={"name": name, "priority": priority}),
        status=manifest.status.model_copy(update={"since": at}),
        times=manifest.times.model_copy(update={"queued_at": at}),
    )
    home.store.create(make_plan(), manifest)
    for change in changes:
        home.store.update(run_id, change)


def begin(manifest: RunManifest) -> RunManifest:
    return manifest.with_status(Preparing(since=MOMENT, attempt=1, host="here"))


def start(manifest: RunManifest) -> RunManifest:
    return manifest.with_status(Running(started_at=MOMENT, attempt=1, host="here", container="c"))


def cancel(minutes: int) -> Callable[[RunManifest], RunManifest]:
    def change(manifest: RunManifest) -> RunManifest:
        at = MOMENT + timedelta(minutes=minutes)
        status = Cancelled(started_at=None, ended_at=at, attempt=None, exit_code=None, by="ada")
        diagnosis = Diagnosis(category=EndReason.CANCELLED, summary="cancelled by ada")
        return manifest.with_status(status, diagnosis=diagnosis).sealed(at)

    return change


def names(settings: Settings, limit: int = 100) -> str:
    return "".join(item.row.name for item in status(settings, limit).runs)


def say(home: Home, content: object) -> None:
    """What the worker last said."""
    home.services.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (home.services / "worker.json").write_text(text)


def test_without_runs_there_is_nothing_to_show(home: Home, settings: Settings) -> None:
    found = status(settings, 20)
    assert (found.counts, found.runs, found.total, found.worker_alive) == ({}, (), 0, False)


def test_what_runs_comes_first_then_the_queue_then_what_ended(home: Home, settings: Settings) -> None:
    add(home, "a", 1)
    add(home, "b", 2, 5, cancel(30))
    add(home, "c", 3, 5, begin, start)
    add(home, "d", 4, 9)
    add(home, "e", 5, 5, cancel(20))
    add(home, "f", 6, 5, begin)
    add(home, "g", 7, 9)
    assert names(settings) == "cf" + "dga" + "be"
    found = status(settings, 4)
    assert names(settings, 4) == "cfdg"
    assert found.total == 7
    assert found.counts == {"queued": 3, "cancelled": 2, "preparing": 1, "running": 1}


def test_what_waits_is_in_the_order_the_worker_gave_it(home: Home, settings: Settings) -> None:
    for minutes, name in enumerate("abc"):
        add(home, name, minutes)
    say(
        home,
        {
            "waiting": {
                "2026-11-20_cccccc": {"position": 1, "reasons": ["a GPU: 1 of 1 in use"]},
                "2026-11-20_aaaaaa": {"position": 2, "reasons": ["memory: 8G", "its turn"]},
            }
        },
    )
    runs = status(settings, 20).runs
    assert [(item.row.name, item.position, item.reasons) for item in runs] == [
        ("c", 1, ("a GPU: 1 of 1 in use",)),
        ("a", 2, ("memory: 8G", "its turn")),
        ("b", None, ()),
    ]


def test_what_the_worker_said_of_a_run_that_waits_no_more_is_old(home: Home, settings: Settings) -> None:
    add(home, "a", 0, 5, begin)
    say(home, {"waiting": {"2026-11-20_aaaaaa": {"position": 1, "reasons": ["its turn"]}}})
    (item,) = status(settings, 20).runs
    assert (item.position, item.reasons) == (None, ())


@pytest.mark.parametrize("content", ["", "{", "{}", '{"waiting": {}}', "\ufffd"])
def test_a_worker_that_said_nothing_useful_is_no_matter(home: Home, settings: Settings, content: str) -> None:
    add(home, "a")
    say(home, content)
    (item,) = status(settings, 20).runs
    assert (item.row.name, item.position, item.reasons) == ("a", None, ())


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "[]",
        '{"waiting": []}',
        '{"waiting": {"2026-11-20_aaaaaa": {}}}',
        '{"waiting": {"2026-11-20_aaaaaa": 7}}',
    ],
)
def test_a_worker_of_another_version_is_no_matter(home: Home, settings: Settings, content: str) -> None:
    add(home, "a")
    say(home, content)
    (item,) = status(settings, 20).runs
    assert (item.row.name, item.position, item.reasons) == ("a", None, ())
