"""Says what a command would be queued as, what keeps it out of the queue, and how far it could be trusted."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fetchml.admission.decide import Decision, decide
from fetchml.admission.lab import Pending
from fetchml.config.layers import Configuration
from fetchml.config.settings import Settings
from fetchml.datasets.catalogue import Dataset
from fetchml.execution.staged import Way, way_of
from fetchml.home import Home
from fetchml.models.dataset import DatasetSpec
from fetchml.models.host import user_name
from fetchml.objects.memory import MemoryObjects
from fetchml.queueing.look import Moment, Queue
from fetchml.service.queue import QueueRequest, check_texts, default_name, offer_to
from fetchml.service.resolve import Examined, examine

_THIS_RUN = "this run"


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
    decision: Decision | None
    """What would be decided about it now; None as long as its request is not clear."""
    waiting: int
    """Runs that wait now."""
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
    moment = Queue(home).look()
    offer = offer_to(request, home)
    examined = examine(request.words, configuration, home, MemoryObjects(), offer, request.cwd)
    # Where no worker has run yet, this host is the lab.
    moment = replace(moment, lab=replace(moment.lab, hosts=offer.hosts))
    return Explanation(
        examined=examined,
        name=request.name or default_name(request.words),
        priority=settings.priority,
        decision=_decided(request, examined, settings, moment),
        waiting=len(moment.pending) + len(moment.resting),
        data=tuple(_data_ways(examined, home)),
    )


def _decided(request: QueueRequest, examined: Examined, settings: Settings, moment: Moment) -> Decision | None:
    """Returns what would be decided about a run if it was queued now."""
    if examined.resources is None or not moment.lab.hosts:
        return None
    run = Pending(
        run_id=_THIS_RUN,
        priority=settings.priority,
        queued_at=moment.now,
        request=examined.resources,
        user=user_name(),
        group=request.group,
        host=settings.host,
        archs=examined.archs,
    )
    decisions = decide((*moment.pending, run), moment.lab, moment.policy, moment.now)
    return next(item for item in decisions if item.run_id == _THIS_RUN)


def _data_ways(examined: Examined, home: Home) -> Iterator[DataWay]:
    for item in examined.plan.datasets if examined.plan is not None else ():
        entry = home.datasets.find(DatasetSpec(item.name, checksum=item.checksum))
        yield DataWay(entry, way_of(entry, home))
