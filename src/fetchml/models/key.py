"""A key that seals are signed with, as it is stored: `<home>/keys/<key id>.json`."""

import hashlib
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from fetchml.models.base import Model, UtcTime

# Lower case only: a second spelling of the same bytes would be a change that nobody notices.
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""The first 16 hexadecimal digits of the SHA-256 of the raw public key."""
PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A raw Ed25519 public key (RFC 8032), in lower-case hexadecimal."""
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
"""An Ed25519 signature (RFC 8032), in lower-case hexadecimal."""


def key_id_of(public_key: str) -> str:
    """Returns the id of a key."""
    return hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:16]


class StoredKey(Model):
    """A key of this host; once it is retired, its private half is gone."""

    model_config = ConfigDict(hide_input_in_errors=True)

    schema_version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    key_id: KeyId = Field(description="Id of the key")
    public_key: PublicKey = Field(description="Public half, hexadecimal")
    private_key: str | None = Field(
        pattern=r"^[0-9a-f]{64}$", repr=False, description="Private half, hexadecimal; null once it is retired"
    )
    created_at: UtcTime = Field(description="When it was made")
    retired_at: UtcTime | None = Field(default=None, description="When another took its place")

    @model_validator(mode="after")
    def _id_fits(self) -> Self:
        if self.key_id != key_id_of(self.public_key):
            raise ValueError("key_id is not that of the public key")
        return self
