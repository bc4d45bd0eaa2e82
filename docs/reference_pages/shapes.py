"""The pages of the saved shapes: every section and field of the manifest and the plan, from their models."""

from collections.abc import Iterator, Mapping
from typing import cast

from pydantic import BaseModel

from fetchml.models.manifest import EDITABLE_SECTIONS, MANIFEST_SCHEMA_VERSION, RunManifest
from fetchml.models.plan import PLAN_SCHEMA_VERSION, Plan
from reference_pages.schemas import Schema, schema_of
from reference_pages.writing import code, flat, page, sentence, table

_ELSEWHERE = {"EndReason": "[end reason](end-reasons.md)"}
"""Enums that have a page of their own."""

_WORDS = {"null": "null", "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def manifest_page() -> str:
    """Returns the page of the manifest's sections."""
    editable = " and ".join(code(name) for name in sorted(EDITABLE_SECTIONS & set(RunManifest.model_fields)))
    return page(
        "The run manifest",
        f"`run_manifest.json`, schema version `{MANIFEST_SCHEMA_VERSION}`. The machine's form of this page is "
        "[run_manifest.schema.json](run_manifest.schema.json). Where the file is and who writes it: "
        "[run-folder.md](run-folder.md). fetchml writes all fields, but those of which it says that they are left out; "
        "a reader accepts a file without those that are not required.",
        "Three rules hold that a JSON Schema cannot say. `times`, `exit_code` and `end_reason` repeat what `status` "
        "says. A run that has ended has a `seal`. The digest in the seal is the SHA-256 of the RFC 8785 form of every "
        f"section but `seal` itself and {editable}, which may be edited afterwards. `fetchml validate` checks them.",
        "A moment is an RFC 3339 time in UTC, such as `2026-11-21T04:38:11.480088Z`. Sizes are bytes and their names "
        "end in `_bytes`; lengths of time are seconds and their names end in `_s`.",
        *_Shape(RunManifest).sections(),
    )


def plan_page() -> str:
    """Returns the page of the plan's fields."""
    return page(
        "The plan",
        f"`plan.json`, schema version `{PLAN_SCHEMA_VERSION}`: everything that decides what a run computes, written "
        "when it is queued and never changed. The machine's form of this page is [plan.schema.json](plan.schema.json).",
        "`plan_sha256` is the SHA-256 of the plan's RFC 8785 form. `fetchml queue --dry-run` shows it, the manifest "
        "holds it, and the worker computes it again before it starts anything. Two runs with one hash were asked to "
        "do the same. Priority, user, name, note, tags and host are not in the plan: they cannot change a result.",
        *_Shape(Plan).sections(),
    )


class _Shape:
    """Describes a model and those inside it, each once."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._schema = schema_of(model)
        self._definitions = cast("dict[str, Schema]", self._schema.get("$defs", {}))
        self._anchors: dict[str, str] = {}

    def sections(self) -> Iterator[str]:
        """Yields the table of the whole, then a section for each field that holds models."""
        properties = cast("dict[str, Schema]", self._schema["properties"])
        inside = {name: self._new_models(name, item) for name, item in properties.items()}
        yield self._fields(self._schema)
        for name, models in inside.items():
            if not models:
                continue
            yield f"## {code(name)}"
            for definition in models:
                head = "" if self._anchors[definition] == name else f"### {self._title(definition)}\n\n"
                shape = self._definitions[definition]
                yield f"{head}{flat(shape.get('description', ''))}\n\n{self._fields(shape)}"

    def _new_models(self, field: str, schema: Schema) -> list[str]:
        """Returns the models inside a field that no field before it had, and decides where each is described."""
        found = [name for name in dict.fromkeys(self._names(schema)) if "properties" in self._definitions[name]]
        new = [name for name in found if name not in self._anchors]
        is_union = "oneOf" in schema
        for name in new:
            of_its_own = is_union or name != found[0]
            self._anchors[name] = self._title(name).strip("`").lower() if of_its_own else field
        return new

    def _names(self, schema: object) -> Iterator[str]:
        """Yields the definitions a schema refers to, outermost first."""
        if isinstance(schema, dict):
            for key, value in cast("Mapping[str, object]", schema).items():
                if key == "$ref":
                    name = str(value).rpartition("/")[2]
                    yield name
                    yield from self._names(self._definitions[name])
                elif key != "discriminator":
                    yield from self._names(value)
        elif isinstance(schema, list):
            for item in cast("list[object]", schema):
                yield from self._names(item)

    def _title(self, name: str) -> str:
        """Returns the heading of a model: its state for a status, else its name."""
        state = self._definitions[name].get("properties", {}).get("state", {})
        return code(state["const"]) if "const" in state else name

    def _fields(self, schema: Schema) -> str:
        required = set(schema.get("required", ()))
        rows = [
            (code(name), self._kind(item), "yes" if name in required else "no", self._meaning(item))
            for name, item in cast("dict[str, Schema]", schema["properties"]).items()
        ]
        return table(("Field", "Value", "Required", "Meaning"), rows)

    def _kind(self, schema: Schema) -> str:
        """Returns what a value may be, in words."""
        if "$ref" in schema:
            return self._named(str(schema["$ref"]).rpartition("/")[2])
        if "const" in schema:
            return code(str(schema["const"]))
        if "enum" in schema:
            return "one of " + ", ".join(code(word) for word in schema["enum"])
        if "oneOf" in schema or "anyOf" in schema:
            return " or ".join(self._kind(item) for item in schema.get("oneOf", schema.get("anyOf", ())))
        match schema["type"]:
            case "array":
                return f"list of: {self._kind(schema['items'])}"
            case "object":
                return f"mapping of names to: {self._kind(schema['additionalProperties'])}"
            case "string" if schema.get("format") == "date-time":
                return "moment"
            case other:
                return _WORDS[other]

    def _named(self, name: str) -> str:
        if name in _ELSEWHERE:
            return _ELSEWHERE[name]
        definition = self._definitions[name]
        if "enum" in definition:
            return self._kind(definition)
        anchor = self._anchors[name]
        return f"[{anchor if anchor in self._schema['properties'] else self._title(name)}](#{anchor})"

    @staticmethod
    def _meaning(schema: Schema) -> str:
        text = sentence(schema["description"]) if "description" in schema else ""
        default = schema.get("default")
        if default in (None, "", []) or "const" in schema:
            return text
        return f"{text} Default: {code(str(default).lower() if isinstance(default, bool) else str(default))}."
