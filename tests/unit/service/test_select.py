"""Which run a text means."""

from typing import Any

import pytest

from fetchml.errors import ConfigError, Conflict, NotFound
from fetchml.models.host import user_name
from fetchml.service.select import select
from fetchml.store.index import RunRow


def row(run_id: str, name: str = "train", **changes: Any) -> RunRow:
    fields: dict[str, Any] = {
        "stamp": "",
        "state": "queued",
        "user": user_name(),
        "priority": 5,
        "queued_at": run_id[:10],
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
    return RunRow(run_id=run_id, name=name, **{**fields, **changes})


ROWS = [
    row("2026-11-20_k3f9q2", "train"),
    row("2026-11-20_k3zzzz", "eval", user="someone else"),
    row("2026-11-19_abcdef", "train"),
    row("2026-11-18_ghijkm", "abcdef"),
    row("2026-10-01_nnnnnn", "2026-11-18_ghijkm"),
    row("2026-10-01_pppppp", "sweep-1"),
]


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        ("2026-11-20_k3f9q2", "2026-11-20_k3f9q2"),
        ("2026-11-20_k3f", "2026-11-20_k3f9q2"),
        ("2026-11-19", "2026-11-19_abcdef"),
        ("k3f", "2026-11-20_k3f9q2"),
        ("nnnnnn", "2026-10-01_nnnnnn"),
        ("eval", "2026-11-20_k3zzzz"),
        ("EVAL", "2026-11-20_k3zzzz"),
        ("sweep-1", "2026-10-01_pppppp"),
        # An id is that run whatever another is called; a name is meant before a beginning of an id.
        ("2026-11-18_ghijkm", "2026-11-18_ghijkm"),
        ("abcdef", "2026-11-18_ghijkm"),
        ("abcde", "2026-11-19_abcdef"),
        # The latest of my own.
        ("@", "2026-11-20_k3f9q2"),
        ("@~0", "2026-11-20_k3f9q2"),
        ("@~1", "2026-11-19_abcdef"),
        ("@~4", "2026-10-01_pppppp"),
        ("@~000001", "2026-11-19_abcdef"),
    ],
)
def test_a_text_means_one_run(text: str, run_id: str) -> None:
    assert select(ROWS, text).run_id == run_id


@pytest.mark.parametrize(
    "text",
    [
        *("missing", "2026-11-21", "2026-11-20_k3f9q2x", "K3F", "rain", "sweep", "9q2"),
        *("@~5", "@~999999", "@~1000000", "@~-1", "@~", "@1", "@@", "~1", "@ ~1", "@~\u0661"),
    ],
)
def test_a_text_that_means_no_run_is_not_found(text: str) -> None:
    with pytest.raises(NotFound) as caught:
        select(ROWS, text)
    assert caught.value.code == "no-such-run"
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "x" * 129, "a\nb", "\x1b[31m", "a\0b", "\u202e", "\udcff"])
def test_what_can_be_no_name_is_wrong_input(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(ROWS, text)
    assert "\x1b" not in caught.value.summary


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("train", ["2026-11-20_k3f9q2", "2026-11-19_abcdef"]),
        ("2026-11-20", ["2026-11-20_k3f9q2", "2026-11-20_k3zzzz"]),
        ("k3", ["2026-11-20_k3f9q2", "2026-11-20_k3zzzz"]),
        ("2026-10-01_", ["2026-10-01_nnnnnn", "2026-10-01_pppppp"]),
    ],
)
def test_a_text_that_means_several_runs_names_them(text: str, named: list[str]) -> None:
    with pytest.raises(Conflict) as caught:
        select(ROWS, text)
    assert (caught.value.code, caught.value.summary) == ("ambiguous-run", f"`{text}` means 2 runs")
    assert caught.value.detail is not None
    assert [line.split()[1] for line in caught.value.detail.splitlines()] == named


def test_of_many_runs_five_are_named() -> None:
    rows = [row(f"2026-11-20_{letter * 6}") for letter in "abcdefgh"]
    with pytest.raises(Conflict) as caught:
        select(rows, "train")
    assert caught.value.detail is not None
    assert caught.value.detail.splitlines()[0] == "- 2026-11-20_aaaaaa  queued  train"
    assert caught.value.detail.splitlines()[5:] == ["... and 3 more"]


@pytest.mark.parametrize("text", ["@", "@~1", "train", "2026"])
def test_in_an_empty_store_nothing_is_found(text: str) -> None:
    with pytest.raises(NotFound):
        select([], text)


def test_someone_who_has_queued_nothing_has_no_latest_run() -> None:
    with pytest.raises(NotFound) as caught:
        select([row("2026-11-20_k3f9q2", user="someone else")], "@")
    assert caught.value.summary == "you have not queued a run yet"


def test_how_far_back_one_can_go_is_said() -> None:
    with pytest.raises(NotFound) as caught:
        select(ROWS, "@~5")
    assert caught.value.summary == "`@~5` goes back too far: you have queued 5 runs"


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("Run", "run"),
        ("r\u00e9sum\u00e9", "re\u0301sume\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("\ufb01t", "fit"),
        ("\u212b", "\u00e5"),
    ],
    ids=ascii,
)
def test_names_that_are_one_to_a_reader_are_one(name: str, twin: str) -> None:
    one, other = row("2026-11-20_k3f9q2", name), row("2026-11-19_abcdef", twin)
    assert select([one], twin) is one
    assert select([other], name) is other
    for text in (name, twin):
        with pytest.raises(Conflict, match="means 2 runs") as caught:
            select([one, other], text)
        assert caught.value.detail is not None
        assert one.run_id in caught.value.detail
        assert other.run_id in caught.value.detail
