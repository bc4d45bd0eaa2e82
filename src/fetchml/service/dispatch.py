"""Hands an accepted run to the dispatcher, and sees to it that there is one.

The run is durable before this is called: whatever fails here is made good by the worker's reconciler, so a failure is
something to tell the user and not an error.
"""

from fetchml.config.settings import Settings
from fetchml.daemons.process import Daemon
from fetchml.daemons.server import PrivateServer
from fetchml.daemons.waiting import read_api_url
from fetchml.daemons.wake import LOOK, REPAIR, wake
from fetchml.errors import FetchmlError, NotFound
from fetchml.home import Home
from fetchml.models.plan import Plan
from fetchml.prefect_api.client import PrefectClient
from fetchml.prefect_api.dispatch import bootstrap
from fetchml.service.up import remember_dispatcher, remembered_dispatcher, up_in_background


def dispatch(settings: Settings, run_id: str, plan: Plan) -> str | None:
    """Creates the run's flow run and wakes the worker; starts server and worker if nothing is configured.

    Returns:
        What the user should know, or None if the run is on its way.
    """
    home = Home(settings)
    if home.link is not None:
        return None  # the gateway has handed it over
    elsewhere = read_api_url(settings.services)
    worker_alive = Daemon(settings.services, "worker").is_alive()
    api_url = settings.prefect_api_url or PrivateServer(settings).api_url or (elsewhere if worker_alive else None)
    if api_url is None:
        up_in_background(settings)
        return "the server and the worker are being started; the run begins when they are up (about 20 s)"
    handed_over = _create(settings, home, api_url, run_id, plan)
    listening = wake(home.wake_pipe, LOOK if handed_over else REPAIR)
    if not listening and not worker_alive:
        if settings.prefect_api_url is None:
            up_in_background(settings)
            return "the worker is being started; the run begins when it is up"
        return "no worker of this home runs on this host; `fetchml up` starts one"
    if elsewhere is not None and elsewhere.rstrip("/") != api_url.rstrip("/"):
        return f"the worker of this host takes runs from {elsewhere}; `fetchml down` and `fetchml up` change that"
    if not handed_over:
        return "Prefect does not answer now; the run is safe and is handed over when it does"
    return None


def hand_over(settings: Settings, run_id: str, plan: Plan) -> bool:
    """Creates the run's flow run and wakes the worker of this host, if there is one; starts nothing.

    Returns:
        Whether Prefect has it; if not, the reconciler hands it over later.
    """
    home = Home(settings)
    api_url = settings.prefect_api_url or PrivateServer(settings).api_url
    handed_over = api_url is not None and _create(settings, home, api_url, run_id, plan)
    wake(home.wake_pipe, LOOK if handed_over else REPAIR)
    return handed_over


def _create(settings: Settings, home: Home, api_url: str, run_id: str, plan: Plan) -> bool:
    manifest = home.store.read_manifest(run_id)
    with PrefectClient(api_url, timeout_s=10) as client:
        try:
            dispatcher = remembered_dispatcher(settings, client)
            if dispatcher is not None:
                try:
                    dispatcher.create_flow_run(manifest, plan, manifest.attempt, home.lab_id)
                    return True
                except NotFound:
                    pass  # the server was reset since
            dispatcher = bootstrap(client, settings.prefect_pool)
            remember_dispatcher(settings, dispatcher)
            dispatcher.create_flow_run(manifest, plan, manifest.attempt, home.lab_id)
        except FetchmlError:
            return False
    return True
