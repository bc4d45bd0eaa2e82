"""Markdown as far as the tests of the documentation need it: code blocks, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^\s*```(\S*)\s*$")
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    page: "Page"
    line: int
    """Line of the opening fence, from 1."""
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One page of the documentation."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """The whole page."""
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The page without code blocks, code spans and comments."""
        return _CODE.sub("``", _COMMENT.sub("", self._outside()))

    @property
    def spans(self) -> list[str]:
        """The code spans of the prose."""
        return [" ".join(match[1].split()) for match in _CODE.findall(self._outside())]

    def blocks(self) -> Iterator[Block]:
        """Yields the fenced code blocks."""
        opened: tuple[int, str] | None = None
        lines: list[str] = []
        for number, line in enumerate(self.text.splitlines(), 1):
            fence = _FENCE.match(line)
            if opened is None and fence:
                opened, lines = (number, fence.group(1)), []
            elif opened is not None and line.strip() == "```":
                yield Block(self, *opened, "\n".join(lines) + "\n")
                opened = None
            elif opened is not None:
                lines.append(line)
        assert opened is None, f"{self}:{opened} is never closed"

    def links(self) -> list[str]:
        """Returns the targets of all links."""
        return _LINK.findall(self.prose)

    def headings(self) -> list[tuple[int, str]]:
        """Returns level and text of every heading."""
        found = (_HEADING.match(line) for line in self._outside().splitlines())
        return [(len(match.group(1)), match.group(2)) for match in found if match]

    def anchors(self) -> set[str]:
        """Returns the names that links to sections of the page may use, as GitHub makes them."""
        seen: dict[str, int] = {}
        anchors: set[str] = set()
        for _, text in self.headings():
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            anchors.add(f"{name}-{seen[name]}" if name in seen else name)
            seen[name] = seen.get(name, 0) + 1
        return anchors

    def _outside(self) -> str:
        """Returns what is in no code block."""
        kept: list[str] = []
        inside = False
        for line in self.text.splitlines():
            if _FENCE.match(line):
                inside = not inside
            elif not inside:
                kept.append(line)
        return "\n".join(kept)


@cache
def pages() -> tuple[Page, ...]:
    """Returns every page: the documentation, and the readmes beside it."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    found += [path for path in (ROOT / "bench" / "README.md",) if path.exists()]
    return tuple(Page(path) for path in sorted(found))


def page(name: str) -> Page:
    """Returns a page below `docs/`."""
    return Page(DOCS / name)
