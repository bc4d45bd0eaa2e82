"""What Prefect says about the pool of this home's runs, for those who are not its worker."""

from typing import Any, cast

from fetchml.config.settings import Settings
from fetchml.daemons.server import PrivateServer
from fetchml.errors import FetchmlError
from fetchml.prefect_api.client import PrefectClient
from fetchml.prefect_api.dispatch import priority_of
from fetchml.queueing.look import PoolLimits

_TIMEOUT_S = 5
_PAGE = 200


def pool_limits(settings: Settings) -> tuple[PoolLimits | None, tuple[str, ...]]:
    """Returns the limits of the pool and its queues, and notes on what is paused or does not answer."""
    api_url = settings.prefect_api_url or PrivateServer(settings).api_url
    if api_url is None:
        return None, ("the Prefect server is not running; `fetchml up` starts it",)
    pool = settings.prefect_pool
    try:
        with PrefectClient(api_url, timeout_s=_TIMEOUT_S) as client:
            found = client.get(f"/work_pools/{pool}")
            listed = client.post(f"/work_pools/{pool}/queues/filter", {"limit": _PAGE})
    except FetchmlError as error:
        return None, (f"Prefect does not say what its limits are: {error.summary}",)
    notes: list[str] = []
    by_priority: dict[int, int] = {}
    for queue in cast("list[dict[str, Any]]", listed):
        priority = priority_of(str(queue["name"]))
        limit = 0 if queue["is_paused"] else queue["concurrency_limit"]
        if priority is not None and limit is not None:
            by_priority[priority] = int(limit)
            if queue["is_paused"]:
                notes.append(f"the work queue of priority {priority} is paused in Prefect")
    if found["is_paused"]:
        notes.append(f"the work pool `{pool}` is paused in Prefect")
    limit = 0 if found["is_paused"] else found["concurrency_limit"]
    return PoolLimits(None if limit is None else int(limit), by_priority), tuple(notes)
