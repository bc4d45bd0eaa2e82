"""What is logged stays on its line, whatever it holds."""

import io
import logging

import pytest

from fetchml.daemons.log_lines import OneLine, one_line
from fetchml.errors import Unavailable

FORGED = "x\n2026-11-20 10:00:00 | INFO | worker - admin logged in"


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.Logger("a log")  # noqa: LOG001  # nobody else has it
    logger.addHandler(handler)
    logger.addFilter(OneLine())
    return logger, sink


@pytest.mark.parametrize(
    "text",
    [FORGED, "a\r\nb", "\x1b[2J", "\x1b]8;;http://x\x07y", "\x9b31m", "\u202eabc", "a\u2028b", "\x85", "\udcff", "\0"],
    ids=ascii,
)
def test_no_text_begins_a_record_of_its_own(log: tuple[logging.Logger, io.StringIO], text: str) -> None:
    logger, sink = log
    logger.warning("the run %s broke off: %s", text, Unavailable(text, detail=text))
    logger.warning(text)
    lines = sink.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and line.startswith("WARNING ") for line in lines)


def test_what_can_be_seen_stays_as_it_is(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, sink = log
    logger.info("100 %% of %s: %s", "größe", "a\\nb")
    assert sink.getvalue() == "INFO 100 % of größe: a\\nb\n"
    assert one_line("") == ""


def test_the_log_of_flows_is_kept_on_lines() -> None:
    from fetchml.flows import process

    assert any(isinstance(item, OneLine) for item in process._logger.filters)
