"""The Prefect worker of type `fetchml`: places queued runs on this host's resources.

Prefect says what is scheduled; which of it may start now is decided by `fetchml.admission`, and the claim in the run
store is what makes a start single. Each admitted run has a flow process of its own. A worker that ends leaves those
processes and their containers running, and the next one adopts them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from prefect.exceptions import Abort
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Pending
from prefect.utilities.engine import propose_state
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field

import fetchml
from fetchml.archive.copier import copies_runs
from fetchml.config.layers import load
from fetchml.daemons.log_lines import OneLine
from fetchml.daemons.process import Daemon, holding
from fetchml.daemons.wake import REPAIR, drain, listen
from fetchml.daemons.worker import LOCKED_VARIABLE, PRIVATE_VARIABLE, WorkerState, write_worker_state
from fetchml.engine.choose import addresses
from fetchml.errors import Conflict, FetchmlError
from fetchml.gpus.discover import discovery_of, overrides_of
from fetchml.gpus.strangers import Ours
from fetchml.gpus.watcher import DeviceWatch, Latest
from fetchml.home import Home
from fetchml.models.claim import Claim
from fetchml.models.host import host_name
from fetchml.models.resources import HostCapacity
from fetchml.prefect_api.dispatch import STORE_TAG, store_tag
from fetchml.worker.copies import keep_copying
from fetchml.worker.figures import Figures
from fetchml.worker.outpost import keep_shipping
from fetchml.worker.placement import Placer, Start
from fetchml.worker.presence import Presence
from fetchml.worker.reconcile import Reconciler
from fetchml.worker.tending import Tender
from fetchml.worker.window import Window

if TYPE_CHECKING:
    import anyio.abc
    from prefect.client.schemas.objects import FlowRun

_RECONCILE_S = 5.0
_REPAIR_EVERY = 12
"""Every twelfth look at Prefect is a whole comparison of store and API."""


class FetchmlJobConfiguration(BaseJobConfiguration):
    """What a flow run may set; the plan says everything about the run itself."""


class FetchmlVariables(BaseVariables):
    """Variables of the pool's template."""

    command: str | None = Field(
        default=None, description="Not used: fetchml runs are started in a process that has Prefect loaded."
    )


class FetchmlWorkerResult(BaseWorkerResult):
    """How the flow process of a run ended."""


class FetchmlWorker(BaseWorker[FetchmlJobConfiguration, FetchmlVariables, FetchmlWorkerResult]):
    """Takes runs from a fetchml pool and places them on this host."""

    type = "fetchml"
    job_configuration = FetchmlJobConfiguration
    job_configuration_variables = FetchmlVariables
    _description = "Runs queued with fetchml, placed on this host's CPU cores, memory and GPUs."
    _display_name = "fetchml"
    _documentation_url = "https://github.com/fetchml/fetchml"
    _logo_url = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["name"] = kwargs.get("name") or f"fetchml-{host_name()}"
        super().__init__(*args, **kwargs)
        # Messages carry what others have written; each stays on one line.
        cast("Any", getattr(self._logger, "logger", self._logger)).addFilter(OneLine())
        self._own_tasks: set[asyncio.Task[None]] = set()
        self._poll_lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._repair = asyncio.Event()
        self._sealed = asyncio.Event()
        self._started_at = datetime.now(UTC)
        self._published: WorkerState | None = None
        self._is_private = PRIVATE_VARIABLE in os.environ

    async def setup(self) -> None:
        """Looks at the host, takes its lock, adopts what runs, and begins to listen.

        Raises:
            SystemExit: A setting is wrong, or another worker has this home folder; the log says it.
        """
        try:
            await self._set_up()
        except FetchmlError as error:
            # Prefect's own command would bury the message in a traceback of sixty lines.
            self._logger.error("%s", error)  # noqa: TRY400
            raise SystemExit(error.exit_code) from None

    async def _set_up(self) -> None:
        home = Home(load(with_project=False).settings)
        await asyncio.to_thread(home.create)
        self._home = home
        self._lock = self._take_lock()
        self._overrides = overrides_of()
        for line in self._overrides.lines:
            self._logger.warning("resources of this host are overridden: %s", line)
        self._devices = DeviceWatch(self._overrides, self._ours, home.services)
        self._window = Window(self._work_pool_name, store_tag(home.lab_id))
        self._tender = Tender(home, self._logger, on_release=self._wake.set)
        self._placer = Placer(home, self.name)
        self._presence = Presence(home, self.name, self._look_at_host, self._started_at)
        self._figures = Figures(
            lambda: self._placer.claims,
            lambda: self._devices.latest().readings.devices,
            home.hosts.known,
        )
        adopted = await asyncio.to_thread(self._placer.recover)  # before the devices: what runs there is no stranger
        await asyncio.to_thread(self._devices.start)
        await self._guarded(self._publish_presence)
        await self._tender.start()
        await super().setup()
        api_url = str(get_current_settings().api.url or "")
        self._reconciler = Reconciler(home, api_url, self._work_pool_name, self._logger)
        for claim in adopted:
            self._logger.info("adopting run %s", claim.run_id)
            self._spawn(self._tend(claim))
        self._spawn(self._listen())
        if home.link is None:
            self._spawn(self._reconcile())
        else:  # the control host's worker does that; this one has to say what it does
            self._spawn(keep_shipping(home, self._adopt, self._logger))
        self._spawn(self._show_presence())
        if copies_runs(home):
            self._spawn(keep_copying(home, self._sealed, self._logger))
        await asyncio.to_thread(self._publish)
        self._serve_figures()

    async def teardown(self, *exc_info: Any) -> None:
        """Stops taking runs; what runs goes on, for the next worker to adopt."""
        for task in self._own_tasks:
            task.cancel()
        if self._runs_task_group is not None:
            self._runs_task_group.cancel_scope.cancel()
        if hasattr(self, "_tender"):
            self._tender.stop()
        if hasattr(self, "_figures"):
            await asyncio.to_thread(self._figures.close)
            await asyncio.to_thread(self._devices.close)
        await super().teardown(*exc_info)

    async def get_and_submit_flow_runs(self) -> "list[FlowRun]":
        """Takes what may start now; one call at a time."""
        if not self._has_successfully_synced or self._is_server_a_stranger():
            return []
        async with self._poll_lock:
            limits = await self._window.limits(self.client)
            self._last_polled_time = cast("Any", datetime.now(UTC))
            placed = await asyncio.to_thread(self._placer.place, limits)
            known: dict[tuple[str, int], FlowRun] = {}
            if placed.starts:
                known, now = await asyncio.gather(
                    self._window.flow_runs(self.client, [start.run_id for start in placed.starts]),
                    self._window.limits(self.client, is_fresh=True),
                )
                if now != limits:  # someone has paused a queue, say
                    placed = await asyncio.to_thread(self._placer.place, now)
            self._figures.decided(placed.decisions)
            started = await asyncio.gather(
                *(self._begin(start, known.get((start.run_id, start.attempt))) for start in placed.starts)
            )
            if placed.changed:
                await asyncio.to_thread(self._publish)
            return [flow_run for flow_run in started if flow_run is not None]

    async def _begin(self, start: Start, flow_run: "FlowRun | None") -> "FlowRun | None":
        """Starts a run, if Prefect knows it and lets it go, and nobody else has it.

        Prefect's `Pending` comes first, since a concurrency limit may say no. From the claim on, nothing that Prefect
        says or fails to say keeps the run from being carried out.
        """
        if flow_run is None or flow_run.state is None or not flow_run.state.is_scheduled():
            return None  # it is being handed over, or the reconciler has to look at it
        try:
            state = await propose_state(self.client, Pending(), flow_run_id=flow_run.id)
        except Abort as reason:
            self._logger.info("Prefect holds run %s back: %s", start.run_id, reason)
            return None
        if not state.is_pending():
            return None
        claim = await asyncio.to_thread(self._placer.claim, start, str(flow_run.id))
        if claim is None:
            self._repair.set()  # the reconciler tells Prefect what became of it
            return None
        self._logger.info("starting run %s", claim.run_id)
        self._figures.claimed(claim, start.queued_at)
        self._spawn(self._tend(claim))
        self._spawn(self._guarded(partial(self._give_worker_labels_to_flow_run, flow_run.id)))
        return flow_run

    async def run(
        self,
        flow_run: "FlowRun",
        configuration: FetchmlJobConfiguration,
        task_status: "anyio.abc.TaskStatus[int] | None" = None,
    ) -> FetchmlWorkerResult:
        """Tends a run that this worker has claimed, until its record is sealed; for callers that submit by hand."""
        claim = self._placer.held(str(flow_run.name))
        if claim is None:
            raise Conflict(
                f"run `{flow_run.name}` is not claimed by this worker",
                hint="queue runs with `fetchml queue`",
                code="not-claimed",
            )
        if task_status is not None:
            task_status.started(os.getpid())
        await self._tend(claim)
        return FetchmlWorkerResult(identifier=claim.run_id, status_code=0)

    def _is_server_a_stranger(self) -> bool:
        """Tells whether the private server is gone: what answers on its port then is another home's."""
        return self._is_private and not Daemon(self._home.services, "server").is_alive()

    def _adopt(self, claims: list[Claim]) -> None:
        """Takes runs that turned out to be this host's: the answer to their claim was lost."""
        for claim in self._placer.hold(claims):
            self._logger.info("starting run %s, which this host had claimed", claim.run_id)
            self._spawn(self._tend(claim))

    async def _tend(self, claim: Claim) -> None:
        await self._tender.tend(claim)
        self._placer.release(claim.run_id)
        with suppress(FetchmlError):  # damaged meanwhile: it is counted nowhere
            self._figures.ended(claim, await asyncio.to_thread(self._home.store.read_manifest, claim.run_id))
        self._sealed.set()
        self._repair.set()  # it may wait for another attempt
        await asyncio.to_thread(self._publish)
        self._wake.set()

    async def _listen(self) -> None:
        """Looks at the queue at once when someone asks for it."""
        descriptor = await asyncio.to_thread(listen, self._home.wake_pipe)
        loop = asyncio.get_running_loop()

        def woken() -> None:
            if REPAIR in drain(descriptor):
                self._repair.set()
            self._wake.set()

        loop.add_reader(descriptor, woken)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._guarded(self.get_and_submit_flow_runs)
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def _reconcile(self) -> None:
        """Keeps run store and Prefect in step."""
        while True:
            for _ in range(_REPAIR_EVERY):
                whole = self._repair.is_set()
                self._repair.clear()
                await self._guarded(partial(self._look, whole=whole))
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RECONCILE_S):
                        await self._repair.wait()
            self._repair.set()

    async def _look(self, *, whole: bool) -> None:
        if self._is_server_a_stranger():
            return
        if await asyncio.to_thread(self._reconciler.look, whole=whole):
            self._wake.set()
        for flow_run in await self._strangers():
            message = "No such run in the store of this host: runs are made with `fetchml queue`."
            await self.client.set_flow_run_state(flow_run.id, Cancelled(message=message), force=True)

    async def _strangers(self) -> "list[FlowRun]":
        """Returns scheduled flow runs that belong to no run; those of other stores are left alone."""
        scheduled = [entry.flow_run for entry in await self._get_scheduled_flow_runs()]
        mark = store_tag(self._home.lab_id)
        return [
            flow_run
            for flow_run in scheduled
            if (mark in flow_run.tags or not any(tag.startswith(STORE_TAG) for tag in flow_run.tags))
            and not self._home.store.exists(str(flow_run.name))
        ]

    async def _show_presence(self) -> None:
        """Tells the lab that this host is there, and what it has."""
        while True:
            await asyncio.sleep(self._home.settings.worker_heartbeat)
            await self._guarded(self._publish_presence)

    def _serve_figures(self) -> None:
        address = self._home.settings.metrics_listen
        if address is None:
            return
        try:
            port = self._figures.serve(address)
        except FetchmlError as error:
            self._logger.warning("%s", str(error).replace("\n", "; "))
        else:
            self._logger.info("figures for Prometheus are on port %d", port)

    def _look_at_host(self) -> tuple[Latest, HostCapacity]:
        """Returns what is known of the devices, and what the host offers; cheap, and never blocks."""
        latest = self._devices.latest()
        return latest, discovery_of(latest.inventory, self._overrides, self._home.path).capacity

    def _ours(self) -> Ours:
        """Returns what belongs to the runs of this host."""
        claims = self._placer.claims
        return Ours(
            run_ids=frozenset(claim.run_id for claim in claims),
            device_ids=frozenset(share.device_id for claim in claims for share in claim.held),
        )

    async def _publish_presence(self) -> None:
        await asyncio.to_thread(self._presence.publish, self._placer.claims)

    async def _guarded(self, step: Callable[[], Awaitable[object]]) -> None:
        """Logs what goes wrong: the next turn tries again."""
        try:
            await step()
        except FetchmlError as error:
            self._logger.warning("%s", str(error).replace("\n", "; "))
        except Exception:
            self._logger.exception("looking at the queue failed")

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._own_tasks.add(task)
        task.add_done_callback(self._own_tasks.discard)

    def _take_lock(self) -> object:
        """Holds the home's worker lock for the life of this process; `fetchml up` has taken it for us."""
        daemon = Daemon(self._home.services, "worker")
        if os.environ.pop(LOCKED_VARIABLE, None):
            return None
        lock = holding(daemon.lock)
        if not lock.__enter__():
            raise Conflict(
                f"another worker serves `{self._home.path}`",
                detail=f"its process id is {daemon.pid()}",
                hint="`fetchml down` stops it; another home folder can be chosen with FETCHML_HOME",
                code="worker-running",
            )
        daemon.pid_file.write_text(str(os.getpid()), encoding="ascii")
        return lock

    def _publish(self) -> None:
        """Writes down what this worker has to say, if it changed."""
        now = datetime.now(UTC)
        state = WorkerState(
            name=self.name,
            pid=os.getpid(),
            version=fetchml.__version__,
            started_at=self._started_at,
            updated_at=now,
            api_url=str(get_current_settings().api.url or ""),
            capacity=self._look_at_host()[1],
            overrides=self._overrides.lines,
            engines=addresses(self._home.engines),
            running=self._placer.running,
            waiting=self._placer.waiting,
        )
        if (
            self._published is None
            or state.model_copy(update={"updated_at": self._published.updated_at}) != self._published
        ):
            write_worker_state(self._home.services, state)
            self._published = state
