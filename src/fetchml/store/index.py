"""The index of the run store: a cache of what lists show, rebuilt from the run folders whenever it does not fit them.

Nobody has to keep it up to date: each reader compares it with the folders (names, and time stamps of manifests that
may still change) and reads what is new. Deleting `index.sqlite` loses nothing. Manifests are read as plain JSON here,
because validating a thousand of them would cost a status command its second.
"""

import json
import os
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, cast

from fetchml.models.ids import is_run_id

FINAL = ("completed", "failed", "cancelled", "refused")
_STATES = (*FINAL, "queued", "preparing", "running", "finalizing", "unreachable")
_SCHEMA_VERSION = 3


class RunRow(NamedTuple):
    """What lists show of a run; times are RFC 3339 text as in the manifest.

    A tuple, since a lab of years has a hundred thousand of them and every list reads them all.
    """

    run_id: str
    stamp: str
    """Identity of the manifest file this was read from."""
    name: str
    state: str
    user: str
    priority: int
    queued_at: str
    started_at: str | None
    ended_at: str | None
    end_reason: str | None
    exit_code: int | None
    engine: str | None
    host: str | None
    group: str | None
    tags: str
    """Tags as a JSON list."""
    command: str
    """Command as a JSON list."""
    gpus: float
    data_changed: int = 0
    """Datasets that changed while the run had them."""
    attempt: int = 1
    """Attempt the run is in, waits for, or ended with."""
    max_retries: int = 0
    is_dead: int = 0
    """1 if it ended in a way that is tried again, and had no attempt left."""
    parent_run: str | None = None
    not_before: str | None = None
    """When the attempt it waits for may start."""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.state in FINAL


_COLUMNS = RunRow._fields
# In brackets, as `group` is a keyword; in double quotes SQLite would take a missing column for its own name as text.
_QUOTED = ", ".join(f"[{name}]" for name in _COLUMNS)
_BEYOND_REPAIR = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

_TYPES = (
    (str, ("run_id", "stamp", "name", "state", "user", "queued_at", "tags", "command")),
    (str | None, ("started_at", "ended_at", "end_reason", "engine", "host", "group", "parent_run", "not_before")),
    (int, ("priority", "data_changed", "attempt", "max_retries", "is_dead")),
    (int | None, ("exit_code",)),
    (int | float, ("gpus",)),
)


class RunIndex:
    """The index of one store.

    Args:
        root: Folder of the store.
    """

    def __init__(self, root: Path) -> None:
        self._runs = root / "runs"
        self._file = root / "index.sqlite"

    def rows(self) -> list[RunRow]:
        """Returns all runs, latest first, as the folders have them now."""
        try:
            names = set(os.listdir(self._runs))
        except FileNotFoundError:
            return []
        known = self._load()
        gone = known.keys() - names
        # The manifest of an ended run changes only by later edits, which are looked at one run at a time.
        folder = str(self._runs)
        changed = [
            name
            for name, row in known.items()
            if row.state not in FINAL and row.stamp != stamp_of(f"{folder}/{name}/run_manifest.json")
        ]
        changed += [name for name in names - known.keys() if is_run_id(name)]
        for name in (*gone, *changed):
            known.pop(name, None)
        fresh = [row for name in changed if name not in gone and (row := self.read(name)) is not None]
        known.update((row.run_id, row) for row in fresh)
        self.keep(fresh, gone)
        return sorted(known.values(), key=_latest_first, reverse=True)

    def unfinished(self) -> list[RunRow]:
        """Returns the runs that have not ended, earliest first."""
        return [row for row in reversed(self.rows()) if not row.is_final]

    def _manifest(self, run_id: str) -> Path:
        return self._runs / run_id / "run_manifest.json"

    def read(self, run_id: str) -> RunRow | None:
        """Returns the row of one run as its folder has it now, or None if there is no such folder."""
        path = self._manifest(run_id)
        stamp = stamp_of(path)
        try:
            row = _row(stamp, cast("dict[str, Any]", json.loads(path.read_bytes())))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            row = None
        if row is not None and row.run_id == run_id and _is_sound(row) and row.state in _STATES:
            return row
        # A folder appears with its manifest in it: one without has lost it, or is gone meanwhile.
        return _damaged(run_id, stamp) if stamp or path.parent.is_dir() else None

    def _load(self) -> dict[str, RunRow]:
        try:
            with closing(self._open()) as database:
                if database.execute("PRAGMA user_version").fetchone()[0] == _SCHEMA_VERSION:
                    found = database.execute(f"SELECT {_QUOTED} FROM runs")  # noqa: S608
                    return {row[0]: RunRow._make(row) for row in found}
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) in _BEYOND_REPAIR:
                with suppress(OSError):
                    self._file.unlink()
        return {}

    def keep(self, fresh: Sequence[RunRow], gone: Collection[str] = ()) -> None:
        """Stores what was read, best effort: the next reader can do it again."""
        if not fresh and not gone:
            return
        with suppress(sqlite3.Error), closing(self._open()) as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
                database.executescript(
                    f"BEGIN; DROP TABLE IF EXISTS runs; CREATE TABLE runs ({_QUOTED}, PRIMARY KEY (run_id));"
                    f"PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
                )
            marks = ", ".join("?" * len(_COLUMNS))
            with database:
                database.executemany(
                    f"INSERT OR REPLACE INTO runs ({_QUOTED}) VALUES ({marks})",  # noqa: S608
                    fresh,
                )
                database.executemany("DELETE FROM runs WHERE run_id = ?", [(name,) for name in gone])

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=0.5)
        # It is a cache: losing it in a power cut costs nothing, waiting for the disk costs every command.
        try:
            database.execute("PRAGMA synchronous = OFF")
        except sqlite3.Error:
            database.close()
            raise
        return database


_latest_first = itemgetter(_COLUMNS.index("queued_at"), 0)


def stamp_of(path: Path | str) -> str:
    """Returns what changes whenever a file is replaced: inode, size and time; empty if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def _row(stamp: str, manifest: dict[str, Any]) -> RunRow:
    identity, times = manifest["identity"], manifest["times"]
    sandbox, placement, data = manifest.get("sandbox"), manifest.get("placement"), manifest.get("datasets", ())
    status, queueing = manifest["status"], manifest.get("queueing")
    return RunRow(
        run_id=identity["run_id"],
        stamp=stamp,
        name=identity["name"],
        state=status["state"],
        user=identity["user"],
        priority=identity["priority"],
        queued_at=times["queued_at"],
        started_at=times["started_at"],
        ended_at=times["ended_at"],
        end_reason=manifest["end_reason"],
        exit_code=manifest["exit_code"],
        engine=sandbox["engine"] if sandbox else None,
        host=placement["host"] if placement else None,
        group=identity["group"],
        tags=json.dumps(identity["tags"]),
        command=json.dumps(manifest["command"]["argv"]),
        gpus=manifest["resources"]["requested"]["gpus"],
        data_changed=sum(_has_changed(item) for item in data),
        attempt=status.get("attempt") or 1,
        max_retries=queueing["max_retries"] if queueing else 0,
        is_dead=int(status["state"] == "failed" and bool(queueing) and status["end_reason"] in queueing["retry_on"]),
        parent_run=identity["parent_run"],
        not_before=status.get("not_before"),
    )


def _has_changed(dataset: dict[str, Any]) -> bool:
    after = dataset["after"] if "after" in dataset else None  # noqa: SIM401  # whatever it is, nothing but a TypeError
    return after is not None and after["outcome"] == "changed"


def _is_sound(row: RunRow) -> bool:
    """Tells whether every value has its type: the manifest was read as plain JSON."""
    return all(isinstance(getattr(row, name), kind) for kind, names in _TYPES for name in names)


def _damaged(run_id: str, stamp: str) -> RunRow:
    """Stands for a run whose manifest cannot be read: it is listed, so that someone looks."""
    return RunRow(
        run_id=run_id,
        stamp=stamp,
        name="?",
        state="damaged",
        user="?",
        priority=0,
        queued_at=run_id[:10],
        started_at=None,
        ended_at=None,
        end_reason=None,
        exit_code=None,
        engine=None,
        host=None,
        group=None,
        tags="[]",
        command="[]",
        gpus=0,
    )
