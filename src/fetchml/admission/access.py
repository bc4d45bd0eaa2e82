"""Which hosts a run may go to, apart from what is free there."""

from datetime import datetime

from fetchml.admission.lab import Dedication, HostState
from fetchml.admission.needs import Needs
from fetchml.admission.reasons import Blocker, Reason


def never_open(needs: Needs, state: HostState, user: str, group: str | None) -> Reason | None:
    """Returns why a host will never take a run, whatever it has; None if it may."""
    if needs.host is not None and needs.host != state.name:
        return Reason(Blocker.HOST, where=needs.host)
    if not needs.suits_arch(state.capacity.arch):
        return Reason(Blocker.ARCH, where=state.name, who=(" or ".join(needs.archs), str(state.capacity.arch)))
    dedication = state.dedication
    if dedication is not None and dedication.until is None and not _is_for(dedication, user, group):
        return _dedicated(state, dedication)
    return None


def not_open_now(state: HostState, user: str, group: str | None, now: datetime) -> Reason | None:
    """Returns why a host takes nothing new of a user just now; None if it does."""
    if state.is_drained:
        return Reason(Blocker.DRAINED, where=state.name)
    if state.is_silent:
        return Reason(Blocker.SILENT, where=state.name)
    dedication = state.dedication
    if dedication is None or _is_for(dedication, user, group) or (dedication.until and dedication.until <= now):
        return None
    return _dedicated(state, dedication)


def _is_for(dedication: Dedication, user: str, group: str | None) -> bool:
    return user in dedication.users or (group is not None and group in dedication.groups)


def _dedicated(state: HostState, dedication: Dedication) -> Reason:
    return Reason(
        Blocker.DEDICATED, where=state.name, who=(*dedication.users, *dedication.groups), until=dedication.until
    )
