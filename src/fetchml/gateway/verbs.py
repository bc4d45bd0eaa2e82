"""What commands ask for, answered by the same functions that carry them out on the control host."""

import json
from dataclasses import asdict
from typing import Any, cast

import fetchml
from fetchml.errors import ConfigError
from fetchml.gateway.lab import Lab
from fetchml.gateway.rules import Answer, Call, Permission, Rule, json_answer
from fetchml.service.cancel import stop_run
from fetchml.service.select import select
from fetchml.service.status import overview
from fetchml.store.index import RunIndex

_MAX_ROWS = 1_000_000


def rules(lab: Lab) -> list[Rule]:
    """Returns the routes of commands."""
    verbs = _Verbs(lab)
    return [
        Rule("GET", "/v1/me", Permission.READ, verbs.me),
        Rule("GET", "/v1/rows", Permission.READ, verbs.rows),
        Rule("POST", "/v1/rows", Permission.READ, verbs.chosen),
        Rule("GET", "/v1/find", Permission.READ, verbs.find),
        Rule("GET", "/v1/status", Permission.READ, verbs.status),
        Rule("POST", "/v1/runs/{run_id}/stop", Permission.QUEUE, verbs.stop),
    ]


class _Verbs:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._settings = lab.home.settings

    def me(self, call: Call) -> Answer:
        """Tells whose key that is, and of which lab."""
        return json_answer(
            {
                "kind": str(call.key.kind),
                "name": call.key.name,
                "permissions": sorted(call.may),
                "store_id": self._lab.home.store_id,
                "pool": self._settings.prefect_pool,
                "version": fetchml.__version__,
            }
        )

    def rows(self, call: Call) -> Answer:
        """Returns what lists show of runs, latest first."""
        index = RunIndex(self._lab.store.root)
        rows = list(reversed(index.unfinished())) if call.query.get("unfinished") else index.rows()
        return json_answer({"rows": [list(row) for row in rows[: call.number("limit", _MAX_ROWS)]]})

    def chosen(self, call: Call) -> Answer:
        """Returns what lists show of some runs."""
        try:
            run_ids = set(cast("dict[str, list[str]]", json.loads(call.body))["run_ids"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError("expected a list of runs", code="bad-body") from error
        rows = RunIndex(self._lab.store.root).rows()
        return json_answer({"rows": [list(row) for row in rows if row.run_id in run_ids]})

    def find(self, call: Call) -> Answer:
        """Returns the run that a text means."""
        rows = RunIndex(self._lab.store.root).rows()
        return json_answer({"row": list(select(rows, call.query.get("text", ""), call.key.name))})

    def status(self, call: Call) -> Answer:
        """Returns the state of the queue."""
        found = overview(self._settings, call.number("limit", 20, 100_000), dead=call.number("dead", 0, 1) == 1)
        return json_answer({**asdict(found), "runs": [asdict(item) for item in found.runs]})

    def stop(self, call: Call) -> Answer:
        """Asks for a run to stop; one that waits ends at once."""
        try:
            reason = cast("dict[str, Any]", json.loads(call.body or b"{}")).get("reason")
        except (ValueError, AttributeError, RecursionError) as error:
            raise ConfigError("expected a reason or nothing", code="bad-body") from error
        if reason is not None and (not isinstance(reason, str) or len(reason) > 10_000):
            raise ConfigError("the reason has to be a text", code="bad-body")
        outcome = stop_run(self._lab.home, call.params["run_id"], call.key.name, reason)
        return json_answer({"run_id": outcome.run_id, "state": str(outcome.state), "note": outcome.note})
