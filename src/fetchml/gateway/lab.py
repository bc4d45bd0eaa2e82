"""What the gateway serves: the parts of the control host's home."""

from dataclasses import dataclass, field

from fetchml.home import Home
from fetchml.keys.access import AccessKeys
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.hosts import DirectoryHosts


@dataclass(frozen=True, slots=True)
class Lab:
    """The control host, as the gateway uses it."""

    home: Home
    keys: AccessKeys
    store: DirectoryRunStore = field(init=False)
    hosts: DirectoryHosts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", DirectoryRunStore(self.home.settings.store))
        object.__setattr__(self, "hosts", DirectoryHosts(self.home.settings.store))


def make_lab(home: Home) -> Lab:
    """Returns what the gateway of a home serves."""
    return Lab(home, AccessKeys(home.path / "gateway"))
