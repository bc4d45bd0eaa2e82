"""The reference says what the code does: generated pages are current, and nothing is left out."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import jsonschema
import pytest
from pydantic import BaseModel

from docs.markdown import DOCS, ROOT, page
from docs.test_commands import root_context
from fetchml.cli.app import app
from fetchml.cli.main import EXIT_CLOSED_PIPE, EXIT_INTERRUPTED
from fetchml.config.layers import RUN_VARIABLES
from fetchml.engine import process_engine
from fetchml.errors import FetchmlError
from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.models.status import EndReason, State
from fetchml.store.folder import AttemptFolder, RunFolder

SAMPLES = ROOT / "tests" / "data"
INTERNAL_VARIABLES = {"FETCHML_PRIVATE_SERVER", "FETCHML_WORKER_LOCKED", "FETCHML_HOST_NAME"}
"""Between fetchml's own processes; no run sees them."""


def rows(name: str) -> set[str]:
    """Returns the first cells of all table rows of a page, without the marks of code."""
    lines = page(name).text.splitlines()
    return {line.split("|")[1].strip().strip("`") for line in lines if line.startswith("| ")}


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Yields path, command and context of every command that does something."""
    pending = [("fetchml", app, root_context())]
    while pending:
        path, command, context = pending.pop()
        if not hasattr(command, "list_commands"):
            yield path, command, context
            continue
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            inner = found.make_context(name, [], parent=context, resilient_parsing=True)
            pending.append((f"{path} {name}", found, inner))


def test_the_generated_pages_are_current(generate: ModuleType) -> None:
    texts: dict[Path, str] = generate.pages()
    stale = [str(path) for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


def test_only_generated_pages_say_so(generate: ModuleType) -> None:
    mark = "Made by docs/generate.py"
    marked = {path for path in DOCS.rglob("*.md") if mark in path.read_text(encoding="utf-8").partition("\n")[0]}
    assert marked == {path for path in generate.pages() if path.suffix == ".md"}


def _without_required(value: Any) -> Any:
    """The published schemas require more than pydantic's: constants are always written."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _without_required(item) for key, item in items if key not in ("required", "title")}
    return [_without_required(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("name", "model"), [("run_manifest.schema.json", RunManifest), ("plan.schema.json", Plan)], ids=["manifest", "plan"]
)
def test_the_published_schema_is_that_of_the_code(name: str, model: type[BaseModel]) -> None:
    published = json.loads((DOCS / "reference" / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(published)
    assert published.pop("$schema")
    assert published.pop("$id")
    assert _without_required(published) == _without_required(model.model_json_schema(mode="validation"))


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("manifests/1.0/*.json")), ids=lambda path: path.stem)
def test_saved_manifests_fit_the_published_schema(path: Path) -> None:
    schema = json.loads((DOCS / "reference" / "run_manifest.schema.json").read_text(encoding="utf-8"))
    validator: Any = jsonschema.Draft202012Validator(schema)
    sample = json.loads(path.read_text(encoding="utf-8"))
    validator.validate(sample)
    del sample["identity"]["run_id"]
    assert not validator.is_valid(sample)


@pytest.mark.parametrize("reason", EndReason)
def test_every_end_reason_is_documented(reason: EndReason) -> None:
    assert reason.value in rows("reference/end-reasons.md")


def _all_errors(kind: type[FetchmlError] = FetchmlError) -> Iterator[type[FetchmlError]]:
    for found in kind.__subclasses__():
        yield found
        yield from _all_errors(found)


def test_every_exit_code_is_documented() -> None:
    codes = {str(kind.exit_code) for kind in _all_errors()} | {"0", "1", str(EXIT_INTERRUPTED), str(EXIT_CLOSED_PIPE)}
    assert {cell for cell in rows("reference/exit-codes.md") if cell.isdigit()} == codes


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained(state: State) -> None:
    assert state.value in page("explanation/how-a-run-flows.md").text


def test_every_command_is_documented() -> None:
    sections = {text.strip("`") for _, text in page("reference/cli.md").headings()}
    assert {path for path, _, _ in commands()} <= sections


def test_every_json_output_is_documented() -> None:
    printing = {
        path
        for path, command, context in commands()
        if any("--json" in item.opts for item in command.get_params(context))
    }
    sections = {text.strip("`") for level, text in page("reference/json-output.md").headings() if level == 2}
    assert sections == printing


@pytest.mark.parametrize("kind", [RunFolder, AttemptFolder])
def test_every_file_of_a_run_folder_is_documented(kind: type) -> None:
    made = kind(Path("folder"))
    parts = [name for name, item in inspect.getmembers(kind) if isinstance(item, property)]
    names = {value.name for name in parts if isinstance(value := getattr(made, name), Path)}
    assert names
    documented = {cell.rstrip("/").rpartition("/")[2] for cell in rows("reference/run-folder.md")}
    assert names - documented == {"attempts"} & names  # a folder of folders: its files are documented by path


def test_every_variable_of_a_run_is_documented() -> None:
    text = page("reference/environment-of-a-run.md").text
    passed_on: tuple[str, ...] = vars(process_engine)["_PASSED_ON"]
    for name in (*(RUN_VARIABLES - INTERNAL_VARIABLES), *passed_on):
        assert f"`{name}`" in text
    assert not any(name in text for name in INTERNAL_VARIABLES)
