"""Lists runs: how many are where, and the latest ones."""

from collections import Counter
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path
from typing import Any, cast

from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon
from fetchml.daemons.waiting import read_waiting
from fetchml.execution.stall import read_stall
from fetchml.link.login import read_login
from fetchml.service.dead import dead_runs
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex, RunRow


@dataclass(frozen=True, slots=True)
class Listed:
    """One run in a list."""

    row: RunRow
    position: int | None
    """Place among those that wait; None if it does not wait or nobody has looked yet."""
    reasons: tuple[str, ...]
    """What it waits for."""
    stall: str | None = None
    """Why the attempt that has begun cannot go on now; it is tried again."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the queue."""

    counts: dict[str, int]
    """Runs by state, of all runs."""
    runs: tuple[Listed, ...]
    """Those that run, those that wait in their order, then the latest that ended."""
    total: int
    worker_alive: bool


def status(settings: Settings, limit: int, *, dead: bool = False) -> Overview:
    """Returns the state of the queue.

    Args:
        settings: The settings of this call.
        limit: Runs to list at most.
        dead: List the runs that are out of retries and were not queued again, and no others.
    """
    if read_login(settings.home) is None:
        return overview(settings, limit, dead=dead)
    found = cast("dict[str, Any]", _asked(settings, limit, dead=dead))
    runs = [
        Listed(RunRow(*item["row"]), item["position"], tuple(item["reasons"]), item["stall"]) for item in found["runs"]
    ]
    return Overview(found["counts"], tuple(runs), found["total"], found["worker_alive"])


def overview(settings: Settings, limit: int, *, dead: bool = False) -> Overview:
    """Returns the state of the queue as it is in the run store of this host; see `status`."""
    rows = RunIndex(settings.store).rows()
    waiting = read_waiting(settings.services)
    chosen = dead_runs(rows) if dead else rows
    # Those that have ended may be a hundred thousand, of which a few are shown.
    listed = [_listed(row, waiting, settings.store / "runs") for row in chosen if not row.is_final]
    listed.sort(key=_order)
    ended = (row for row in chosen if row.is_final)
    latest = nlargest(max(0, limit - len(listed)), ended, key=lambda row: row.ended_at or row.queued_at)
    listed += [Listed(row, None, ()) for row in latest]
    return Overview(
        counts=dict(Counter(row.state for row in rows)),
        runs=tuple(listed[:limit]),
        total=len(chosen),
        worker_alive=Daemon(settings.services, "worker").is_alive(),
    )


def _asked(settings: Settings, limit: int, *, dead: bool) -> object:
    from fetchml.link.client import Link

    login = read_login(settings.home)
    assert login is not None  # noqa: S101  # it was there a moment ago
    return Link(login).get("/v1/status", {"limit": limit, "dead": int(dead)}).json()


def _listed(row: RunRow, waiting: dict[str, tuple[int, tuple[str, ...]]], runs: Path) -> Listed:
    if row.state == "queued":
        return Listed(row, *waiting.get(row.run_id, (None, ())))
    return Listed(row, None, (), None if row.is_final else read_stall(RunFolder(runs / row.run_id)))


def _order(item: Listed) -> tuple[int, int, int, str]:
    """Running first, then the queue in its own order."""
    row = item.row
    if row.state == "queued":
        return (1, item.position or 1_000_000, -row.priority, row.queued_at)
    return (0, 0, 0, row.queued_at)
