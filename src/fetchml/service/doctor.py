"""Looks at everything a run needs on this host, and mends what differs between the run store and Prefect."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fetchml.archive.state import copies_state
from fetchml.config.layers import Configuration, check_home
from fetchml.config.settings import Settings
from fetchml.daemons.log_lines import OneLine
from fetchml.daemons.server import check_versions
from fetchml.daemons.worker import read_worker_state
from fetchml.errors import ConfigError, FetchmlError
from fetchml.gpus.discover import discover
from fetchml.home import Home
from fetchml.models.plan import EngineKind
from fetchml.models.units import GIB, format_size, plural
from fetchml.objects.choose import locate, self_test, shown
from fetchml.prefect_api.client import PrefectClient
from fetchml.prefect_api.dispatch import connect
from fetchml.service.engines import engine_maker
from fetchml.service.up import ServerStatus, differing_engines, server_status
from fetchml.store.index import RunIndex
from fetchml.worker.reconcile import Reconciler

_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs"})
_LITTLE_SPACE = 5 * GIB
_SHOWN = 5
_ON_ONE_LINE = OneLine()


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    subject: str
    level: Level
    text: str
    hint: str | None = None


def doctor(configuration: Configuration, *, repair: bool) -> list[Finding]:
    """Returns what was found, in the order looked at.

    Args:
        configuration: The settings of this call.
        repair: Mend what differs between the run store and Prefect.
    """
    settings = configuration.settings
    home = Home(settings)
    findings = [Finding("settings", Level.WARNING, warning) for warning in configuration.warnings]
    findings += _home(settings)
    findings += _versions()
    findings += _resources()
    findings += _engines(home, settings)
    try:
        check_home(settings.home)
    except ConfigError:
        return findings  # nothing more can be looked at
    findings += _objects(home)
    findings += _copies(home)
    status = server_status(settings)
    findings += _services(settings, status)
    findings += _runs(home, settings, status, repair=repair)
    return findings


def _home(settings: Settings) -> Iterator[Finding]:
    path = settings.home
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir():
        yield Finding("home", Level.ERROR, f"`{existing}` is not a folder", "choose another folder with FETCHML_HOME")
        return
    if not os.access(existing, os.W_OK):
        yield Finding("home", Level.ERROR, f"`{existing}` cannot be written", "choose another folder with FETCHML_HOME")
        return
    kind = _file_system(existing)
    if kind in _NETWORK_FILE_SYSTEMS:
        yield Finding(
            "home",
            Level.ERROR,
            f"`{path}` is on a network file system ({kind}), where locks cannot be trusted",
            "choose a folder on a local disk with FETCHML_HOME",
        )
    elif kind == "tmpfs":
        yield Finding(
            "home", Level.WARNING, f"`{path}` is in memory and gone after a restart", "choose a disk with FETCHML_HOME"
        )
    else:
        yield Finding("home", Level.OK, f"`{path}` on {kind or 'a local disk'}")
    free = shutil.disk_usage(existing).free
    level = Level.OK if free >= _LITTLE_SPACE else Level.WARNING
    yield Finding("disk", level, f"{format_size(free)} free", None if level is Level.OK else "free some space")


def _versions() -> Iterator[Finding]:
    try:
        check_versions()
        yield Finding("packages", Level.OK, "versions are in the tested range")
    except FetchmlError as error:
        yield Finding("packages", Level.ERROR, error.detail or error.summary, error.hint)


def _resources() -> Iterator[Finding]:
    try:
        found = discover()
    except FetchmlError as error:
        yield Finding("resources", Level.ERROR, f"{error.summary}: {error.detail}")
        return
    capacity = found.capacity
    yield Finding("resources", Level.OK, f"{capacity.cpus:g} CPU cores, {format_size(capacity.memory_bytes)} memory")
    devices = ", ".join(f"{item.model or item.vendor} ({item.id})" for item in capacity.devices)
    yield Finding(
        "gpus", Level.OK, f"{len(capacity.devices)} found by {capacity.gpu_detection}: {devices}" if devices else "none"
    )
    for fault in found.inventory.faults:
        yield Finding("gpus", Level.WARNING, fault, "see docs/how-to/gpus.md")


def _engines(home: Home, settings: Settings) -> Iterator[Finding]:
    for kind in EngineKind:
        try:
            engine = engine_maker(settings)(kind, home.engines)
            facts = engine.facts()
        except FetchmlError as error:
            wanted = settings.engine == kind
            yield Finding(
                kind,
                Level.ERROR if wanted else Level.OK,
                f"does not answer: {error.summary}",
                error.hint if wanted else None,
            )
            continue
        yield Finding(kind, Level.OK, f"{facts.version}, {facts.detail}")
        if kind.isolates and settings.engine in ("auto", kind):
            try:
                image = engine.image(settings.image)
                yield Finding(f"{kind} image", Level.OK, f"{image.reference} ({image.digest[:19]})")
            except FetchmlError as error:
                yield Finding(f"{kind} image", Level.WARNING, error.summary, error.hint)


def _objects(home: Home) -> Iterator[Finding]:
    if not home.has_place_for_objects:
        return
    try:
        place = locate(None, home.object_settings)
        self_test(place, home.object_settings)
        yield Finding("objects", Level.OK, f"{shown(place)} answers")
    except FetchmlError as error:
        why = f"{error.summary}: {error.detail}" if error.detail else error.summary
        yield Finding("objects", Level.ERROR, why, error.hint)


def _copies(home: Home) -> Iterator[Finding]:
    if home.settings.objects_runs == "copy" and not home.has_place_for_objects:
        yield Finding("copies", Level.WARNING, "`objects.runs` is `copy`, and there is no bucket", "set `objects.url`")
    state = copies_state(home)
    if state is None:
        return
    yield Finding(
        "copies",
        Level.OK,
        f"{state.ended - state.waiting} of {plural(state.ended, 'ended run')} in {state.place}, {state.waiting} not",
    )
    if state.fault is not None:
        yield Finding("copies", Level.WARNING, f"not now: {state.fault.reason}", state.fault.hint)
    for run_id, fault in list(state.faults.items())[:_SHOWN]:
        yield Finding("copies", Level.WARNING, f"not {run_id}: {fault.reason}", fault.hint)


def _services(settings: Settings, status: ServerStatus) -> Iterator[Finding]:
    if status.api_url is None:
        yield Finding("server", Level.WARNING, "the private Prefect server is not running", "`fetchml up` starts it")
    elif not status.server_answers:
        hint = "`fetchml up` starts it anew" if status.is_private else "check `prefect.api_url` or PREFECT_API_URL"
        yield Finding("server", Level.ERROR, f"{status.api_url} does not answer", hint)
    else:
        yield Finding("server", Level.OK, f"{status.api_url} answers")
        try:
            with PrefectClient(status.api_url) as client:
                connect(client, settings.prefect_pool)
            yield Finding("dispatch", Level.OK, f"pool `{settings.prefect_pool}` and its deployment are in place")
        except FetchmlError as error:
            yield Finding(
                "dispatch", Level.WARNING, f"the deployment is missing: {error.summary}", "`fetchml up` makes it"
            )
    if not status.worker_alive:
        yield Finding("worker", Level.WARNING, "no worker runs on this host", "`fetchml up` starts one")
        return
    state = read_worker_state(settings.services)
    if state is None:
        yield Finding("worker", Level.WARNING, "the worker has not reported yet")
    elif status.api_url is not None and state.api_url.rstrip("/") != status.api_url.rstrip("/"):
        yield Finding(
            "worker",
            Level.ERROR,
            f"the worker takes runs from {state.api_url}, you queue to {status.api_url}",
            "`fetchml down`, then `fetchml up`",
        )
    elif elsewhere := differing_engines(Home(settings)):
        yield Finding("worker", Level.WARNING, "; ".join(elsewhere), "`fetchml down`, then `fetchml up`")
    else:
        yield Finding(
            "worker", Level.OK, f"pid {status.worker_pid}, {len(state.running)} running, {len(state.waiting)} waiting"
        )


def _runs(home: Home, settings: Settings, status: ServerStatus, *, repair: bool) -> Iterator[Finding]:
    rows = RunIndex(settings.store).rows()
    damaged = [row.run_id for row in rows if row.state == "damaged"]
    if damaged:
        yield Finding(
            "runs",
            Level.ERROR,
            f"unreadable manifests: {', '.join(damaged[:5])}",
            "`fetchml validate RUN` says what is wrong",
        )
    unfinished = [row for row in rows if not row.is_final and row.state != "damaged"]
    yield Finding("runs", Level.OK, f"{len(rows)} in the store, {len(unfinished)} not ended")
    if not repair or status.api_url is None or not status.server_answers:
        return
    logger = logging.getLogger("fetchml.doctor")
    logger.addFilter(_ON_ONE_LINE)
    reconciler = Reconciler(home, status.api_url, settings.prefect_pool, logger)
    try:
        reconciler.look(whole=True)
    except FetchmlError as error:
        yield Finding("prefect", Level.ERROR, error.summary, error.hint)
        return
    text = (
        f"{reconciler.repairs} differences to the run store were mended"
        if reconciler.repairs
        else "in step with the run store"
    )
    yield Finding("prefect", Level.OK, text)


def _file_system(path: Path) -> str:
    """Returns the type of the file system a path is on, such as ext4; empty if unknown."""
    best, kind = -1, ""
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(" ")
            mount = fields[4].encode().decode("unicode_escape", "replace")
            if (str(path) + "/").startswith(mount.rstrip("/") + "/") and len(mount) > best:
                best, kind = len(mount), fields[fields.index("-") + 1]
    return kind
