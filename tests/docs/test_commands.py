"""Command lines in the pages are accepted by the real command line; none of them is run."""

from pathlib import Path
from typing import Any

import pytest

from docs.markdown import Block, Page, pages
from docs.shell import LANGUAGES, fetchml_calls, lines
from fetchml.cli.app import app

BLOCKS = [block for source in pages() for block in source.blocks() if block.language in LANGUAGES]
SPANS = [
    (source, span)
    for source in pages()
    for span in dict.fromkeys(source.spans)
    if span.startswith("fetchml ") and not span.split()[1][0].isupper()  # those are names of blocks
]


def root_context() -> Any:
    """Returns the context of `fetchml` itself."""
    return app.make_context("fetchml", [], resilient_parsing=True)


def option_names(command: Any, context: Any) -> set[str]:
    """Returns every option of a command, long and short, on and off."""
    return {name for item in command.get_params(context) for name in (*item.opts, *item.secondary_opts)}


def find(words: list[str]) -> tuple[Any, Any, list[str]]:
    """Returns the command that is called, its parent's context, and the words that are left for it."""
    command, context, rest = app, root_context(), list(words)
    while hasattr(command, "list_commands"):
        while rest and rest[0].startswith("-"):
            option = rest.pop(0)
            assert option in option_names(command, context), f"`{option}` is no option here"
        if not rest:
            return command, context, rest
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command `{name}`"
        if hasattr(found, "list_commands"):
            context = found.make_context(name, [], parent=context, resilient_parsing=True)
        command = found
    return command, context, rest


def parse(words: list[str]) -> None:
    """Reads a command line as the program does, without running it."""
    command, context, rest = find(words)
    if not hasattr(command, "list_commands"):
        command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_command_line_is_accepted(block: Block) -> None:
    for line in lines(block):
        for words in fetchml_calls(line):
            parse(words)


@pytest.mark.parametrize(("source", "span"), SPANS, ids=str)
def test_commands_in_the_text_exist(source: Page, span: str) -> None:
    words = [word for word in span.split()[1:] if word != "..."]
    command, context, rest = find(words)
    known = option_names(command, context)
    for word in rest:
        if word == "--" or not word.startswith("-"):
            if command.name == "queue":
                break  # from the script on, options are its own
            continue
        assert word.partition("=")[0] in known, f"{source}: `{word}` is no option of `{command.name}`"


def test_there_are_command_lines_to_check() -> None:
    assert sum(len(fetchml_calls(line)) for block in BLOCKS for line in lines(block)) > 50


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("fetchml info @ | grep metric", [["info", "@"]]),
        ("A=1 B=2 fetchml queue x.py --lr 1", [["queue", "x.py", "--lr", "1"]]),
        ("first=$(fetchml queue -q x.py); fetchml wait $first", [["queue", "-q", "x.py"], ["wait", "$first"]]),
        ('echo "$(fetchml up --json)" && fetchml down', [["up", "--json"], ["down"]]),
        ("fetchml queue -- bash -c 'a && b | c' 2>/dev/null", [["queue", "--", "bash", "-c", "a && b | c"]]),
        ("fetchml status   # what 'runs, what waits", [["status"]]),
        ("echo fetchml", []),
        ("./fetchml up", []),
    ],
)
def test_calls_are_found(line: str, calls: list[list[str]]) -> None:
    assert fetchml_calls(line) == calls


@pytest.mark.parametrize(
    "words",
    [["nosuch"], ["server", "nosuch"], ["info"], ["status", "--nosuch"], ["queue", "--gpu", "x.py"], ["--nosuch"]],
    ids=" ".join,
)
def test_what_is_wrong_is_refused(words: list[str]) -> None:
    with pytest.raises((Exception, AssertionError)):
        parse(words)


def test_options_of_the_script_are_its_own() -> None:
    parse(["queue", "x.py", "--no-option-of-ours"])


def test_sessions_and_scripts_are_read_by_their_own_rules(tmp_path: Path) -> None:
    made = Page(tmp_path / "page.md")
    made.path.write_text("```console\n$ one\ntwo\n```\n```sh\n# three\nfour \\\n  five\n```\n", encoding="utf-8")
    assert [list(lines(block)) for block in made.blocks()] == [["one"], ["four    five"]]
