"""How runs are put into words: in lists, in progress lines, and in completions."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fetchml.cli import session
from fetchml.cli.commands.status import _ago, _ran, _why
from fetchml.cli.facts_text import used_of
from fetchml.cli.options import complete_run, configuration, prefect_flags
from fetchml.cli.progress import STATE_STYLES, describe, exit_code, state_word
from fetchml.errors import ConfigError
from fetchml.home import Home
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.resources import ResourceUse
from fetchml.models.status import Cancelled, EndReason, Failed, Finalizing, Preparing, State
from fetchml.models.units import GIB
from fetchml.service.status import Listed
from fetchml.store.index import FINAL, RunRow
from fetchml.testing.builders import MOMENT, RUN_ID, make_manifest, make_plan


@pytest.fixture(autouse=True)
def _session_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the settings decides how this call prints."""
    for name, value in (("quiet", False), ("colour", "auto"), ("debug", False)):
        monkeypatch.setattr(session, name, value)


def row(**changes: Any) -> RunRow:
    fields: dict[str, Any] = {
        "run_id": RUN_ID,
        "stamp": "",
        "name": "train",
        "state": "queued",
        "user": "ada",
        "priority": 5,
        "queued_at": "2026-11-20T12:00:00Z",
        "started_at": None,
        "ended_at": None,
        "end_reason": None,
        "exit_code": None,
        "engine": None,
        "host": None,
        "group": None,
        "tags": "[]",
        "command": "[]",
        "gpus": 0.0,
    }
    return RunRow(**{**fields, **changes})


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (Listed(row(), None, ()), "waits for a worker"),
        (Listed(row(), 3, ("a GPU: 1 of 1 in use", "its turn")), "#3: a GPU: 1 of 1 in use; its turn"),
        (Listed(row(), 1, ("\x1b[2J",)), "#1: \\x1b[2J"),
        (Listed(row(state="running"), None, ()), ""),
        (Listed(row(state="completed", end_reason="ok", exit_code=0), None, ()), ""),
        (Listed(row(state="failed", end_reason="code_error", exit_code=3), None, ()), "code_error (exit 3)"),
        (Listed(row(state="failed", end_reason="host_lost"), None, ()), "host_lost"),
        (Listed(row(state="cancelled", end_reason="cancelled"), None, ()), "cancelled"),
    ],
)
def test_a_list_says_why(listed: Listed, why: str) -> None:
    assert _why(listed) == why


@pytest.mark.parametrize("moment", ["", "?", "2026-11-20", "2026-11-20T12:00:00"])
def test_a_moment_that_cannot_be_read_is_a_question(moment: str) -> None:
    """A damaged run is listed with the day of its id."""
    assert _ago(moment) == "?"


def test_how_long_ago_is_said() -> None:
    assert _ago((datetime.now(UTC) - timedelta(days=2, hours=3, minutes=30)).isoformat()) == "2d3h ago"


@pytest.mark.parametrize(
    ("started", "ended", "ran"),
    [
        (None, None, "-"),
        (None, "2026-11-20T12:00:00Z", "-"),
        ("2026-11-20T12:00:00Z", "2026-11-20T12:01:30Z", "1m30s"),
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z", "0s"),
    ],
)
def test_how_long_it_ran_is_said(started: str | None, ended: str | None, ran: str) -> None:
    assert _ran(started, ended) == ran


def test_every_state_has_a_colour() -> None:
    assert set(STATE_STYLES) == {str(state) for state in State} | {"damaged"}
    assert {str(state) for state in State if state.is_final} == set(FINAL)


def test_a_state_is_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    assert state_word("running", stream) == "running"
    assert state_word("unknown", stream) == "unknown"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert state_word("running", stream) == "\x1b[34;1mrunning\x1b[0m"


def failed() -> RunManifest:
    manifest = make_manifest().with_status(Preparing(since=MOMENT, attempt=1, host="here"))
    end: dict[str, Any] = {"started_at": None, "ended_at": MOMENT, "attempt": 1, "exit_code": None}
    manifest = manifest.with_status(Finalizing(since=MOMENT, **end))
    return manifest.with_status(
        Failed(**end, end_reason=EndReason.IMAGE_ERROR),
        diagnosis=Diagnosis(category=EndReason.IMAGE_ERROR, summary="no image\x1b[2J"),
        resources=manifest.resources.model_copy(update={"actual": ResourceUse(wall_s=90)}),
    )


def test_a_line_about_a_run_says_how_it_stands_and_how_it_ended() -> None:
    assert describe(make_manifest()) == f"{RUN_ID}  queued"
    assert describe(failed()) == f"{RUN_ID}  failed  after 1m30s  no image\\x1b[2J"


def test_what_a_run_used_is_told_as_far_as_it_is_known() -> None:
    assert used_of(ResourceUse(wall_s=1)) == []
    used = ResourceUse(
        gpu_utilisation_percent=87.5,
        gpu_memory_peak_bytes={"GPU-a": GIB, "GPU-b": 12 * GIB},
        gpu_memory_of="run",
        gpu_temperature_max_c=81.0,
        gpu_throttled=("power limit",),
        energy_wh=312.4567,
        disk_read_bytes=3 * GIB,
        disk_written_bytes=0,
    )
    assert used_of(used) == [
        ("GPU", "busy 87.5 % of the time, 12G memory at most, 312 Wh, 81 °C at most, slowed: power limit"),
        ("disk", "3G read, 0B written"),
    ]
    shared = used.model_copy(update={"gpu_memory_of": "device"})
    assert "12G memory of the whole device at most" in used_of(shared)[0][1]


def test_waiting_ends_well_only_if_all_completed() -> None:
    completed = make_manifest()
    assert exit_code([]) == 0
    assert exit_code([failed()]) == 1
    assert exit_code([completed, failed()]) == 1


# Completion


@pytest.fixture
def runs(home: Home) -> None:
    """Two runs called `train`, one of them cancelled, and one called `eval`."""
    for run_id, name in ((RUN_ID, "train"), ("2026-11-20_k3zzzz", "eval"), ("2026-11-19_abcdef", "train")):
        manifest = make_manifest(run_id=run_id)
        identity = manifest.identity.model_copy(update={"name": name})
        home.store.create(make_plan(), manifest.with_sections(identity=identity))
    status = Cancelled(started_at=None, ended_at=MOMENT, attempt=None, exit_code=None, by="ada")
    diagnosis = Diagnosis(category=EndReason.CANCELLED, summary="cancelled")
    home.store.update("2026-11-20_k3zzzz", lambda m: m.with_status(status, diagnosis=diagnosis).sealed(MOMENT))


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("2026-11-20_k3f", {RUN_ID: "queued train"}),
        ("2026-11-20", {RUN_ID: "queued train", "2026-11-20_k3zzzz": "cancelled eval"}),
        ("e", {"eval": "cancelled"}),
        ("tr", {"train": "queued"}),
        ("missing", {}),
        (
            "",
            {RUN_ID: "queued train", "2026-11-20_k3zzzz": "cancelled eval", "2026-11-19_abcdef": "queued train"}
            | {"train": "queued", "eval": "cancelled"},
        ),
    ],
)
def test_runs_are_completed_by_id_and_by_name(typed: str, completions: dict[str, str]) -> None:
    assert dict(complete_run(typed)) == completions


def test_without_runs_nothing_is_completed() -> None:
    assert complete_run("2026") == []


# Options


def test_a_flag_that_was_not_given_sets_nothing() -> None:
    assert prefect_flags(None) == {}
    assert prefect_flags("http://here/api") == {"prefect.api_url": "http://here/api"}


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHML_PRIORITY", "3")
    assert configuration({"priority": 7}).settings.priority == 7
    assert configuration().settings.priority == 3


def test_settings_decide_how_a_call_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHML_COLOR", "always")
    monkeypatch.setenv("FETCHML_DEBUG", "true")
    configuration()
    assert (session.colour, session.debug) == ("always", True)


def test_an_unknown_setting_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHML_PRIORITY", "high")
    with pytest.raises(ConfigError):
        configuration()
