"""Ignore files that were made to take for ever: what they match is told at once."""

from pathlib import Path

import pytest

from fetchml.errors import ConfigError
from fetchml.snapshot.patterns import Patterns, compiled
from fetchml.snapshot.scan import scan
from unit.snapshot.projects import LIMITS, Write

DEEP = "a/" * 990 + "c"
LONG = "a" * 255

ENDLESS = [
    pytest.param("*a" * 40 + "b", LONG, False, id="stars in a name"),
    pytest.param("*a" * 40 + "*", LONG, True, id="stars that fit"),
    pytest.param("*?" * 200 + "b", LONG, False, id="stars and question marks"),
    pytest.param("*[ab]" * 100 + "c", LONG, False, id="stars and sets"),
    pytest.param("**/a/" * 80 + "b", DEEP, False, id="folders"),
    pytest.param("**/a/" * 80 + "c", DEEP, True, id="folders that fit"),
    pytest.param("**/*a*/" * 80 + "b", DEEP, False, id="folders with stars"),
    pytest.param("a/**/" * 80 + "**", DEEP, True, id="all below folders"),
    pytest.param("*/" * 900 + "b", DEEP, False, id="one star a folder"),
    pytest.param("**/" * 300 + "x", DEEP, False, id="nothing but folders"),
    pytest.param("*" * 10_000 + "b", LONG, False, id="a row of stars"),
    pytest.param("[[:" * 80_000, LONG, False, id="classes that are never closed"),
    pytest.param("[" * 200_000, LONG, False, id="sets that are never closed"),
    pytest.param("[[:x" * 60_000 + "]", LONG, False, id="classes in a set that is closed"),
    pytest.param("\\a" * 100_000, LONG, False, id="backslashes"),
]


def matches(patterns: Patterns, path: str) -> bool:
    found = any(regex.match(path.encode()) is not None for regex, _ in patterns.lines)
    assert (patterns.any_of.match(path.encode()) is not None) == found
    return found


@pytest.mark.parametrize(("line", "path", "expected"), ENDLESS)
def test_no_line_takes_for_ever(line: str, path: str, expected: bool) -> None:
    patterns = compiled([line])
    assert matches(patterns, path) is expected
    assert matches(patterns, path + "/") is expected


def test_the_last_of_two_lines_that_say_the_same_counts() -> None:
    assert [left_out for _, left_out in compiled(["a", "b", "!a"]).lines] == [False, True]
    assert compiled(["", "#a", "!", "/", "[", "[[:nonsense:]]"]).lines == ()
    assert compiled([]).any_of.match(b"") is None


def test_files_with_too_many_lines_or_bytes_are_refused(project: Path, write: Write) -> None:
    write({"a.py": "", ".gitignore": "x\n" * 4_999})
    assert len(scan(project, LIMITS)) == 2
    write({".gitignore": "x\n" * 5_001})
    with pytest.raises(ConfigError, match="more than 5000 lines"):
        scan(project, LIMITS)
    write({".gitignore": "x" * (256 * 1024 + 1)})
    with pytest.raises(ConfigError, match="larger than 256 KB"):
        scan(project, LIMITS)


def test_thousands_of_lines_are_compared_at_once(project: Path, write: Write) -> None:
    lines = "".join(f"*{number}*{number}*/**/x\n*{number}*.log\n!keep{number}.log\n" for number in range(1_600))
    write({".gitignore": lines, "keep7.log": "", "7.log": "", "a.py": ""})
    assert {item.path for item in scan(project, LIMITS)} == {b".gitignore", b"keep7.log", b"a.py"}
