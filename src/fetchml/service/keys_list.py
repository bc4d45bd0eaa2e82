"""Lists the keys of this host."""

from fetchml.config.settings import Settings
from fetchml.home import Home
from fetchml.keys.ring import Key


def list_keys(settings: Settings) -> list[Key]:
    """Returns what anyone may know of the keys, oldest first.

    Raises:
        Corrupt: A key file is damaged.
    """
    return Home(settings).keys.listed()
