"""Every link leads somewhere, and every page is linked."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.markdown import DOCS, ROOT, Page, page, pages


def _target(source: Page, link: str) -> tuple[Path, str]:
    parts = urlsplit(link)
    path = (source.path.parent / unquote(parts.path)).resolve() if parts.path else source.path
    return path, parts.fragment


def _relative_links(source: Page) -> list[str]:
    return [link for link in source.links() if not urlsplit(link).scheme]


@pytest.mark.parametrize("source", pages(), ids=str)
def test_every_relative_link_resolves(source: Page) -> None:
    wrong: list[str] = []
    for link in _relative_links(source):
        path, anchor = _target(source, link)
        if not path.exists():
            wrong.append(f"{link}: there is no such file")
        elif not path.is_relative_to(ROOT):
            wrong.append(f"{link}: leads out of the repository")
        elif anchor and (path.suffix != ".md" or anchor not in Page(path).anchors()):
            wrong.append(f"{link}: there is no such section")
    assert wrong == []


@pytest.mark.parametrize("source", pages(), ids=str)
def test_other_links_are_encrypted_or_local(source: Page) -> None:
    schemes = {link for link in source.links() if urlsplit(link).scheme not in ("", "https")}
    assert schemes == set()


def test_pages_that_the_code_names_exist() -> None:
    wrong: list[str] = []
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").iterdir()]:
        names = re.findall(r"docs/[\w./-]+\.md", path.read_text(encoding="utf-8"))
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names if not (ROOT / name).exists()]
    assert wrong == []


def test_the_index_names_every_page_once() -> None:
    index = page("README.md")
    linked = [_target(index, link)[0] for link in _relative_links(index)]
    listed = [path for path in linked if path.is_relative_to(DOCS) and path.suffix == ".md"]
    expected = [path for path in DOCS.rglob("*.md") if path != index.path]
    assert sorted(listed) == sorted(expected)


def test_links_are_found_where_they_are_and_nowhere_else(tmp_path: Path) -> None:
    made = Page(tmp_path / "page.md")
    made.path.write_text(
        "# A `b` C!\n[one](a.md) [`two`](b.md#x)\n\n"
        "```text\n[three](c.md)\n# no heading\n```\n`[four](d.md)`\n# A b c\n",
        encoding="utf-8",
    )
    assert made.links() == ["a.md", "b.md#x"]
    assert made.anchors() == {"a-b-c", "a-b-c-1"}
    assert [block.text for block in made.blocks()] == ["[three](c.md)\n# no heading\n"]
