"""What a call of the command line prints with: colours, tables, errors, and text that is safe for a terminal."""

import errno
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.cli import session
from fetchml.cli.main import from_system
from fetchml.errors import ConfigError, Conflict


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_when_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "as_json", False)
    monkeypatch.setattr(session, "quiet", False)
    monkeypatch.setattr(session, "colour", "auto")
    for name in ("TERM", "NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


# Text for a terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e9 \u4e2d", "plain \u00e9 \u4e2d"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x08\x7f\0", "a\\rb\\x08\\x7f\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066a\u2069\u200b", "\\u2066a\\u2069\\u200b"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("a\nb\tc", "a\\nb\\tc"),
    ],
)
def test_what_could_deceive_is_escaped(text: str, shown: str) -> None:
    assert session.safe(text) == shown


def test_lines_may_be_kept() -> None:
    assert session.safe("a\nb\tc\r", keep_newlines=True) == "a\nb\tc\\r"


@given(st.text())
def test_nothing_that_is_shown_moves_the_cursor(text: str) -> None:
    assert session.safe(text).isprintable()
    kept = session.safe(text, keep_newlines=True)
    assert kept.replace("\n", "").replace("\t", "").isprintable()
    assert kept.count("\n") == text.count("\n")


# Colour


@pytest.mark.parametrize(
    ("environ", "on_a_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "0"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colour_is_for_terminals_and_the_environment_may_say_otherwise(
    environ: dict[str, str], on_a_terminal: bool, elsewhere: bool
) -> None:
    assert session.wants_colour(Terminal(), environ) == on_a_terminal
    assert session.wants_colour(io.StringIO(), environ) == elsewhere


@pytest.mark.parametrize(
    ("setting", "on_a_terminal", "elsewhere"),
    [("auto", True, False), ("always", True, True), ("never", False, False)],
)
def test_colour_is_a_setting_that_the_environment_overrules(
    monkeypatch: pytest.MonkeyPatch, setting: str, on_a_terminal: bool, elsewhere: bool
) -> None:
    monkeypatch.setattr(session, "colour", setting)
    assert session.wants_colour(Terminal(), {}) == on_a_terminal
    assert session.wants_colour(io.StringIO(), {}) == elsewhere
    assert session.wants_colour(io.StringIO(), {"FORCE_COLOR": "1"})
    assert not session.wants_colour(Terminal(), {"NO_COLOR": "1"})


def test_a_style_wraps_text_and_ends() -> None:
    assert session.style("x", "red", "bold", stream=Terminal()) == "\x1b[31;1mx\x1b[0m"
    assert session.style("x", "red", "bold", stream=io.StringIO()) == "x"


# Tables


def test_columns_are_aligned_and_lines_have_no_trailing_blanks() -> None:
    rows = [("a", "1", ""), ("long", "22", "last")]
    assert session.table(("NAME", "N", "WHY"), rows, io.StringIO()).splitlines() == [
        "NAME  N   WHY",
        "a     1",
        "long  22  last",
    ]


def test_colour_codes_have_no_width() -> None:
    stream = io.StringIO()
    coloured = [("\x1b[31mred\x1b[0m", "x"), ("green", "y")]
    plain = [("red", "x"), ("green", "y")]
    shown = session.table(("A", "B"), coloured, stream)
    assert shown.replace("\x1b[31m", "").replace("\x1b[0m", "") == session.table(("A", "B"), plain, stream)


def test_the_last_column_is_cut_on_a_terminal_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "terminal_width", lambda: 40)
    rows = [("name", "x" * 100), ("name", "y" * 34)]
    header, long, fits = session.table(("NAME", "WHY"), rows, Terminal()).splitlines()
    assert header == "\x1b[1mNAME  WHY\x1b[0m"
    assert long == "name  " + "x" * 33 + "\u2026"
    assert fits == "name  " + "y" * 34
    assert len(session.table(("NAME", "WHY"), rows, io.StringIO()).splitlines()[1]) == 106


def test_other_columns_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "terminal_width", lambda: 40)
    line = session.table(("NAME", "WHY"), [("n" * 60, "because")], Terminal()).splitlines()[1]
    assert line == "n" * 60 + "  because"


def test_a_coloured_cell_is_cut_by_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "terminal_width", lambda: 40)
    cell = "\x1b[31m" + "x" * 100 + "\x1b[0m"
    line = session.table(("A", "B"), [("a", cell)], Terminal()).splitlines()[1]
    assert line.count("x") == 36
    assert line.endswith("\x1b[0m")


def test_a_table_without_rows_is_its_header() -> None:
    assert session.table(("A", "B"), [], io.StringIO()) == "A  B"


@pytest.mark.parametrize(("columns", "width"), [("200", 200), ("10", 40), ("0", None)])
def test_the_width_of_a_terminal_has_a_floor(monkeypatch: pytest.MonkeyPatch, columns: str, width: int | None) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert session.terminal_width() == width or (width is None and session.terminal_width() >= 40)


# Streams


def test_results_go_to_stdout_and_notes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    session.print_line("result")
    session.note("note \x1b[2J\nmore")
    assert capsys.readouterr() == ("result\n", "note \\x1b[2J\nmore\n")


def test_quiet_leaves_notes_out_and_no_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "quiet", True)
    session.print_line("result")
    session.note("note")
    session.show_error(Conflict("it ended"))
    assert capsys.readouterr() == ("result\n", "error: it ended\n")


def test_json_keeps_letters(capsys: pytest.CaptureFixture[str]) -> None:
    session.print_json({"name": "\u00e9\u4e2d", "tags": ["a"]})
    printed = capsys.readouterr().out
    assert "\u00e9\u4e2d" in printed
    assert json.loads(printed) == {"name": "\u00e9\u4e2d", "tags": ["a"]}


def test_an_error_has_summary_detail_and_hint_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    session.show_error(ConfigError("`x` is wrong", detail="expected y\nor z", hint="write\x1b[2J y"))
    assert capsys.readouterr() == ("", "error: `x` is wrong\nexpected y\nor z\nhint: write\\x1b[2J y\n")


def test_an_error_is_json_where_results_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "as_json", True)
    session.show_error(Conflict("it ended", detail="\x1b[2J"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    assert json.loads(err) == {
        "error": {"code": "conflict", "summary": "it ended", "detail": "\x1b[2J", "hint": None, "exit_code": 4}
    }


@pytest.mark.parametrize(
    ("words", "as_json"),
    [
        (["status", "--json"], True),
        (["status"], False),
        (["queue", "--json", "--", "train"], True),
        (["queue", "--", "train", "--json"], False),
        ([], False),
    ],
)
def test_the_form_of_an_error_is_guessed_from_the_words(words: list[str], as_json: bool) -> None:
    session.guess_format(words)
    assert session.as_json == as_json


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, 6), (errno.EACCES, 8), (errno.ENOENT, 3), (errno.EIO, 7), (errno.EAGAIN, 6)],
)
def test_an_error_of_the_system_has_an_exit_code(number: int, code: int) -> None:
    assert from_system(OSError(number, "why", "/some/file")).exit_code == code


# A screen that is drawn over itself


def test_a_screen_gives_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)

    def watch() -> None:
        with session.screen_updates(0) as screen:
            screen.show("one")
            screen.show("two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch()
    assert stream.getvalue() == "\x1b[?25l\x1b[H\x1b[2Jone\n\x1b[H\x1b[2Jtwo\n\x1b[?25h"


def test_elsewhere_texts_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    with session.screen_updates(0) as screen:
        screen.show("one")
        screen.show("two")
    assert stream.getvalue() == "one\n\ntwo\n\n"
