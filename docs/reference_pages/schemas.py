"""The published JSON Schemas of the saved shapes."""

import json
from typing import Any, cast

from pydantic import BaseModel

from fetchml.models.manifest import MANIFEST_SCHEMA_VERSION, RunManifest
from fetchml.models.plan import PLAN_SCHEMA_VERSION, Plan

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def schema_of(model: type[BaseModel]) -> Schema:
    """Returns the JSON Schema of a saved shape.

    A field with one possible value is required: fetchml always writes it, and it tells the shapes apart.
    """
    schema = model.model_json_schema(mode="validation")
    for shape in (schema, *cast("dict[str, Schema]", schema.get("$defs", {})).values()):
        properties = cast("dict[str, Schema]", shape.get("properties", {}))
        required = {name for name, item in properties.items() if "const" in item} | set(shape.get("required", ()))
        if required:
            shape["required"] = [name for name in properties if name in required]
    return schema


def manifest_schema() -> str:
    """Returns the JSON Schema of `run_manifest.json`, as it is published."""
    return _text(RunManifest, f"urn:fetchml:run_manifest:{MANIFEST_SCHEMA_VERSION}", "fetchml run manifest")


def plan_schema() -> str:
    """Returns the JSON Schema of `plan.json`, as it is published."""
    return _text(Plan, f"urn:fetchml:plan:{PLAN_SCHEMA_VERSION}", "fetchml plan")


def _text(model: type[BaseModel], identifier: str, title: str) -> str:
    head = {"$schema": DIALECT, "$id": identifier, "title": title}
    body = {key: value for key, value in schema_of(model).items() if key != "title"}
    return json.dumps({**head, **body}, indent=2) + "\n"
