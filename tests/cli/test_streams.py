"""Where output goes: pipes that close, full devices, terminals of every kind, locales without UTF-8."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from typing import Any

import pytest

from cli.calls import COMMAND, User, is_refused, is_safe_text
from cli.conftest import Library

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def through_shell(user: User, text: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of shell in which $fetchml is the command."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {text}"],
        env={**user.environment(), "fetchml": COMMAND, **env},
        cwd=user.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def on_terminal(
    user: User, *words: str, columns: int = 80, env: dict[str, str | None] | None = None
) -> tuple[int, str]:
    """Calls a command on a terminal of its own; returns the exit code and what the terminal got."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [COMMAND, *words],
        env=user.environment({"TERM": "xterm", **(env or {})}),
        cwd=user.project,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    chunks: list[bytes] = []
    with suppress(OSError):  # EIO: the last one who had the terminal open has closed it
        while chunk := os.read(master, 65_536):
            chunks.append(chunk)
    os.close(master)
    return process.wait(), b"".join(chunks).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("command", ["status", "info good", "config show", "--help", "queue --help"])
def test_a_reader_that_has_enough_ends_the_command_in_silence(library: Library, command: str) -> None:
    done = through_shell(library.user, f'"$fetchml" {command} | head -c 1 > /dev/null')
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_a_long_output_into_a_closed_pipe_ends_with_141(own_library: Library) -> None:
    user = own_library.user
    path = user.runs / own_library.completed / "attempts" / "1" / "output.log"
    path.chmod(0o644)
    path.write_bytes(b"a line of output\n" * 200_000)
    done = through_shell(user, '"$fetchml" logs good | head -1')
    assert (done.returncode, done.stdout, done.stderr) == (141, "a line of output\n", "")


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "info good",
        "logs good",
        "validate good",
        "--version",
        "wait good",
    ],
)
def test_notes_that_cannot_be_written_change_nothing(library: Library, command: str) -> None:
    done = through_shell(library.user, f'"$fetchml" {command} 2>/dev/full')
    assert done.returncode == 0
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("command", ["status", "info good", "logs good", "validate good", "--version", "--help"])
def test_a_full_output_is_an_error_without_a_traceback(library: Library, command: str) -> None:
    done = through_shell(library.user, f'"$fetchml" {command} >/dev/full')
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 6


@pytest.mark.parametrize("command", ["status", "queue --quiet train.py", "init --quiet"])
def test_a_full_output_is_named_as_such(user: User, command: str) -> None:
    done = through_shell(user, f'"$fetchml" {command} >/dev/full')
    assert done.returncode == 6
    assert "`?`" not in done.stderr
    assert "output" in done.stderr
    assert "nothing was half-written" not in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", "<&-"])
@pytest.mark.parametrize(
    "command", ["--version", "info good", "status --json", "status", "queue train.py", "logs good"]
)
def test_without_stdin_or_stderr_everything_works(own_library: Library, command: str, closed: str) -> None:
    done = through_shell(own_library.user, f'"$fetchml" {command} {closed}')
    assert done.returncode == 0
    assert done.stdout


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize(
    "command", ["status", "info good", "logs good", "queue train.py", "cancel waiting", "config show"]
)
def test_without_stdout_a_command_does_its_work(own_library: Library, command: str, closed: str) -> None:
    assert through_shell(own_library.user, f'"$fetchml" {command} {closed}').returncode == 0


@pytest.mark.parametrize("command", ["--version", "--help", "status --json", "init"])
def test_without_stdout_nothing_looks_like_a_bug(own_library: Library, command: str) -> None:
    done = through_shell(own_library.user, f'"$fetchml" {command} >&-')
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_without_stderr_errors_do_not_turn_up_on_stdout(user: User) -> None:
    done = through_shell(user, '"$fetchml" info nosuch 2>&-')
    assert (done.returncode, done.stdout) == (3, "")


def test_without_stderr_the_json_stays_clean(user: User) -> None:
    done = through_shell(user, '"$fetchml" queue --json train.py 2>&-')
    assert json.loads(done.stdout)["dry_run"] is False


def test_on_a_terminal_states_have_colours(library: Library) -> None:
    code, text = on_terminal(library.user, "status")
    assert code == 0
    assert "\x1b[32mcompleted\x1b[0m" in text
    assert "\x1b[31mfailed\x1b[0m" in text
    is_safe_text(COLOUR.sub("", text))


@pytest.mark.parametrize(
    "env",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FETCHML_COLOR": "never"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}],
    ids=repr,
)
@pytest.mark.parametrize("command", [("status",), ("info", "good"), ("info", "nosuch"), ("--help",), ("validate", "@")])
def test_who_wants_no_colour_gets_none(library: Library, command: tuple[str, ...], env: dict[str, str | None]) -> None:
    _, text = on_terminal(library.user, *command, env=env)
    assert "\x1b" not in text
    assert text


@pytest.mark.parametrize("variable", [{"FORCE_COLOR": "1"}, {"CLICOLOR_FORCE": "1"}, {"FETCHML_COLOR": "always"}])
def test_colour_can_be_asked_for_in_a_pipe_and_json_never_has_it(library: Library, variable: dict[str, Any]) -> None:
    assert "\x1b[32m" in library.user.call("status", env=variable).out
    assert "\x1b" not in library.user.call("status", "--json", env=variable).out
    assert "\x1b" not in library.user.call("info", "--json", "nosuch", env=variable).err


@pytest.mark.parametrize("columns", [0, 1, 20, 40, 80, 132, 1000])
def test_no_width_breaks_a_table(library: Library, columns: int) -> None:
    code, text = on_terminal(library.user, "status", columns=columns, env={"NO_COLOR": "1"})
    assert code == 0
    for run_id in (library.completed, library.failed, library.cancelled, library.queued):
        assert run_id in text
    assert len({line.index("  ") for line in text.splitlines()[3:]}) == 1


def test_a_table_is_cut_at_the_edge_of_the_terminal_and_only_there(library: Library) -> None:
    _, narrow = on_terminal(library.user, "status", columns=82, env={"NO_COLOR": "1"})
    assert max(len(line) for line in narrow.splitlines()[2:]) <= 82
    assert "…" in narrow
    assert "…" not in library.user.call("status", env={"COLUMNS": "82"}).out


@pytest.mark.parametrize("columns", ["1", "-5", "0", "nonsense", "9" * 30])
def test_a_nonsensical_width_is_survived(user: User, columns: str) -> None:
    for words in (("--help",), ("status",), ("queue", "--help")):
        done = user.call(*words, env={"COLUMNS": columns})
        assert (done.code, done.err) == (0, "")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "LANG": "C"}, {"LC_ALL": "xx_YY.nonsense"}], ids=repr
)
def test_no_locale_is_needed(library: Library, env: dict[str, str | None]) -> None:
    for words in (("status",), ("info", "good"), ("validate", "good"), ("logs", "good")):
        done = library.user.call(*words, env=env)
        assert (done.code, done.err) == (0, ""), words


@pytest.mark.parametrize("env", [ASCII, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}], ids=repr)
def test_an_output_without_utf8_shows_what_it_can(user: User, env: dict[str, str | None]) -> None:
    run_id = user.queue("--name", "größe-λ", "train.py")
    user.call("cancel", user.queue("train.py"))
    for words in (("status",), ("info", run_id), ("info", "--json", run_id)):
        done = user.call(*words, env=env)
        assert done.code == 0, done.err
        assert run_id in done.out


def test_an_error_is_shown_in_every_encoding(user: User) -> None:
    is_refused(user.call("queue", "größe.py", env={"PYTHONIOENCODING": "ascii"}), 2, "there is no script", "gr")


def test_the_output_of_a_run_is_raw_in_a_pipe_and_tame_on_a_terminal(own_library: Library) -> None:
    user = own_library.user
    path = user.runs / own_library.completed / "attempts" / "1" / "output.log"
    path.chmod(0o644)
    raw = b"\x1b[2Jclear\x07 \xff\x9b31m \xe2\x80\xae\n 10%\r 20%\r\ndone"
    path.write_bytes(raw)
    piped = subprocess.run(
        [COMMAND, "logs", "good"], env=user.environment(), cwd=user.project, capture_output=True, check=True
    )
    assert piped.stdout == raw
    _, shown = on_terminal(user, "logs", "good")
    is_safe_text(shown)
    assert "\\x1b[2Jclear\\x07" in shown
    assert " 10%\n 20%\ndone" in shown
