"""What operators say about hosts: drained, or kept for some."""

from collections.abc import Sequence
from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.daemons.wake import wake
from fetchml.errors import NotFound
from fetchml.home import Home
from fetchml.models.host import user_name
from fetchml.models.lab_host import HostDedication, HostMarks
from fetchml.store.hosts import MarksChange


def drain(settings: Settings, names: Sequence[str], reason: str | None = None) -> list[HostMarks]:
    """Has nothing new started on hosts; what runs there goes on.

    Args:
        settings: The settings of this call.
        names: The hosts.
        reason: Why, for those who wait.

    Raises:
        NotFound: One of them is not known; none is changed.
    """
    marks = {"is_drained": True, "drain_reason": reason, "drained_by": user_name(), "drained_at": datetime.now(UTC)}
    return _mark(settings, names, lambda found: found.model_copy(update=marks))


def resume(settings: Settings, names: Sequence[str]) -> list[HostMarks]:
    """Has runs started on hosts again.

    Raises:
        NotFound: One of them is not known; none is changed.
    """
    marks = {"is_drained": False, "drain_reason": None, "drained_by": None, "drained_at": None}
    return _mark(settings, names, lambda found: found.model_copy(update=marks))


def dedicate(settings: Settings, names: Sequence[str], dedication: HostDedication | None) -> list[HostMarks]:
    """Keeps hosts for some users and groups, or for everyone again.

    Args:
        settings: The settings of this call.
        names: The hosts.
        dedication: Whom they are kept for; None: everyone.

    Raises:
        NotFound: One of them is not known; none is changed.
    """
    if dedication is not None:
        dedication = dedication.model_copy(update={"by": user_name(), "at": datetime.now(UTC)})
    return _mark(settings, names, lambda found: found.model_copy(update={"dedication": dedication}))


def _mark(settings: Settings, names: Sequence[str], change: MarksChange) -> list[HostMarks]:
    store = Home(settings).hosts
    there = {item.name for item in store.known()}
    for name in names:
        if name not in there:
            raise NotFound(
                f"no host `{name[:80]}` is known",
                detail=f"known are: {', '.join(sorted(there)) or 'none'}",
                hint="a host is known once its worker has run",
                code="no-such-host",
            )
    marks = [store.mark(name, change) for name in names]
    wake(Home(settings).wake_pipe)
    return marks
