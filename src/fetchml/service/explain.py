"""Says what a command would be queued as, what keeps it out of the queue, and how far it could be trusted."""

from collections.abc import Iterator
from dataclasses import dataclass

from fetchml.config.layers import Configuration
from fetchml.datasets.catalogue import Dataset
from fetchml.execution.staged import Way, way_of
from fetchml.home import Home
from fetchml.models.dataset import DatasetSpec
from fetchml.objects.memory import MemoryObjects
from fetchml.service.queue import QueueRequest, check_texts, default_name, host_capacity
from fetchml.service.resolve import Examined, examine
from fetchml.store.index import RunIndex


@dataclass(frozen=True, slots=True)
class DataWay:
    """How a dataset would come to this host if the run started now."""

    dataset: Dataset
    way: Way


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen if the command was queued now."""

    examined: Examined
    name: str
    priority: int
    ahead: int
    """Runs that wait and would be placed before it, as far as priority and age tell."""
    data: tuple[DataWay, ...] = ()
    """How the datasets would come to this host, in the order of the plan."""


def explain(request: QueueRequest, configuration: Configuration) -> Explanation:
    """Resolves and checks a command as `queue` does, and collects everything that is wrong; stores nothing.

    Args:
        request: What would be queued.
        configuration: The settings of this call.

    Raises:
        ConfigError: A name, tag or note is not accepted.
    """
    settings = configuration.settings
    home = Home(settings)
    check_texts(request)
    examined = examine(request.words, configuration, home, MemoryObjects(), host_capacity(home), request.cwd)
    waiting = [row for row in RunIndex(settings.store).unfinished() if row.state == "queued"]
    return Explanation(
        examined=examined,
        name=request.name or default_name(request.words),
        priority=settings.priority,
        ahead=sum(row.priority >= settings.priority for row in waiting),
        data=tuple(_data_ways(examined, home)),
    )


def _data_ways(examined: Examined, home: Home) -> Iterator[DataWay]:
    for item in examined.plan.datasets if examined.plan is not None else ():
        entry = home.datasets.find(DatasetSpec(item.name, checksum=item.checksum))
        yield DataWay(entry, way_of(entry, home))
