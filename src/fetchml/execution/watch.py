"""Stays with a running container until it has ended: records its output, stops it when that is due."""

import time
from datetime import datetime

from fetchml import durable
from fetchml.diagnosis import SIGKILL_CODE, EndFacts
from fetchml.engine.port import ContainerState, Engine, Phase, Usage
from fetchml.errors import FetchmlError, NotFound, Unavailable
from fetchml.execution.driver import Driver
from fetchml.execution.ended import Ended, StopKind, StopMark
from fetchml.execution.output import OutputPump, OutputRecorder, read_tail
from fetchml.execution.sampling import Sampler
from fetchml.models.claim import Claim
from fetchml.models.host import boot_id
from fetchml.models.ids import container_name
from fetchml.models.plan import Plan
from fetchml.store.directory import read_model
from fetchml.store.folder import AttemptFolder

_LOOK_S = 0.2
"""How often a watch looks for a request to stop."""
_USAGE_EVERY_S = 1.0
_LOST_CODE = 255


class Watch:
    """The watch over one container.

    Args:
        driver: The host's parts.
        engine: The engine of the container.
        claim: The claim of the attempt it belongs to.
        folder: Folder of the attempt.
        plan: The plan, for its limits.
        started_at: When the payload started.
        sampler: Looks at what it uses.
    """

    def __init__(
        self,
        driver: Driver,
        engine: Engine,
        claim: Claim,
        folder: AttemptFolder,
        plan: Plan,
        started_at: datetime,
        sampler: Sampler,
    ) -> None:
        self._driver = driver
        self._engine = engine
        self._claim = claim
        self._run_id = claim.run_id
        self._name = container_name(claim.run_id, claim.attempt)
        self._folder = folder
        self._plan = plan
        self._started_at = started_at
        self._sampler = sampler
        self._usage = Usage()
        self._next_usage = 0.0

    def until_ended(self) -> Ended:
        """Blocks until the container has ended and its output is recorded."""
        settings = self._driver.home.settings
        recorder = OutputRecorder(self._folder, settings.output_max_bytes, self._driver.listener)
        deadline = self._deadline()
        silence: FetchmlError | None = None
        pump = OutputPump(recorder, self._engine.output(self._name, recorder.position))
        try:
            while True:
                finished = pump.wait(_LOOK_S)
                recorder.read_inbox()
                try:
                    self._stop_if_due(deadline)
                    self._sample()
                    self._sampler.tick(self._usage)
                    if finished:
                        pump.check()
                        state = self._engine.inspect(self._name)
                        if state is None:
                            raise NotFound(f"the container `{self._name}` was removed while it ran")
                        if state.phase is Phase.EXITED:
                            recorder.read_inbox()
                            return self._ended(state, recorder)
                        pump = OutputPump(recorder, self._engine.output(self._name, recorder.position))
                except Unavailable as error:
                    # The engine is restarting, perhaps. What it cannot say is not known, and the payload may be fine.
                    silence = error
                    time.sleep(_LOOK_S)
                    if finished:
                        pump = OutputPump(recorder, self._engine.output(self._name, recorder.position))
        except NotFound as error:
            facts = EndFacts(lost=True, infrastructure_error=str(silence or error), tail=read_tail(self._folder.output))
            return Ended(facts=facts, started_at=self._started_at, ended_at=self._now())
        finally:
            recorder.close()
            self._sampler.close()

    def _ended(self, state: ContainerState, recorder: OutputRecorder) -> Ended:
        mark = self._stop_mark()
        # A payload that ended well just before its time was up was not stopped by it.
        stopped = mark if mark is not None and (mark.kind is StopKind.CANCEL or state.exit_code != 0) else None
        peak = state.memory_peak_bytes or self._usage.memory_peak_bytes
        warnings: list[str] = []
        if recorder.dropped or state.dropped_bytes:
            warnings.append("output beyond `output.max_size` was dropped")
        if state.out_of_memory and state.exit_code == 0:
            warnings.append("a child process was killed for memory; the program itself ended well")
        if self._sampler.fault is not None:
            warnings.append(f"what the run used was not looked at to its end: {self._sampler.fault}")
        facts = EndFacts(
            exit_code=state.exit_code,
            out_of_memory=state.out_of_memory,
            lost=state.lost or self._died_with_host(state),
            cancelled_by=stopped.by or "unknown" if stopped and stopped.kind is StopKind.CANCEL else None,
            timed_out=stopped is not None and stopped.kind is StopKind.TIMEOUT,
            start_error=state.error,
            killed_by_us=stopped is not None and state.exit_code == SIGKILL_CODE,
            storage_full=recorder.error is not None and recorder.error.code == durable.STORAGE_FULL,
            infrastructure_error=str(recorder.error) if recorder.error is not None else None,
            device_error=self._sampler.device_error,
            tail=read_tail(self._folder.output),
            memory_limit_bytes=self._plan.resources.memory_bytes,
            memory_peak_bytes=peak,
            max_runtime_s=self._plan.resources.max_runtime_s,
        )
        return Ended(
            facts=facts,
            started_at=self._started_at,
            ended_at=max(self._started_at, state.ended_at or self._now()),
            cpu_s=state.cpu_s if state.cpu_s is not None else self._usage.cpu_s,
            warnings=tuple(warnings),
        )

    def _died_with_host(self, state: ContainerState) -> bool:
        """Tells whether the host went down under it: Docker then reports 255 (measured on 20.10)."""
        return state.exit_code == _LOST_CODE and self._claim.boot_id != boot_id()

    def _deadline(self) -> float | None:
        """Returns when the run has to be stopped, on the monotonic clock."""
        limit = self._plan.resources.max_runtime_s
        if limit is None:
            return None
        return time.monotonic() + limit - max(0.0, (self._now() - self._started_at).total_seconds())

    def _stop_if_due(self, deadline: float | None) -> None:
        mark = self._stop_mark()
        if mark is None:
            request = self._driver.home.store.read_cancel(self._run_id)
            if request is not None:
                mark = StopMark(kind=StopKind.CANCEL, by=request.by, at=self._now())
            elif deadline is not None and time.monotonic() >= deadline:
                mark = StopMark(kind=StopKind.TIMEOUT, at=self._now())
            else:
                return
            state = self._engine.inspect(self._name)
            if state is None or state.phase is not Phase.RUNNING:
                return  # it ended by itself
            durable.create_exclusive(self._folder.stop, mark.model_dump_json().encode())
        self._engine.stop(self._name, self._driver.home.settings.stop_grace)

    def _stop_mark(self) -> StopMark | None:
        return read_model(self._folder.stop, StopMark, lambda: f"run `{self._run_id}`")

    def _sample(self) -> None:
        if time.monotonic() < self._next_usage:
            return
        self._next_usage = time.monotonic() + _USAGE_EVERY_S
        new, old = self._engine.usage(self._name), self._usage
        self._usage = Usage(
            new.cpu_s if new.cpu_s is not None else old.cpu_s,
            max(filter(None, (old.memory_peak_bytes, new.memory_peak_bytes)), default=None),
            new.memory_bytes,
            new.read_bytes if new.read_bytes is not None else old.read_bytes,
            new.written_bytes if new.written_bytes is not None else old.written_bytes,
            new.pid,
        )

    def _now(self) -> datetime:
        return self._driver.now()
