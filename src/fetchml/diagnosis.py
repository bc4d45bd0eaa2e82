"""Why a run ended as it did: a pure function from facts to a category, the evidence, and what to do next."""

import re
from dataclasses import dataclass

from pydantic import Field

from fetchml.models.base import Model
from fetchml.models.manifest import Diagnosis
from fetchml.models.status import EndReason
from fetchml.models.units import format_duration, format_size

SIGKILL_CODE = 128 + 9


class EndFacts(Model):
    """What is known at the end of a run."""

    exit_code: int | None = Field(default=None, description="Exit code of the payload")
    out_of_memory: bool | None = Field(default=False, description="Whether its memory limit killed it; null if unknown")
    lost: bool = Field(default=False, description="It ended without a trace")
    cancelled_by: str | None = Field(default=None, description="Who asked for it to stop, if its end is due to that")
    timed_out: bool = Field(default=False, description="It was stopped at its maximum runtime")
    killed_by_us: bool = Field(default=False, description="SIGTERM was not enough and SIGKILL was sent")
    refused: tuple[str, ...] = Field(default=(), description="What the worker's preflight found")
    environment_error: str | None = Field(default=None, description="Why its environment could not be made")
    start_error: str | None = Field(default=None, description="Why the engine could not start it")
    data_error: str | None = Field(default=None, description="Why it was stopped for its data")
    infrastructure_error: str | None = Field(default=None, description="What else went wrong around the payload")
    device_error: str | None = Field(default=None, description="What a GPU of the run reported last, if it is wrong")
    storage_full: bool = Field(default=False, description="The disk of the run store was full")
    tail: str = Field(default="", description="The end of its output")
    memory_limit_bytes: int = Field(default=0, description="Memory limit, in bytes")
    memory_peak_bytes: int | None = Field(default=None, description="Largest memory seen, in bytes")
    max_runtime_s: int | None = Field(default=None, description="Seconds it was allowed to take")


@dataclass(frozen=True, slots=True)
class _Sign:
    """A line of output that tells a cause."""

    pattern: re.Pattern[str]
    category: EndReason
    summary: str
    resolution: str


_SIGNS = (
    _Sign(
        # The init programs of Docker (tini) and Podman (catatonit): they are what starts the command.
        re.compile(r"\A\[FATAL tini \(\d+\)\] (exec .*)|\AERROR \(catatonit:\d+\): (failed to exec .*)"),
        EndReason.IMAGE_ERROR,
        "the command could not be started: {0}",
        "check that the program exists in the image or environment",
    ),
    _Sign(
        # An init program has a shell read what the system cannot execute, and the shell stumbles over its first bytes.
        re.compile(r"\A\S+: (?:line )?\d+: \x7fELF|\bExec format error\b"),
        EndReason.IMAGE_ERROR,
        "the program is made for another architecture than this host's (exec format error)",
        "build or choose one for this host",
    ),
    _Sign(
        re.compile(
            r"CUDA out of memory|CUDA error: out of memory|HIP out of memory|OutOfMemoryError: .*(?:CUDA|HIP)"
            r"|RESOURCE_EXHAUSTED: Out of memory"
        ),
        EndReason.GPU_OUT_OF_MEMORY,
        "the GPU's memory was not enough",
        "use a smaller batch, or ask for a device with more memory with `--gpu-memory`",
    ),
    _Sign(
        re.compile(
            r"(?:^|\n)(?:MemoryError(?::|\s|$)|.*MemoryError: |.*unable to allocate .* (?:bytes|[KMGT]iB))"
            r"|DefaultCPUAllocator: can't allocate memory|std::bad_alloc|\[Errno 12\] Cannot allocate memory"
        ),
        EndReason.OUT_OF_MEMORY,
        "the program could not get the memory it asked for",
        "ask for more with `--memory`",
    ),
    _Sign(
        re.compile(r"unable to allocate shared memory|Bus error.*shared memory"),
        EndReason.OUT_OF_MEMORY,
        "shared memory was not enough, as data loader workers need it",
        "raise `resources.shm` in fetchml.yaml, or use fewer workers",
    ),
    _Sign(
        # After `systemctl daemon-reload` with the old way of passing NVIDIA's devices (nvidia-container-toolkit #48).
        re.compile(r"Failed to initialize NVML: Unknown Error"),
        EndReason.INFRASTRUCTURE,
        "the container lost its GPU while it ran",
        "have Docker use CDI or the cgroupfs driver (NVIDIA's troubleshooting guide), then queue it again",
    ),
    _Sign(
        re.compile(r"uncorrectable ECC error encountered|CUDA error: device lost|GPU is lost|fallen off the bus"),
        EndReason.INFRASTRUCTURE,
        "a GPU of the run failed",
        "`fetchml doctor` looks at the GPUs of this host; then queue it again",
    ),
    _Sign(
        re.compile(r"No space left on device|Disk quota exceeded"),
        EndReason.STORAGE_FULL,
        "the disk was full",
        "free space on the host, then requeue",
    ),
    _Sign(
        re.compile(r"ModuleNotFoundError: No module named '([^']+)'"),
        EndReason.CODE_ERROR,
        "a Python package is missing: {0}",
        "add it to the dependency manifest (for example requirements.txt) and queue again",
    ),
    _Sign(
        re.compile(r"Read-only file system: '?([^'\n]+)|PermissionError: .*Permission denied: '?([^'\n]+)"),
        EndReason.CODE_ERROR,
        "it wrote where a run may not write: {0}",
        "write to the folder in $FETCHML_RESULTS; the code folder is read-only",
    ),
)

_DATA_SIGN = re.compile(r"FileNotFoundError: .*No such file or directory: '(/data/[^']+)'")


def diagnose(facts: EndFacts) -> Diagnosis:
    """Returns the diagnosis of a run's end; the first cause that applies wins, from the outside in."""
    tail = _last_lines(facts.tail)
    if facts.refused:
        return Diagnosis(
            category=EndReason.PREFLIGHT_REFUSED,
            summary="the worker's own check refused the run before it started",
            detail="\n".join(facts.refused),
            resolution="mend what is named, and queue again",
        )
    if facts.cancelled_by is not None:
        how = " and was killed, as it did not stop in time" if facts.killed_by_us else ""
        return Diagnosis(category=EndReason.CANCELLED, summary=f"cancelled by {facts.cancelled_by}{how}", detail=tail)
    if facts.storage_full:
        return Diagnosis(
            category=EndReason.STORAGE_FULL,
            summary="the disk of the run store was full",
            detail=facts.infrastructure_error,
            resolution="free space on it, then requeue; what the run left is kept",
        )
    if facts.environment_error is not None:
        return Diagnosis(
            category=EndReason.IMAGE_ERROR,
            summary="the environment of the run could not be made",
            detail=facts.environment_error,
            resolution="mend the dependency manifest or the image, and queue again",
        )
    if facts.start_error is not None:
        return Diagnosis(
            category=EndReason.IMAGE_ERROR,
            summary="the command could not be started",
            detail=facts.start_error,
            resolution="check that the program exists in the image or environment",
        )
    if facts.data_error is not None:
        return Diagnosis(
            category=EndReason.DATA_ERROR,
            summary="it was stopped at once: its data was replaced between check and start",
            detail=facts.data_error,
            resolution="keep others from changing the folders above it, or set `datasets.stage: always`",
        )
    if facts.lost:
        return Diagnosis(
            category=EndReason.HOST_LOST,
            summary="the run was lost: the host restarted, or what supervised it was killed",
            detail=facts.infrastructure_error,
            resolution="queue it again",
        )
    if facts.timed_out:
        limit = format_duration(facts.max_runtime_s or 0)
        return Diagnosis(
            category=EndReason.TIMEOUT,
            summary=f"stopped after its maximum runtime of {limit}",
            detail=tail,
            resolution="ask for more with `--max-runtime`, or save checkpoints to $FETCHML_RESULTS",
        )
    if facts.infrastructure_error is not None:
        return Diagnosis(
            category=EndReason.INFRASTRUCTURE,
            summary="something around the run failed, not the run itself",
            detail=facts.infrastructure_error,
            resolution="`fetchml doctor` checks this host; then queue it again",
        )
    if facts.out_of_memory and facts.exit_code != 0:
        return _memory(facts, tail, certain=True)
    if facts.exit_code == 0:
        return Diagnosis(category=EndReason.OK, summary="completed")
    return _from_output(facts, tail)


def _from_output(facts: EndFacts, tail: str | None) -> Diagnosis:
    if facts.device_error is not None:
        return Diagnosis(
            category=EndReason.INFRASTRUCTURE,
            summary="a GPU of the run failed",
            detail="\n".join(filter(None, (facts.device_error, tail))),
            resolution="`fetchml doctor` looks at the GPUs of this host; then queue it again",
        )
    for sign in _SIGNS:
        match = sign.pattern.search(facts.tail)
        if match is not None:
            named = next((group for group in match.groups() if group), "")
            return Diagnosis(
                category=sign.category,
                summary=sign.summary.format(named[:200]),
                detail=tail,
                resolution=sign.resolution,
            )
    if _DATA_SIGN.search(facts.tail):
        return Diagnosis(
            category=EndReason.DATA_ERROR,
            summary="a file of a dataset is missing",
            detail=tail,
            resolution="check the datasets of the run",
        )
    if facts.exit_code == SIGKILL_CODE:
        if facts.out_of_memory is None or (facts.memory_peak_bytes or 0) > 0.9 * facts.memory_limit_bytes:
            return _memory(facts, tail, certain=False)
        return Diagnosis(
            category=EndReason.INFRASTRUCTURE,
            summary="killed by SIGKILL from outside",
            detail=tail,
            resolution="the host may be out of memory; `fetchml doctor` checks it",
        )
    code = facts.exit_code
    if code is None:
        how = "ended in a way that is not known"
    else:
        how = f"ended by signal {code - 128}" if 128 < code < 160 else f"exited with code {code}"
    return Diagnosis(
        category=EndReason.CODE_ERROR,
        summary=f"the program {how}",
        detail=tail,
        resolution="`fetchml logs` shows its output",
    )


def _memory(facts: EndFacts, tail: str | None, *, certain: bool) -> Diagnosis:
    limit = format_size(facts.memory_limit_bytes)
    likely = "" if certain else " (most likely: it was killed without a word)"
    peak = f"; the highest use seen was {format_size(facts.memory_peak_bytes)}" if facts.memory_peak_bytes else ""
    return Diagnosis(
        category=EndReason.OUT_OF_MEMORY,
        summary=f"used more memory than its limit of {limit}{likely}",
        detail=f"{tail or ''}{peak}".strip("; \n") or None,
        resolution="ask for more with `--memory`, or use less",
    )


def _last_lines(tail: str, count: int = 15) -> str | None:
    lines = [line for line in tail.splitlines() if line.strip()][-count:]
    return "\n".join(lines) or None
