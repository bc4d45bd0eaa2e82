"""Changes where a waiting run stands in the queue."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.daemons.server import PrivateServer
from fetchml.daemons.wake import LOOK, REPAIR, wake
from fetchml.errors import ConfigError, Conflict, FetchmlError, Forbidden
from fetchml.home import Home
from fetchml.models.host import user_name
from fetchml.models.manifest import RunManifest
from fetchml.models.queueing import Queueing
from fetchml.models.status import Queued
from fetchml.prefect_api.client import PrefectClient
from fetchml.prefect_api.dispatch import connect
from fetchml.service.select import select
from fetchml.store.index import RunIndex

_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Ordered:
    """A run whose place was changed."""

    manifest: RunManifest
    note: str | None = None
    """What the user should know."""


def queue_order(settings: Settings, target: str, *, priority: int | None = None, top: bool = False) -> Ordered:
    """Gives a waiting run another priority, or puts it in front of all others.

    Args:
        settings: The settings of this call.
        target: A run as `select` understands it.
        priority: The new priority; None leaves it.
        top: Whether it goes first from now on; a later one that is moved up goes before it.

    Raises:
        ConfigError: Nothing is to be changed.
        NotFound: There is no such run.
        Conflict: It does not wait.
        Forbidden: It belongs to someone else.
    """
    if priority is None and not top:
        raise ConfigError("nothing is to be changed", hint="give `--priority N` or `--top`", code="usage")
    home, user = Home(settings), user_name()
    row = select(RunIndex(settings.store).rows(), target)
    if row.user != user and row.state != "damaged":
        raise Forbidden(f"run `{row.run_id}` belongs to `{row.user}`", hint="ask them to move it", code="not-your-run")

    def change(manifest: RunManifest) -> RunManifest:
        if not isinstance(manifest.status, Queued):
            raise Conflict(f"run `{row.run_id}` does not wait: it is `{manifest.status.state}`", code="not-waiting")
        queueing = manifest.queueing or Queueing()
        if top:
            queueing = queueing.model_copy(update={"moved_up_at": datetime.now(UTC), "moved_up_by": user})
        update = {} if priority is None else {"priority": priority}
        return manifest.with_sections(queueing=queueing, identity=manifest.identity.model_copy(update=update))

    before = home.store.read_manifest(row.run_id).identity.priority
    manifest = home.store.update(row.run_id, change)
    note = None
    if manifest.identity.priority != before:
        note = _move_flow_run(settings, home, manifest)
    wake(home.wake_pipe, LOOK if note is None else REPAIR)
    return Ordered(manifest, note)


def _move_flow_run(settings: Settings, home: Home, manifest: RunManifest) -> str | None:
    """Makes the flow run anew in the work queue of its priority: Prefect moves none."""
    api_url = settings.prefect_api_url or PrivateServer(settings).api_url
    if api_url is None:
        return None
    run_id = manifest.identity.run_id
    try:
        with PrefectClient(api_url, timeout_s=_TIMEOUT_S) as client:
            dispatcher = connect(client, settings.prefect_pool)
            dispatcher.remove_flow_runs(run_id, manifest.attempt, home.store_id)
            dispatcher.create_flow_run(manifest, home.store.read_plan(run_id), manifest.attempt, home.store_id)
    except FetchmlError as error:
        return f"the Prefect UI shows it in its old work queue for now: {error.summary}"
    return None
