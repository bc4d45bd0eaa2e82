"""Makes a run store as a lab has it after years: many runs that have ended, and a long queue.

Called as `crowding.py HOME ENDED QUEUED`. Runs that have ended are an empty folder and a row of the index, since lists
read no more of them; those that wait have whole records.
"""

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from fetchml.models.queueing import Queueing
from fetchml.models.resources import ResourceRequest
from fetchml.store.index import RunIndex, RunRow
from fetchml.testing.builders import make_manifest, make_plan

home, ended, queued = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = home / "store"
(store / "runs").mkdir(parents=True)
plan = make_plan(resources=ResourceRequest(gpus=1))
template = make_manifest(plan, queueing=Queueing()).model_dump(mode="json")
names = ("2026-11-20_" + "".join(letters) for letters in itertools.product("abcdefghijkmnpqrstuvwxyz", repeat=6))


def record(number: int, name: str) -> dict[str, Any]:
    """Returns a record of a run of its own."""
    made = json.loads(json.dumps(template))
    made["identity"] |= {"run_id": name, "user": f"user{number % 20}", "priority": number % 11}
    return made


rows: list[RunRow] = []
for number, name in zip(range(ended + queued), names, strict=False):
    folder = store / "runs" / name
    folder.mkdir()
    if number < queued:
        (folder / "run_manifest.json").write_text(json.dumps(record(number, name)), encoding="utf-8")
        (folder / "plan.json").write_text(plan.model_dump_json(), encoding="utf-8")
        continue
    rows.append(
        RunRow(
            run_id=name,
            stamp="",
            name="train",
            state="completed",
            user=f"user{number % 20}",
            priority=5,
            queued_at="2026-11-20T12:00:00Z",
            started_at="2026-11-20T12:00:01Z",
            ended_at=f"2026-11-20T12:{number // 60 % 60:02}:{number % 60:02}Z",
            end_reason="ok",
            exit_code=0,
            engine="docker",
            host="desk",
            group=None,
            tags="[]",
            command='["python", "train.py"]',
            gpus=1.0,
        )
    )
index = RunIndex(store)
index.keep(rows)
os.sync()
if len(index.rows()) != ended + queued:
    raise SystemExit("not every run is listed")
