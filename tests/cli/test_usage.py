"""Words the command line does not know: one message, the way on, exit 2, and nothing done."""

import pytest

from cli.calls import User, is_refused, words_id
from fetchml import __version__

COMMANDS = (
    "init",
    "queue",
    "status",
    "info",
    "logs",
    "cancel",
    "wait",
    "validate",
    "up",
    "down",
    "server",
    "config",
    "doctor",
)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("nosuch",), ("there is no command `nosuch`", "hint: there are: init, queue, explain")),
        (("statu",), ("there is no command `statu`", "hint: did you mean `status`?")),
        (("que",), ("did you mean `queue`?",)),
        (("STATUS",), ("there is no command `STATUS`",)),
        (("",), ("there is no command ``",)),
        (("--nosuch",), ("--nosuch", "hint: `fetchml --help`")),
        (("status", "--nosuch"), ("--nosuch", "hint: `fetchml status --help`")),
        (("status", "--limti", "3"), ("--limti", "--limit")),
        (("status", "--limit", "0"), ("'--limit'", "1<=x<=100000")),
        (("status", "--limit", "abc"), ("'--limit'", "'abc'")),
        (("status", "--limit"), ("--limit", "requires an argument")),
        (("status", "--json=1"), ("--json", "does not take a value")),
        (("status", "a", "b"), ("unexpected extra argument", "b")),
        (("info",), ("Missing argument", "hint: `fetchml info --help`")),
        (("logs",), ("Missing argument",)),
        (("logs", "@", "--tail", "-1"), ("'--tail'", "-1")),
        (("cancel",), ("Missing argument",)),
        (("wait",), ("Missing argument",)),
        (("wait", "@", "--timeout", "5"), ("`5` is not a duration", "`90s`")),
        (("wait", "@", "--timeout", "0s"), ("`0s` is outside the accepted range",)),
        (("validate",), ("Missing argument",)),
        (("server",), ("Missing command", "hint: `fetchml server --help`")),
        (("server", "nosuch"), ("nosuch",)),
        (("config",), ("Missing command",)),
        (("config", "nosuch"), ("nosuch",)),
        (("queue",), ("Missing argument", "SCRIPT")),
        (("queue", "--dry-run"), ("Missing argument",)),
        (("queue", "--"), ("Missing argument",)),
        (("queue", "--nosuch", "train.py"), ("--nosuch", "hint: `fetchml queue --help`")),
        (("queue", "--prioritty", "3", "train.py"), ("--prioritty", "--priority")),
        (("queue", "-c", "train.py"), ("-c",)),
    ],
    ids=words_id,
)
def test_what_cannot_be_read_is_refused(user: User, words: tuple[str, ...], parts: tuple[str, ...]) -> None:
    is_refused(user.call(*words), 2, *parts)
    assert not user.home.exists()


def test_the_version_is_one_line(user: User) -> None:
    done = user.call("--version")
    assert (done.code, done.out, done.err) == (0, f"fetchml {__version__}\n", "")


@pytest.mark.parametrize("words", [(name,) for name in COMMANDS] + [("server", "status"), ("config", "show")], ids=str)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(user: User, words: tuple[str, ...], option: str) -> None:
    done = user.call(*words, option)
    assert done.code == 0
    assert done.err == ""
    assert done.out.startswith(f"Usage: fetchml {' '.join(words)} ")
    assert "-h, --help" in done.out
    assert not user.home.exists()


def test_without_a_command_the_help_is_shown_as_help(user: User) -> None:
    done = user.call()
    assert done.code == 2
    assert "error:" not in done.err
    assert (done.out + done.err).startswith("Usage: fetchml ")


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--nosuch", "--json"),
        ("info", "--json"),
        ("queue", "--json", "--nosuch", "train.py"),
        ("statu", "--json"),
    ],
    ids=" ".join,
)
def test_with_json_a_usage_error_is_json(user: User, words: tuple[str, ...]) -> None:
    done = user.call(*words)
    assert done.code == 2
    assert done.json_error()["code"] == "usage"


def test_a_json_flag_of_the_script_does_not_change_how_errors_are_shown(user: User) -> None:
    is_refused(user.call("queue", "--nosuch", "train.py", "--json"), 2, "--nosuch")


def test_the_hint_names_the_help_of_the_command_that_was_typed(user: User) -> None:
    is_refused(user.call("queue", "--wait=1", "train.py"), 2, "--wait", "hint: `fetchml queue --help`")


@pytest.mark.parametrize("word", [b"\xff\xfe", b"st\xfftus", b"--\xff"], ids=repr)
def test_words_that_are_no_text_are_refused(user: User, word: bytes) -> None:
    is_refused(user.call(word), 2, "\\udcff")


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "words",
    [
        (LONG,),
        ("info", LONG),
        ("cancel", LONG),
        ("wait", "--timeout", LONG, "@"),
        ("queue", "--memory", LONG, "train.py"),
        ("queue", "--image", LONG, "train.py"),
        ("queue", "--name", LONG, "train.py"),
        ("queue", "--env", LONG, "train.py"),
        *(
            words
            for words in (
                (f"--{LONG}",),
                ("status", "--limit", "9" * 100_000),
                ("queue", LONG),
                ("validate", f"./{LONG}"),
                ("info", f"./{LONG}"),
            )
        ),
    ],
    ids=words_id,
)
def test_a_message_stays_short_however_long_the_word(user: User, words: tuple[str, ...]) -> None:
    done = user.call(*words)
    assert done.code in (2, 3, 6)
    is_refused(done, done.code)
