"""Whether an attempt that failed is followed by another one, and when: a pure function."""

from datetime import datetime, timedelta

from fetchml.models.queueing import Queueing
from fetchml.models.status import EndReason

_LONGEST_BACKOFF_S = 3600


def retry_at(reason: EndReason, attempt: int, queueing: Queueing | None, ended_at: datetime) -> datetime | None:
    """Returns when the next attempt may start, or None if there is none.

    Args:
        reason: How the attempt ended.
        attempt: Its number, from 1.
        queueing: How the run is tried again; None for records from before there were retries.
        ended_at: When it ended.
    """
    if queueing is None or reason not in queueing.retry_on or attempt > queueing.max_retries:
        return None
    pause_s = min(queueing.backoff_s * 2 ** (attempt - 1), _LONGEST_BACKOFF_S)
    return ended_at + timedelta(seconds=pause_s)
