"""The rules of the life cycle: every state's record as it is made keeps them, and each broken rule is named."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fetchml.models.life_cycle import clock_oddities, life_cycle_faults
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.status import EndReason
from fetchml.testing.builders import MOMENT, make_manifest

SAMPLES = sorted((Path(__file__).parents[2] / "data" / "manifests" / "1.0").glob("*.json"))
COMPLETED = next(path for path in SAMPLES if path.stem == "completed")


def read(path: Path = COMPLETED) -> RunManifest:
    return RunManifest.model_validate_json(path.read_bytes())


def unchecked(**sections: Any) -> RunManifest:
    """Returns a completed record with sections that its own validation would refuse together."""
    found = read()
    return RunManifest.model_construct(**{name: getattr(found, name) for name in RunManifest.model_fields} | sections)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_saved_records_keep_the_rules(path: Path) -> None:
    assert life_cycle_faults(read(path)) == ()
    assert clock_oddities(read(path)) == ()


def test_a_new_record_keeps_the_rules() -> None:
    assert life_cycle_faults(make_manifest()) == ()


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no diagnosis": ({"diagnosis": None}, "`diagnosis` is missing"),
    "no seal": ({"seal": None}, "`seal` is missing"),
    "no placement": ({"placement": None}, "`placement` is missing"),
    "no sandbox": ({"sandbox": None}, "`sandbox` is missing"),
    "no start": ({"times": read().times.model_copy(update={"started_at": None})}, "`times.started_at` is missing"),
    "no end": ({"times": read().times.model_copy(update={"ended_at": None})}, "`times.ended_at` is missing"),
    "ended before the start": (
        {"times": read().times.model_copy(update={"ended_at": MOMENT - timedelta(days=1)})},
        "it ended before it started",
    ),
    "another diagnosis": (
        {"diagnosis": Diagnosis(category=EndReason.TIMEOUT, summary="stopped")},
        "the diagnosis is `timeout`, the end reason `ok`",
    ),
    "a bad exit code": ({"exit_code": 3}, "the end reason is `ok`, the exit code 3"),
    "a good exit code": (
        {"end_reason": EndReason.CODE_ERROR, "diagnosis": Diagnosis(category=EndReason.CODE_ERROR, summary="x")},
        "the end reason is `code_error`, the exit code 0",
    ),
    "a seal on a run that goes on": ({"status": make_manifest().status}, "it is sealed and `queued`"),
}


@pytest.mark.parametrize(("sections", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_each_broken_rule_is_named(sections: dict[str, Any], fault: str) -> None:
    assert fault in life_cycle_faults(unchecked(**sections))


def test_an_exit_code_needs_a_start() -> None:
    times = read().times.model_copy(update={"started_at": None})
    assert "it never started and has exit code 0" in life_cycle_faults(unchecked(times=times))


def test_clocks_that_differ_are_odd_and_no_fault() -> None:
    times = read().times
    late = times.model_copy(update={"queued_at": MOMENT + timedelta(seconds=30)})
    assert life_cycle_faults(unchecked(times=late)) == ()
    assert clock_oddities(unchecked(times=late)) == (
        "it was started before it was queued: two clocks, or one that was set",
    )
