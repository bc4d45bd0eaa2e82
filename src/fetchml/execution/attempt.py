"""One attempt of a run, from preflight to the seal; without Prefect.

Every step can be repeated: whoever drives an attempt may die at any moment, and the next driver calls the same steps
in the same order. What was decided is read from the store and the engine, never from memory: a container that exists
is adopted, a stop that was begun is finished, an end that was written down is final.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fetchml import durable
from fetchml.containers import ContainerSpec, Job, Sources, container_spec, taken_out
from fetchml.datasets.oversight import Stopped
from fetchml.datasets.places import Place
from fetchml.diagnosis import EndFacts, diagnose
from fetchml.durable import STORAGE_FULL
from fetchml.engine.port import ContainerState, EngineFacts, ImageFacts, Phase, StartFailed
from fetchml.environment.build import BuildCancelled, BuildFailed, BuiltEnvironment
from fetchml.environment.detect import Dependencies, detect
from fetchml.environment.maker import EnvironmentRequest
from fetchml.environment.pins import unpinned
from fetchml.errors import Corrupt, FetchmlError, NotFound, Refused
from fetchml.execution.after import LookBack
from fetchml.execution.again import put_back
from fetchml.execution.data import Verified, replaced_data, swapped_data, verify
from fetchml.execution.devices import fault_of, given
from fetchml.execution.driver import Driver, sampler_of
from fetchml.execution.ended import ContainerRecord, Ended
from fetchml.execution.hardware import hardware
from fetchml.execution.sealing import clean, seal_run
from fetchml.execution.staged import place_of
from fetchml.execution.stall import clear_stall
from fetchml.execution.watch import Watch
from fetchml.models.claim import Claim
from fetchml.models.dataset_record import DatasetRecord
from fetchml.models.ids import container_name
from fetchml.models.manifest import Placement, PrefectTrace, RunManifest, Sandbox
from fetchml.models.status import Preparing, Running, State
from fetchml.preflight.check import Facts, Fault, check
from fetchml.preflight.trust import Trust, TrustFacts, trust
from fetchml.retries import retry_at
from fetchml.snapshot.tree import Tree, import_roots, read_tree
from fetchml.store.directory import read_model

_CONTAINER_UID = 1000
"""User inside containers when the worker is root; otherwise the worker's own."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an attempt needs before it can start."""

    environment: BuiltEnvironment
    code: Path
    tree: Tree


class Attempt:
    """One attempt and the steps that carry it out.

    Args:
        driver: The host's parts.
        claim: The claim that makes the caller the owner.
        flow_run: The Prefect flow run it belongs to, for the record.

    Raises:
        NotFound: There is no such run.
        Corrupt: Its plan cannot be read.
    """

    def __init__(self, driver: Driver, claim: Claim, flow_run: PrefectTrace | None = None) -> None:
        self._driver = driver
        self._claim = claim
        self._flow_run = flow_run
        self._store = driver.home.store
        self.run_id = claim.run_id
        self.number = claim.attempt
        self.name = container_name(claim.run_id, claim.attempt)
        self.run_folder = self._store.folder(claim.run_id)
        self.folder = self.run_folder.attempt(claim.attempt)
        self.plan = self._store.read_plan(claim.run_id)
        self.engine = driver.engines(self.plan.engine, driver.home.engines)
        self._code: Path | None = None
        self._is_last = False
        """Whether no other attempt may follow."""
        self._places: dict[str, Place] = {}
        """Where the datasets were that were compared, by name."""
        self._look_back = LookBack(driver.home, driver.now, self._is_cancelled)

    @cached_property
    def _engine_facts(self) -> EngineFacts:
        return self.engine.facts()

    @cached_property
    def _image(self) -> ImageFacts | None:
        """The base image on this host; None if there is none, or the run needs none."""
        if self.plan.image is None:
            return None
        try:
            return self.engine.image(self.plan.image.digest)
        except NotFound:
            return None

    @property
    def manifest(self) -> RunManifest:
        """The manifest as it is now."""
        return self._store.read_manifest(self.run_id)

    def execute(self) -> RunManifest:
        """Carries out all steps and returns the sealed manifest."""
        ended = self.preflight()
        if ended is None:
            prepared = self.prepare()
            ended = prepared if isinstance(prepared, Ended) else self.run(prepared)
        return self.finalize(ended)

    def give_up(self, error: FetchmlError) -> RunManifest | None:
        """Ends an attempt that cannot go on and that nobody will try again.

        Returns:
            The sealed manifest; None if the payload may have been started, which then is not for this host to end.
        """
        if durable.exists(self.folder.container) or self.folder.ended.exists():
            return None
        ended = self._not_started(EndFacts(infrastructure_error=str(error)))
        self._is_last = True
        with suppress(FetchmlError):  # the engine may be what does not answer: it has nothing of this run
            return self.finalize(ended)
        return self.manifest if self.manifest.seal is not None else None

    def preflight(self) -> Ended | None:
        """Step 1: checks the run against the store before anything starts.

        Returns:
            None if it may go on, else how it ended: refused, cancelled, or as written down by an earlier driver.
        """
        self._to_preparing()
        if (ended := self._written_end()) is not None:
            return ended
        if self.engine.inspect(self.name) is not None:
            clear_stall(self.folder)
            return None  # it was checked before the container was made
        if (ended := self._cancelled_before_start()) is not None:
            return ended
        if (lost := fault_of(self._claim, self._driver.discovery.inventory)) is not None:
            return self._not_started(EndFacts(infrastructure_error=lost))
        recorded = self.manifest.plan
        oversight = self._driver.home.oversight(should_stop=self._is_cancelled)
        try:
            datasets = [verify(item, self._driver.home, oversight) for item in self.plan.datasets]
        except Stopped:
            return self._cancelled_before_start()
        self._places = {item.record.name: item.place for item in datasets if isinstance(item, Verified)}
        facts = Facts.of(
            self.plan,
            self._driver.discovery.capacity,
            policy=recorded.repro_policy,
            recorded_sha256=recorded.plan_sha256,
            snapshot_fault=self._snapshot_fault(),
            image_digest=(self._image.digest if self._image else "") if self.plan.image else None,
            image_architecture=self._image.architecture if self._image else "",
            engine_architecture=self._engine_facts.architecture if self._image else "",
            dataset_faults=tuple(item for item in datasets if isinstance(item, Fault)),
        )
        faults = check(facts)
        clear_stall(self.folder)
        if faults:
            return self._not_started(EndFacts(refused=tuple(str(fault) for fault in faults)))
        records = tuple(item.record for item in datasets if isinstance(item, Verified))
        if records:
            self._store.update(
                self.run_id, lambda found: found if found.seal else found.with_sections(datasets=records)
            )
        return None

    def prepare(self) -> Prepared | Ended | None:
        """Step 2: lays out the code and makes the environment ready; both are reused when they are there.

        Returns:
            What the run needs; how it ended, if its environment cannot be made or it was cancelled; None if it was
            started before and needs nothing.
        """
        if self._may_have_started(self.engine.inspect(self.name)):
            return None
        try:
            return self._prepare()
        except FetchmlError as error:
            if error.code != STORAGE_FULL:
                raise
            return self._not_started(EndFacts(storage_full=True, infrastructure_error=str(error)))

    def _prepare(self) -> Prepared | Ended:
        home = self._driver.home
        code = self._verified_code()
        tree = read_tree(home.objects.read(self.plan.snapshot_id))
        self._make_folders(code)
        wanted = self.plan.environment.dependencies
        try:
            request = EnvironmentRequest(
                plan=self.plan,
                dependencies=detect(tree, home.objects, chosen=wanted.name) if wanted else None,
                code=code,
                log=self.folder.build_log,
                cancelled=self._is_cancelled,
            )
            environment = self._driver.environments(self.engine, home).make(request)
        except BuildCancelled:
            by = self._store.read_cancel(self.run_id)
            return self._not_started(EndFacts(cancelled_by=by.by if by else "unknown"))
        except (BuildFailed, Refused) as error:  # Refused: another version of fetchml took the manifest
            return self._not_started(EndFacts(environment_error=str(error)))
        reached = trust(self.plan, self._trust_facts(environment, request.dependencies))
        self._store.update(self.run_id, lambda manifest: _with_environment(manifest, environment, reached))
        return Prepared(environment, code, tree)

    def _trust_facts(self, built: BuiltEnvironment, dependencies: Dependencies | None) -> TrustFacts:
        manifest, keys = self.manifest, self._driver.home.keys
        git, signed_by = manifest.environment.git, None
        if manifest.metadata.sign:
            with suppress(FetchmlError):  # the seal will be without a signature, and say so
                signed_by = keys.check()
        return TrustFacts(
            snapshot_verified=True,
            datasets_verified=True,
            environment_key=built.key,
            unpinned=unpinned(dependencies, self._driver.home.objects) if dependencies else None,
            git_commit=git.commit if git else None,
            git_dirty=git.dirty if git else None,
            signed_by=signed_by,
        )

    def run(self, prepared: Prepared | None) -> Ended:
        """Step 3: starts the payload, or adopts it if it was started before, and stays until it has ended.

        Args:
            prepared: What `prepare` returned; None if the payload was started before.
        """
        if (ended := self._written_end()) is not None:
            return ended
        state = self.engine.inspect(self.name)
        if state is None or state.phase is Phase.CREATED:
            if (ended := self._cancelled_before_start()) is not None:
                self.engine.remove(self.name)
                return ended
            if prepared is None or (state is None and durable.exists(self.folder.container)):
                error = f"the container `{self.name}` was removed before its end was recorded"
                return self._not_started(EndFacts(lost=True, infrastructure_error=error))
            if faults := replaced_data(self._places, self._driver.home.oversight()):
                self.engine.remove(self.name)
                return self._not_started(EndFacts(refused=tuple(str(fault) for fault in faults)))
            try:
                self._start(self._spec(prepared))
            except (StartFailed, NotFound) as error:
                return self._not_started(EndFacts(start_error=error.detail or error.summary))
            except FetchmlError as error:
                if error.code != STORAGE_FULL:
                    raise
                return self._not_started(EndFacts(storage_full=True, infrastructure_error=str(error)))
            state = self.engine.inspect(self.name)
        if state is None:
            error = f"the container `{self.name}` disappeared as it was started"
            return self._not_started(EndFacts(infrastructure_error=error))
        if state.error is not None:
            return self._not_started(EndFacts(start_error=state.error))
        manifest = self._to_running(state)
        started_at = manifest.times.started_at or self._driver.now()
        if swapped := swapped_data(self.plan.datasets, self._places, self.engine, self.name):
            self.engine.stop(self.name, 0)
            facts = EndFacts(data_error=swapped)
            return self._write_end(Ended(facts=facts, started_at=started_at, ended_at=self._driver.now()))
        sampler = sampler_of(self._driver, self._claim, self.folder)
        watch = Watch(self._driver, self.engine, self._claim, self.folder, self.plan, started_at, sampler)
        return self._write_end(watch.until_ended())

    def finalize(self, ended: Ended) -> RunManifest:
        """Step 4: seals the record, or puts the run back for another attempt, and removes the container.

        A run that is sealed, or has come to another attempt, stays as it is.
        """
        home = self._driver.home
        try:
            manifest = self._conclude(ended)
        except FetchmlError as error:
            if error.code != STORAGE_FULL:
                raise
            # Space is kept back for this moment: a run always ends in a complete record.
            home.release_reserve()
            facts = ended.facts.model_copy(update={"storage_full": True, "infrastructure_error": str(error)})
            ended = ended.model_copy(update={"facts": facts})
            manifest = self._conclude(ended)
        self.engine.remove(self.name)
        clean(self.run_folder, self.number)
        return manifest

    def _conclude(self, ended: Ended) -> RunManifest:
        manifest = self.manifest
        if manifest.is_over(self.number):
            return manifest
        diagnosis = diagnose(ended.facts)
        due = None if self._is_last else retry_at(diagnosis.category, self.number, manifest.queueing, ended.ended_at)
        if due is not None and not self._is_cancelled():
            return put_back(self._store, self.run_folder, self.number, ended, diagnosis, due, self._driver.now())
        signer = self._driver.home.keys.signer
        compare = self._look_back.compare
        return seal_run(self._store, self.run_folder, self.number, ended, self._driver.now, signer, compare)

    def _is_cancelled(self) -> bool:
        return self._store.read_cancel(self.run_id) is not None

    def _may_have_started(self, state: ContainerState | None) -> bool:
        """Tells whether the payload was started; where the container is gone, the record of its making tells."""
        return durable.exists(self.folder.container) if state is None else state.phase is not Phase.CREATED

    # What was written down

    def _written_end(self) -> Ended | None:
        return read_model(self.folder.ended, Ended, lambda: f"run `{self.run_id}`")

    def _write_end(self, ended: Ended) -> Ended:
        """Makes an end durable before anything follows from it; the first one counts."""
        content = ended.model_dump_json(indent=2).encode() + b"\n"
        try:
            durable.create_exclusive(self.folder.ended, content)
        except FetchmlError:
            # Space is kept back for this moment; if that is not enough, the seal itself decides.
            self._driver.home.release_reserve()
            with suppress(FetchmlError):
                durable.create_exclusive(self.folder.ended, content)
        return self._written_end() or ended

    def _not_started(self, facts: EndFacts) -> Ended:
        return self._write_end(Ended(facts=facts, ended_at=self._driver.now()))

    def _cancelled_before_start(self) -> Ended | None:
        request = self._store.read_cancel(self.run_id)
        return None if request is None else self._not_started(EndFacts(cancelled_by=request.by))

    # Transitions

    def _to_preparing(self) -> None:
        claim = self._claim

        def change(manifest: RunManifest) -> RunManifest:
            if manifest.status.state is not State.QUEUED or manifest.attempt != self.number:
                return manifest
            waited = (claim.claimed_at - manifest.times.queued_at).total_seconds()
            return manifest.with_status(
                Preparing(since=self._driver.now(), attempt=self.number, host=claim.host),
                hardware=hardware(self._driver.discovery),
                prefect=self._flow_run,
                placement=Placement(
                    host=claim.host,
                    worker=claim.worker,
                    device_ids=claim.device_ids,
                    waited_s=round(max(0.0, waited), 3),
                    waited_for=claim.waited_for,
                ),
            )

        self._store.update(self.run_id, change)

    def _to_running(self, state: ContainerState) -> RunManifest:
        started = state.started_at or self._driver.now()
        sandbox = self._sandbox()
        removed = taken_out(self._image.env_names, self.plan) if self._image else ()
        notes = (f"variables of the image that the run did not get: {', '.join(removed)}",) if removed else ()

        def change(manifest: RunManifest) -> RunManifest:
            if manifest.status.state is not State.PREPARING:
                return manifest
            status = Running(started_at=started, attempt=self.number, host=self._claim.host, container=self.name)
            return manifest.with_status(status, sandbox=sandbox, warnings=(*manifest.warnings, *notes))

        return self._store.update(self.run_id, change)

    # What a run gets

    def _snapshot_fault(self) -> str | None:
        try:
            self._verified_code()
        except (NotFound, Corrupt, Refused) as error:  # Refused: this file system cannot hold its names
            return error.summary
        return None

    def _verified_code(self) -> Path:
        """Returns the materialised snapshot; every byte of it is verified once in the life of this object."""
        if self._code is None:
            self._code = self._driver.home.snapshots.ensure(self.plan.snapshot_id)
        return self._code

    def _make_folders(self, code: Path) -> None:
        link = self.run_folder.code
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(code, self.run_folder.path))
        for folder in (self.run_folder.results, self.folder.inbox):
            durable.make_folder(folder)
            if os.geteuid() == 0 and self.plan.engine.isolates:
                os.chown(folder, _CONTAINER_UID, _CONTAINER_UID)

    def _spec(self, prepared: Prepared) -> ContainerSpec:
        home = self._driver.home
        support = home.support()
        job = Job(
            run_id=self.run_id,
            attempt=self.number,
            plan=self.plan,
            plan_sha256=self.plan.sha256,
            store_id=home.store_id,
            sources=Sources(prepared.code, self.run_folder.results, self.folder.inbox, support),
            image=prepared.environment.image,
            user=self._user(),
            devices=given(self._claim, self._driver.discovery.inventory),
            output_max_bytes=home.settings.output_max_bytes,
            interpreter=prepared.environment.interpreter,
            import_roots=import_roots(prepared.tree),
            image_env=self._image.env_names if self._image else (),
            datasets={item.name: self._place_of(item) for item in self.manifest.datasets},
        )
        return container_spec(job, self.engine.places(self.name, self.run_folder.results, self.folder.inbox, support))

    def _place_of(self, record: DatasetRecord) -> Path:
        place = self._places.get(record.name)
        return place_of(record, self._driver.home) if place is None else place.path

    def _start(self, spec: ContainerSpec) -> None:
        self.engine.create(spec)
        record = ContainerRecord(
            name=spec.name,
            engine=f"{self.engine.kind} {self._engine_facts.version}",
            image=spec.image,
            argv=spec.argv,
            env_names=tuple(sorted(spec.env)),
            created_at=self._driver.now(),
        )
        durable.write_atomic(self.folder.container, record.model_dump_json(indent=2).encode() + b"\n")
        self.engine.start(spec.name)

    def _user(self) -> str | None:
        if not self.plan.engine.isolates:
            return None
        return f"{_CONTAINER_UID}:{_CONTAINER_UID}" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"

    def _sandbox(self) -> Sandbox:
        isolates = self.plan.engine.isolates
        return Sandbox(
            engine=self.plan.engine,
            engine_version=self._engine_facts.version,
            container=self.name,
            network=self.plan.network,
            user=self._user(),
            read_only_code=isolates or os.geteuid() != 0,
            no_new_privileges=isolates,
            capabilities_dropped=isolates,
            memory_limited=True,
            cpu_limited=isolates,
            pids_limited=isolates,
        )


def _with_environment(manifest: RunManifest, built: BuiltEnvironment, reached: Trust) -> RunManifest:
    """Records what was built, and how far the run can be trusted now that it is known."""
    if manifest.seal is not None:
        return manifest
    trace = manifest.plan.model_copy(update={"trust_level": reached.level, "trust_evidence": reached.evidence})
    environment = manifest.environment.model_copy(
        update={
            "key": built.key,
            "python": built.python,
            "interpreter": built.build,
            "packages": built.packages,
            "libraries": built.libraries,
            "system": built.system,
            "built_image_digest": built.image if built.key else None,
        }
    )
    return manifest.with_sections(environment=environment, plan=trace)
