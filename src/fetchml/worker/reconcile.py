"""Keeps Prefect in step with the run store, which is the truth.

Flow runs that are missing are created, those of ended runs are closed, and a cancellation asked for in the Prefect UI
becomes one of ours. Doing it twice changes nothing.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

from fetchml.errors import Conflict, FetchmlError, NotFound
from fetchml.execution.cancel import BY_PREFECT, cancel_unstarted
from fetchml.home import Home
from fetchml.models.claim import CancelRequest
from fetchml.models.manifest import RunManifest
from fetchml.models.status import State
from fetchml.prefect_api.client import PrefectClient
from fetchml.prefect_api.dispatch import Dispatcher, attempt_of, bootstrap, store_tag
from fetchml.store.index import RunRow

_PAGE = 200
_LIVE = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")
_PENDING_FOR_LONG_S = 60
"""A worker that died between Prefect's `Pending` and its claim leaves a flow run that nobody would look at again."""


class Reconciler:
    """Compares one store with one Prefect API.

    Args:
        home: The home folder.
        api_url: The API.
        pool: Work pool of the store's runs.
        logger: Where repairs are noted.
    """

    def __init__(
        self, home: Home, api_url: str, pool: str, logger: "logging.Logger | logging.LoggerAdapter[Any]"
    ) -> None:
        self._home = home
        self._api_url = api_url
        self._pool = pool
        self._logger = logger
        self._dispatcher: Dispatcher | None = None
        self.repairs = 0
        """Differences that were mended so far."""

    def look(self, *, whole: bool) -> bool:
        """Mends what differs.

        Args:
            whole: Compare everything, not only cancellations and runs that were never dispatched.

        Returns:
            True if there may be something to start now.
        """
        client = PrefectClient(self._api_url)
        try:
            if self._dispatcher is None:
                self._dispatcher = bootstrap(client, self._pool)
                whole = True
            dispatcher = Dispatcher(client, self._pool, self._dispatcher.deployment_id)
            live = list(self._flow_runs(dispatcher, _LIVE if whole else ("CANCELLING",)))
            for run in live:
                self._compare(dispatcher, run)
            return self._dispatch(dispatcher, {_key(run) for run in live}) if whole else False
        except NotFound:
            self._dispatcher = None  # the deployment is gone: the server was reset
            return False
        finally:
            client.close()

    def _compare(self, dispatcher: Dispatcher, flow_run: dict[str, Any]) -> None:
        run_id = str(flow_run["name"])
        try:
            manifest = self._home.store.read_manifest(run_id)
        except NotFound:
            return  # the worker turns it away when it becomes due
        except FetchmlError as error:
            self._logger.warning("%s", str(error).replace("\n", "; "))
            return
        attempt = attempt_of(flow_run)
        if manifest.is_over(attempt):
            self._close(dispatcher, flow_run, manifest)
        elif flow_run["state_type"] == "CANCELLING":
            self._cancel(run_id, manifest)
        elif flow_run["state_type"] == "PENDING" and manifest.status.state is State.QUEUED:
            since = datetime.now(UTC) - datetime.fromisoformat(flow_run["state"]["timestamp"])
            if since.total_seconds() > _PENDING_FOR_LONG_S and not self._is_claimed(run_id, attempt):
                self._reschedule(dispatcher, flow_run)

    def _close(self, dispatcher: Dispatcher, flow_run: dict[str, Any], manifest: RunManifest) -> None:
        attempt, carried_out_by = attempt_of(flow_run), manifest.prefect
        if attempt == manifest.attempt and carried_out_by and carried_out_by.flow_run_id != flow_run["id"]:
            state: dict[str, object] = {"type": "CANCELLED", "message": "another flow run carried this run out"}
        else:
            state = state_of(manifest, attempt)
        dispatcher.client.post(f"/flow_runs/{flow_run['id']}/set_state", {"state": state, "force": True})
        self.repairs += 1
        self._logger.info("closed the flow run of %s as %s", flow_run["name"], state["type"])

    def _cancel(self, run_id: str, manifest: RunManifest) -> None:
        request = CancelRequest(by=BY_PREFECT, at=datetime.now(UTC))
        try:
            is_first = self._home.store.request_cancel(run_id, request)
        except Conflict:
            return  # it ended in this moment; the next look closes its flow run
        if is_first:
            self.repairs += 1
            self._logger.info("cancelling run %s, as asked for in Prefect", run_id)
        if manifest.status.state is State.QUEUED:
            cancel_unstarted(self._home.store, run_id, BY_PREFECT, lambda: datetime.now(UTC), self._home.keys.signer)

    def _dispatch(self, dispatcher: Dispatcher, live: set[tuple[str, int]]) -> bool:
        """Creates or revives the flow runs of queued runs that have no live one."""
        rows = self._home.index.unfinished()
        missing = [row for row in rows if row.state == State.QUEUED and (row.run_id, row.attempt) not in live]
        ended = {_key(run): run for run in self._named(dispatcher, [row.run_id for row in missing])}
        for row in missing:
            if self._is_claimed(row.run_id, row.attempt):
                continue  # taken a moment ago
            self._revive(dispatcher, row, ended.get((row.run_id, row.attempt)))
        return bool(missing)

    def _revive(self, dispatcher: Dispatcher, row: RunRow, flow_run: dict[str, Any] | None) -> None:
        store = self._home.store
        manifest = store.read_manifest(row.run_id)
        if flow_run is None:
            dispatcher.create_flow_run(manifest, store.read_plan(row.run_id), row.attempt, self._home.lab_id)
            self._logger.info("dispatched run %s", row.run_id)
        elif flow_run["state_type"] == "CANCELLED":
            self._cancel(row.run_id, manifest)
            return
        else:
            # It ended in Prefect without us, crashed perhaps; the run is still owed.
            self._reschedule(dispatcher, flow_run)
            return
        self.repairs += 1

    def _reschedule(self, dispatcher: Dispatcher, flow_run: dict[str, Any]) -> None:
        state = {"type": "SCHEDULED", "message": "the run store says it has not started"}
        dispatcher.client.post(f"/flow_runs/{flow_run['id']}/set_state", {"state": state, "force": True})
        self.repairs += 1
        self._logger.info("scheduled run %s again: Prefect had it as %s", flow_run["name"], flow_run["state_type"])

    def _is_claimed(self, run_id: str, attempt: int) -> bool:
        return self._home.store.read_claim(run_id, attempt) is not None

    def _flow_runs(self, dispatcher: Dispatcher, states: Iterable[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = cast(
                "list[dict[str, Any]]",
                dispatcher.client.post(
                    "/flow_runs/filter",
                    {
                        "flow_runs": {
                            "deployment_id": {"any_": [dispatcher.deployment_id]},
                            "state": {"type": {"any_": list(states)}},
                            "tags": {"all_": [store_tag(self._home.lab_id)]},
                        },
                        "sort": "EXPECTED_START_TIME_ASC",
                        "limit": _PAGE,
                        "offset": len(found),
                    },
                ),
            )
            found += page
            if len(page) < _PAGE:
                return found

    def _named(self, dispatcher: Dispatcher, names: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(names), _PAGE):
            body = {
                "flow_runs": {
                    "deployment_id": {"any_": [dispatcher.deployment_id]},
                    "name": {"any_": names[start : start + _PAGE]},
                    "tags": {"all_": [store_tag(self._home.lab_id)]},
                },
                "limit": _PAGE,
            }
            found += cast("list[dict[str, Any]]", dispatcher.client.post("/flow_runs/filter", body))
        return found


def _key(flow_run: dict[str, Any]) -> tuple[str, int]:
    """Returns which run and which attempt of it a flow run is for."""
    return str(flow_run["name"]), attempt_of(flow_run)


def state_of(manifest: RunManifest, attempt: int) -> dict[str, object]:
    """Returns the Prefect state that says how an attempt ended that is over."""
    for earlier in manifest.attempts:
        if earlier.attempt == attempt:
            message = f"{earlier.end_reason}: {earlier.summary}; another attempt follows"
            return {"type": "FAILED", "name": "Retried", "message": message}
    summary = manifest.diagnosis.summary if manifest.diagnosis else str(manifest.status.state)
    match manifest.status.state:
        case State.COMPLETED:
            return {"type": "COMPLETED", "name": "Completed", "message": summary}
        case State.CANCELLED:
            return {"type": "CANCELLED", "name": "Cancelled", "message": summary}
        case State.REFUSED:
            return {"type": "FAILED", "name": "Refused", "message": summary}
        case _:
            return {"type": "FAILED", "name": "Failed", "message": f"{manifest.end_reason}: {summary}"}
