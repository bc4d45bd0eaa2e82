#!/usr/bin/env python
"""Writes the reference pages that are made from the code.

Run it as `python docs/generate.py`; with `--check` it writes nothing and exits 1 if a page would change.
"""

import argparse
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))  # `python -m docs.generate` would not look here

from reference_pages.commands import commands_page  # noqa: E402
from reference_pages.end_reasons import end_reasons_page  # noqa: E402
from reference_pages.exit_codes import exit_codes_page  # noqa: E402
from reference_pages.schemas import manifest_schema, plan_schema  # noqa: E402
from reference_pages.settings import settings_page  # noqa: E402
from reference_pages.shapes import manifest_page, plan_page  # noqa: E402


def pages() -> dict[Path, str]:
    """Returns every generated page by its path."""
    texts = {
        "cli.md": commands_page(),
        "settings.md": settings_page(),
        "run_manifest.schema.json": manifest_schema(),
        "plan.schema.json": plan_schema(),
        "manifest.md": manifest_page(),
        "plan.md": plan_page(),
        "exit-codes.md": exit_codes_page(),
        "end-reasons.md": end_reasons_page(),
    }
    return {DOCS / "reference" / name: text for name, text in texts.items()}


def main() -> int:
    """Writes the pages that changed, or tells which would; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page would change")
    check = bool(parser.parse_args().check)
    changed = {path: text for path, text in pages().items() if _current(path) != text}
    for path, text in changed.items():
        print(f"{'would change' if check else 'wrote'} {path.relative_to(DOCS.parent)}", file=sys.stderr)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if check and changed else 0


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
