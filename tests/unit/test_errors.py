import json

import pytest

from fetchml import errors
from fetchml.errors import (
    Bug,
    ConfigError,
    Conflict,
    Corrupt,
    FetchmlError,
    Forbidden,
    NotFound,
    Refused,
    Unavailable,
)

CONTRACT = [
    (ConfigError, 2, "bad-input", "fix-input"),
    (NotFound, 3, "not-found", "fix-input"),
    (Conflict, 4, "conflict", "look-again"),
    (Refused, 5, "refused", "change-request"),
    (Unavailable, 6, "unavailable", "retry"),
    (Corrupt, 7, "corrupt", "restore"),
    (Forbidden, 8, "forbidden", "ask-owner"),
    (Bug, 70, "bug", "report"),
    (FetchmlError, 70, "error", "report"),
]


@pytest.mark.parametrize(("kind", "exit_code", "code", "action"), CONTRACT)
def test_exit_code_and_words_follow_from_the_class(kind, exit_code, code, action):
    error = kind("something failed")
    assert (error.exit_code, error.code, error.action) == (exit_code, code, action)


def test_every_error_is_in_the_contract():
    defined = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, FetchmlError)}
    assert defined == {kind for kind, *_ in CONTRACT}


def test_a_code_of_its_own_wins_and_changes_nothing_else():
    error = Conflict("it exists", code="run-exists")
    assert (error.code, error.exit_code) == ("run-exists", 4)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "it failed"),
        ({"detail": "because"}, "it failed\nbecause"),
        ({"hint": "try this"}, "it failed\nhint: try this"),
        ({"detail": "one\ntwo", "hint": "try this"}, "it failed\none\ntwo\nhint: try this"),
        ({"detail": "", "hint": ""}, "it failed"),
    ],
)
def test_text_is_summary_detail_and_hint_on_lines_of_their_own(fields, text):
    assert str(FetchmlError("it failed", **fields)) == text


def test_json_has_every_part_under_a_stable_name():
    error = NotFound("there is no run `x`", hint="`fetchml status` lists runs", code="no-such-run")
    assert json.loads(json.dumps(error.as_json())) == {
        "error": {
            "code": "no-such-run",
            "summary": "there is no run `x`",
            "detail": None,
            "hint": "`fetchml status` lists runs",
            "exit_code": 3,
        }
    }


def test_every_error_says_in_its_docstring_what_happened():
    assert all((kind.__doc__ or "").strip().split("\n")[0].endswith(".") for kind, *_ in CONTRACT)
