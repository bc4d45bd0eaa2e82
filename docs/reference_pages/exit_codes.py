"""The page of exit codes and error codes, from the error classes and the places that raise them."""

import ast
import inspect
from pathlib import Path

import fetchml
from fetchml import errors
from fetchml.cli.main import EXIT_CLOSED_PIPE, EXIT_INTERRUPTED
from fetchml.errors import FetchmlError
from reference_pages.writing import code, flat, page, table

SOURCE = Path(fetchml.__file__).resolve().parent


def _classes() -> list[type[FetchmlError]]:
    found = [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, FetchmlError)]
    return sorted((item for item in found if item is not FetchmlError), key=lambda item: item.exit_code)


def _codes() -> dict[str, str]:
    """Returns the class of error under which each stable word is used, read from the source."""
    names = {item.__name__ for item in _classes()}
    found: dict[str, str] = {item.default_code: item.__name__ for item in _classes()}
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
                continue
            for keyword in node.keywords:
                value = keyword.value
                word = value.value if isinstance(value, ast.Constant) else constants.get(getattr(value, "id", ""))
                if keyword.arg == "code" and isinstance(word, str):
                    found[word] = node.func.id
    return found


def exit_codes_page() -> str:
    """Returns the page of exit codes and error codes."""
    by_name = {item.__name__: item for item in _classes()}
    rows = [("0", "", "It worked. With `--wait`, `--follow` and `fetchml wait`: every run completed.", "")]
    rows.append(("1", "", "A run that was waited for failed, was cancelled or was refused.", ""))
    rows += [
        (str(item.exit_code), item.__name__, flat(inspect.getdoc(item) or ""), code(item.action)) for item in _classes()
    ]
    rows.append((str(EXIT_INTERRUPTED), "", "Ctrl-C; what was queued goes on in the background.", ""))
    rows.append((str(EXIT_CLOSED_PIPE), "", "Whoever read the output closed the pipe, as `head` does.", ""))
    codes = [
        (code(word), str(by_name[name].exit_code), name)
        for word, name in sorted(_codes().items(), key=lambda pair: (by_name[pair[1]].exit_code, pair[0]))
    ]
    return page(
        "Exit codes",
        "The exit code says what to do next. It is part of the command line's contract: a code keeps its meaning.",
        table(("Code", "Error", "Meaning", "Next"), rows),
        "Some commands report a state by their exit code without an error: `fetchml server status` and "
        "`fetchml doctor` end with 6 if something is missing or wrong, `fetchml validate` ends with 7 if a check "
        "failed. How the payload itself ended is in the manifest (`exit_code`, `end_reason`), not here.",
        "## Errors\n\nAn error has a summary, sometimes a detail, and where possible a hint. With `--json` it is one "
        "object on stderr:\n\n"
        '```json\n{\n  "error": {\n    "code": "no-such-run",\n    "summary": "there is no run `nosuch`",\n'
        '    "detail": null,\n    "hint": "`fetchml status` lists runs",\n    "exit_code": 3\n  }\n}\n```',
        "`code` is a stable word. These exist:",
        table(("Code", "Exit code", "Error"), codes),
    )
