"""Puts a new key in the place of the one that signs."""

from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.home import Home
from fetchml.keys.ring import Key


def rotate_keys(settings: Settings) -> Key:
    """Makes the new key and returns what anyone may know of it; records signed before stay verifiable.

    Raises:
        NotFound: There is no key yet.
        Forbidden: The folder of the keys is open to others, or cannot be written.
    """
    return Home(settings).keys.rotate(datetime.now(UTC))
