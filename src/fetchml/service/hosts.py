"""The hosts of the lab: what they have, and who holds it."""

from dataclasses import dataclass

from fetchml.admission.lab import Holding, HostState
from fetchml.config.settings import Settings
from fetchml.home import Home
from fetchml.queueing.look import Queue
from fetchml.store.hosts import KnownHost


@dataclass(frozen=True, slots=True)
class LabHost:
    """One host."""

    known: KnownHost
    state: HostState | None
    """As decisions see it; None if its worker has never published."""
    holding: tuple[Holding, ...]
    """What its runs hold."""


def hosts(settings: Settings) -> list[LabHost]:
    """Returns the hosts of the lab, by name.

    Args:
        settings: The settings of this call.
    """
    home = Home(settings)
    lab = Queue(home).look().lab
    states = {state.name: state for state in lab.hosts}
    return [
        LabHost(item, states.get(item.name), tuple(held for held in lab.holding if held.host == item.name))
        for item in home.hosts.known()
    ]
