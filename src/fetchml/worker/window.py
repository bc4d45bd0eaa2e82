"""What the worker reads of Prefect as it places runs: the limits of the pool, and the flow runs of what may start."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterTags,
)

from fetchml.prefect_api.dispatch import attempt_of, priority_of
from fetchml.queueing.look import PoolLimits

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

_FRESH_S = 1.5
"""Limits that keep runs waiting are read again after this time; those that let a run start, each time."""
_PAGE = 200


class Window:
    """The pool of one store in Prefect.

    Args:
        pool: Name of the work pool.
        tag: Tag of the store's flow runs.
    """

    def __init__(self, pool: str, tag: str) -> None:
        self._pool = pool
        self._tag = tag
        self._limits = PoolLimits()
        self._read_s = float("-inf")

    async def limits(self, client: "PrefectClient", *, is_fresh: bool = False) -> PoolLimits:
        """Returns how many runs may be started; what is paused may start none.

        Args:
            client: Who to ask.
            is_fresh: Whether they must be those of this moment.
        """
        if is_fresh or time.monotonic() - self._read_s > _FRESH_S:
            pool = await client.read_work_pool(self._pool)
            by_priority: dict[int, int] = {}
            for queue in await client.read_work_queues(self._pool, limit=_PAGE):
                priority = priority_of(queue.name)
                limit = 0 if queue.is_paused else queue.concurrency_limit
                if priority is not None and limit is not None:
                    by_priority[priority] = limit
            self._limits = PoolLimits(0 if pool.is_paused else pool.concurrency_limit, by_priority)
            self._read_s = time.monotonic()
        return self._limits

    async def flow_runs(self, client: "PrefectClient", run_ids: Sequence[str]) -> "dict[tuple[str, int], FlowRun]":
        """Returns the flow runs of some runs, by run and attempt."""
        found: dict[tuple[str, int], FlowRun] = {}
        for start in range(0, len(run_ids), _PAGE):
            wanted = FlowRunFilter(
                name=FlowRunFilterName(any_=list(run_ids[start : start + _PAGE])),
                tags=FlowRunFilterTags(all_=[self._tag]),
            )
            for flow_run in await client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE):
                found[flow_run.name, attempt_of({"idempotency_key": flow_run.idempotency_key})] = flow_run
        return found
