"""Ed25519 (RFC 8032) by `cryptography`, which is imported only when something is signed or checked."""

from typing import TYPE_CHECKING

from fetchml.errors import Corrupt, Unavailable
from fetchml.models.key import key_id_of
from fetchml.models.manifest import SealSignature, Sign

if TYPE_CHECKING:
    from types import ModuleType


def generate() -> tuple[str, str]:
    """Returns a new key: its private and its public half, in hexadecimal."""
    key = _library().Ed25519PrivateKey.generate()
    return key.private_bytes_raw().hex(), key.public_key().public_bytes_raw().hex()


def make_signer(private_key: str, public_key: str) -> Sign:
    """Returns what signs with a key.

    Raises:
        Corrupt: The halves do not belong together.
    """
    key = _library().Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_key))
    if key.public_key().public_bytes_raw().hex() != public_key:
        raise Corrupt(
            f"the halves of key `{key_id_of(public_key)}` do not belong together",
            hint="`fetchml keys rotate` makes a new key",
            code="key-damaged",
        )

    def sign(message: bytes) -> SealSignature:
        return SealSignature(signature=key.sign(message).hex(), key_id=key_id_of(public_key), public_key=public_key)

    return sign


def verify(public_key: str, message: bytes, signature: str) -> bool:
    """Tells whether a signature of a message was made with the private half of a key."""
    from cryptography.exceptions import InvalidSignature

    try:
        key = _library().Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _library() -> "ModuleType":
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise Unavailable(
            "the package `cryptography` cannot be loaded",
            detail=str(error),
            hint="install fetchml anew with its dependencies",
            code="no-cryptography",
        ) from error
    return ed25519
