"""Makes the first key that records are signed with."""

from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.home import Home
from fetchml.keys.ring import Key


def init_keys(settings: Settings) -> Key:
    """Makes the key and returns what anyone may know of it.

    Raises:
        Conflict: There is one already.
        Forbidden: The folder of the keys is open to others, or cannot be written.
    """
    home = Home(settings)
    home.create()
    return home.keys.create(datetime.now(UTC))
