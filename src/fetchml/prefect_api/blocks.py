"""Reads blocks of a Prefect server, secrets included, without importing Prefect."""

from typing import Any, cast
from urllib.parse import quote

from fetchml.config.blocks import TITLES, BlockFields
from fetchml.errors import ConfigError, NotFound
from fetchml.prefect_api.client import PrefectClient


def read_block(client: PrefectClient, slug: str, name: str) -> BlockFields:
    """Returns the fields of a block.

    Args:
        client: The server's API.
        slug: Type of the block.
        name: Its name.

    Raises:
        ConfigError: There is no such block, or the server refuses this user.
        Unavailable: The server does not answer.
    """
    title = f"{TITLES.get(slug, slug)}/{name}"
    try:
        found: object = client.get(
            f"/block_types/slug/{slug}/block_documents/name/{quote(name, safe='')}?include_secrets=true"
        )
    except NotFound:
        raise _missing(client, slug, name) from None
    fields = cast("dict[str, Any]", found).get("data") if isinstance(found, dict) else None
    if not isinstance(fields, dict):
        raise ConfigError(
            f"the block `{title}` cannot be read",
            detail=f"{client.api_url} answers with something else",
            hint="check that `prefect.api_url` is the address of a Prefect server",
            code="bad-block",
        )
    return BlockFields(title, cast("dict[str, object]", fields))


def _missing(client: PrefectClient, slug: str, name: str) -> ConfigError:
    """Returns the error for a block that is not there, with the types of those that have its name."""
    title = TITLES.get(slug, slug)
    same = cast(
        "list[dict[str, Any]]", client.post("/block_documents/filter", {"block_documents": {"name": {"any_": [name]}}})
    )
    types = sorted({str(cast("dict[str, Any]", item.get("block_type") or {}).get("name")) for item in same})
    other = f"; the block of that name is of type `{'`, `'.join(types)}`" if types else ""
    return ConfigError(
        f"there is no block `{name}` of type `{title}` on the Prefect server",
        detail=f"asked {client.api_url}{other}",
        hint="make it in Prefect's UI, under Blocks; a server that does not know the type learns it by"
        " `prefect block register -m fetchml.blocks`",
        code="no-such-block",
    )
