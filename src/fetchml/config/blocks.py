"""Blocks of a Prefect server as settings name them, and their fields as they are read: by name, checked, never shown.

Whoever edits a block in Prefect's UI is not stopped by any rule, so each field is checked when it is read.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from fetchml.config.kinds import Text
from fetchml.errors import ConfigError

CONTAINER_ENGINE = "fetchml-container-engine"
DATASET_CATALOGUE = "fetchml-dataset-catalogue"
S3_CREDENTIALS = "fetchml-s3-credentials"
SNAPSHOT_STORE = "fetchml-snapshot-store"
"""Slugs of the types, as Prefect's API names them."""

TITLES = {
    CONTAINER_ENGINE: "fetchml Container Engine",
    DATASET_CATALOGUE: "fetchml Dataset Catalogue",
    S3_CREDENTIALS: "fetchml S3 Credentials",
    SNAPSHOT_STORE: "fetchml Snapshot Store",
}
"""What people see of each type."""

_T = TypeVar("_T")
_LONGEST = 4096
_NAME = re.compile(r"[a-z0-9-]{1,100}", re.ASCII)


class BlockName(Text):
    """The name of a block."""

    def __init__(self) -> None:
        super().__init__(100, optional=True)
        self.expected = "the name of a block: small letters, digits and dashes"

    def from_text(self, text: str) -> object:
        read = super().from_text(text)
        if read is not None and _NAME.fullmatch(text) is None:
            raise ConfigError(f"`{text[:60]}` is not the name of a block", detail=f"expected {self.expected}")
        return read


class BlockFields:
    """The fields of one block. Errors name the block and the field, and never repeat a value.

    Args:
        block: How errors name it, such as `fetchml S3 Credentials/lab`.
        values: Field by field.
    """

    def __init__(self, block: str, values: Mapping[str, object]) -> None:
        self.block = block
        self.values = values

    def __repr__(self) -> str:
        return f"BlockFields({self.block!r})"

    def text(self, field: str) -> str:
        """Returns a field that has to be there.

        Raises:
            ConfigError: It is missing, or no printable text.
        """
        found = self.optional_text(field)
        if found is None:
            raise self.wrong(field, "it is empty")
        return found

    def optional_text(self, field: str) -> str | None:
        """Returns a field, or None if it is left empty.

        Raises:
            ConfigError: It is no printable text.
        """
        value = self.values.get(field)
        if value is None:
            return None
        # Prefect's form has fields of several lines, into which a line break is easily pasted.
        text = value.strip() if isinstance(value, str) else "\0"
        if len(text) > _LONGEST or not text.isprintable():
            raise self.wrong(field, "it is not a line of text")
        return text or None

    def optional_path(self, field: str) -> Path | None:
        """Returns a field that holds an absolute path, or None if it is left empty.

        Raises:
            ConfigError: It holds another path, or none.
        """
        text = self.optional_text(field)
        if text is None:
            return None
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            path = Path(text)
        if not path.is_absolute():
            raise self.wrong(field, "it is not an absolute path")
        return path

    def nested(self, field: str) -> "BlockFields | None":
        """Returns the block that a field refers to, or None if it is left empty.

        Raises:
            ConfigError: It is no block.
        """
        value = self.values.get(field)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(field, "it is not a block")
        return BlockFields(f"{self.block}, its field `{field}`", cast("Mapping[str, object]", value))

    def read(self, field: str, reader: Callable[[str], _T], text: str) -> _T:
        """Returns what a reader makes of a field's text; what the reader refuses is an error of the block.

        Raises:
            ConfigError: The reader refuses it.
        """
        try:
            return reader(text)
        except ConfigError as error:
            raise self.wrong(field, error.detail or error.summary) from None

    def wrong(self, field: str, why: str) -> ConfigError:
        """Returns the error of a field that does not do."""
        return ConfigError(
            f"the block `{self.block}` cannot be used",
            detail=f"its field `{field}`: {why}",
            hint="edit the block in Prefect's UI, under Blocks",
            code="bad-block",
        )


ReadBlock = Callable[[str, str], BlockFields]
"""Reads a block by the slug of its type and its name."""


def nowhere(slug: str, name: str) -> BlockFields:
    """Refuses to read blocks, where there is no server to ask.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError(f"the block `{TITLES.get(slug, slug)}/{name}` cannot be read here", code="no-such-block")
