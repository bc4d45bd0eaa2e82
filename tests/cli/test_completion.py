"""Shell completion: commands, options and runs; a faulty set-up never writes into the prompt."""

import pytest

from cli.calls import Done, User
from cli.conftest import Library


def completed(user: User, line: str, **env: str | None) -> Done:
    """Returns what bash is offered for the last word of a line."""
    variables: dict[str, str | None] = {
        "_FETCHML_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    return user.call(env={**variables, **env})


def test_a_shell_gets_a_script_of_its_own(user: User) -> None:
    done = user.call("--show-completion", before=("bash", "-c", '"$@"; exit $?', "bash"))
    assert (done.code, done.err) == (0, "")
    assert "_FETCHML_COMPLETE=complete_bash" in done.out
    assert not user.home.exists()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fetchml st", ["status", "stats"]),
        ("fetchml va", ["validate"]),
        ("fetchml zzz", []),
        ("fetchml server ", ["status"]),
        ("fetchml queue --en", ["--engine", "--env"]),
        ("fetchml status --li", ["--limit"]),
    ],
)
def test_commands_and_options_are_offered(user: User, line: str, offered: list[str]) -> None:
    done = completed(user, line)
    assert (done.code, done.err) == (0, "")
    assert done.out.split() == offered


@pytest.mark.parametrize("command", ["info", "logs", "validate", "status"])
def test_runs_are_offered_by_id_and_by_name(library: Library, command: str) -> None:
    by_id = completed(library.user, f"fetchml {command} {library.completed[:11]}").out.split()
    assert {library.queued, library.completed, library.failed, library.cancelled} == set(by_id)
    assert completed(library.user, f"fetchml {command} go").out.split() == ["good"]


def test_fish_is_told_what_each_run_is(library: Library) -> None:
    env: dict[str, str | None] = {
        "_FETCHML_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_ARGS": f"fetchml info {library.completed[:12]}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = library.user.call(env=env)
    assert f"{library.completed}\tcompleted good" in done.out.splitlines()


def test_without_runs_nothing_is_offered(user: User) -> None:
    done = completed(user, "fetchml info ")
    assert (done.code, done.out.strip(), done.err) == (0, "", "")
    assert not user.home.exists()


@pytest.mark.parametrize("fault", ["broken settings", "a home that is a file", "a wrong variable", "no words"])
def test_a_fault_offers_nothing_and_says_nothing(user: User, fault: str) -> None:
    env: dict[str, str | None] = {}
    match fault:
        case "broken settings":
            user.settings("a: [")
        case "a home that is a file":
            user.home.write_text("a file")
        case "a wrong variable":
            env["FETCHML_ENGINE"] = "nonsense"
        case _:
            env["COMP_WORDS"] = None
    done = completed(user, "fetchml info 2026", **env)
    assert (done.out.strip(), done.err) == ("", "")


@pytest.mark.parametrize("command", ["cancel", "wait"])
def test_what_has_ended_is_not_offered_to_cancel_or_wait(library: Library, command: str) -> None:
    offered = completed(library.user, f"fetchml {command} 2").out.split()
    assert offered == [library.queued]
