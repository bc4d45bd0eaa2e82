"""Pages have the form that readers rely on."""

import re

import pytest

from docs.markdown import DOCS, Page, page, pages

OURS = [item for item in pages() if item.path.is_relative_to(DOCS)]
DECISIONS = [Page(path) for path in sorted((DOCS / "decisions").glob("*.md"))]
LANGUAGES = {"bash", "console", "json", "mermaid", "python", "sh", "text", "yaml"}


@pytest.mark.parametrize("source", OURS, ids=str)
def test_a_page_begins_with_its_title_and_what_it_is_for(source: Page) -> None:
    paragraphs = [part for part in source.text.split("\n\n") if not part.startswith("<!--")]
    assert paragraphs[0].startswith("# ")
    assert re.match(r"[A-Z`a-z]", paragraphs[1]), "after the title comes a paragraph that says what the page is for"
    assert [level for level, _ in source.headings()].count(1) == 1


@pytest.mark.parametrize("source", OURS, ids=str)
def test_code_blocks_say_their_language(source: Page) -> None:
    assert {block.language for block in source.blocks()} <= LANGUAGES


@pytest.mark.parametrize("source", DECISIONS, ids=str)
def test_a_decision_is_short_and_complete(source: Page) -> None:
    (_, title), *sections = source.headings()
    assert title.startswith(f"{int(source.path.name[:4])}. ")
    assert [text for level, text in sections if level == 2] == ["Context", "Decision", "Consequences", "Alternatives"]
    assert re.search(r"^(Accepted|Superseded), \d{4}-\d{2}-\d{2}\.", source.text, re.MULTILINE)
    assert len(source.text.splitlines()) <= 60


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(item.path.name[:4]) for item in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert len(DECISIONS) >= 13


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    headings = [text for level, text in Page(DOCS.parent / "CHANGELOG.md").headings() if level == 2]
    assert headings[0] == "[Unreleased]"


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^- \*\*(.+?)\*\*: ", page("glossary.md").text, re.MULTILINE)
    assert len(words) > 40
    assert words == sorted(words, key=str.lower)
