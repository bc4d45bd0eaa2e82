"""The fields of a block as fetchml's commands read them, so that both ways end in the same checks."""

from pathlib import Path
from typing import TypeVar

from prefect.blocks.core import Block
from pydantic import SecretStr, ValidationError

from fetchml.config.blocks import BlockFields

_B = TypeVar("_B", bound=Block)


def fields_of(block: Block) -> BlockFields:
    """Returns the fields of a block that was loaded or made in Python, secrets included."""
    name = getattr(block, "_block_document_name", None) or "without a name"
    return BlockFields(f"{block.get_block_type_slug()}/{name}", _plain(block))


def block_of(fields: BlockFields, kind: type[_B]) -> _B:
    """Returns the block that fields describe.

    Raises:
        ConfigError: One of them does not do; no value is in the message.
    """
    try:
        return kind.model_validate(dict(fields.values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise fields.wrong(".".join(str(part) for part in first["loc"]), first["msg"]) from None


def _plain(block: Block) -> dict[str, object]:
    return {field: _value(getattr(block, field)) for field in type(block).model_fields}


def _value(value: object) -> object:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case Block():
            return _plain(value)
        case _:
            return value
