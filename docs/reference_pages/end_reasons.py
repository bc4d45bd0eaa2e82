"""The page of end reasons: the words are those of the enum, their explanation is here."""

from fetchml.models.status import EndReason
from reference_pages.writing import code, page, table

_MEANING: dict[EndReason, str] = {
    EndReason.OK: "The payload ended with exit code 0.",
    EndReason.CODE_ERROR: "The program ended with another exit code or by a signal, and the end of its output tells no "
    "other reason; or it tells that a package is missing, or that the program wrote where a run may not write.",
    EndReason.DATA_ERROR: "The program ended because a file below `/data` was missing.",
    EndReason.OUT_OF_MEMORY: "The run used more memory than its limit and was killed, the program could not get the "
    "memory it asked for, or shared memory was not enough. Podman does not report such a kill: there it is the likely "
    "cause of a SIGKILL, and the summary says so.",
    EndReason.GPU_OUT_OF_MEMORY: "The output tells that the GPU's memory was not enough.",
    EndReason.TIMEOUT: "The run was stopped when its maximum runtime was over.",
    EndReason.CANCELLED: "Someone asked for it to stop, with `fetchml cancel` or in Prefect. What it wrote is kept.",
    EndReason.PREFLIGHT_REFUSED: "The worker's own check found a fault before anything was started: the plan or the "
    "snapshot was changed, a dataset is not what it was, the image is gone, or the host cannot "
    "hold the run. The state is `refused`.",
    EndReason.IMAGE_ERROR: "The environment could not be made, or the engine could not start the command.",
    EndReason.INFRASTRUCTURE: "Something around the run failed and not the run itself, or SIGKILL came from outside.",
    EndReason.HOST_LOST: "The run ended without a trace: the host restarted, its container was removed, or what "
    "supervised it was killed.",
    EndReason.STORAGE_FULL: "The disk of the run store was full, or the output tells that a disk was. What the run "
    "left is kept.",
}

_NEXT: dict[EndReason, str] = {
    EndReason.OK: "Nothing.",
    EndReason.CODE_ERROR: "`fetchml logs` shows the output; `fetchml info` shows its end and what is known.",
    EndReason.DATA_ERROR: "Check the path that the script reads.",
    EndReason.OUT_OF_MEMORY: "Ask for more with `--memory`, raise `resources.shm`, or use less.",
    EndReason.GPU_OUT_OF_MEMORY: "Use a smaller batch, or ask for a larger device with `--gpu-memory`.",
    EndReason.TIMEOUT: "Ask for more with `--max-runtime`, or save checkpoints to `$FETCHML_RESULTS`.",
    EndReason.CANCELLED: "Nothing.",
    EndReason.PREFLIGHT_REFUSED: "Mend what is named, and queue again.",
    EndReason.IMAGE_ERROR: "Read `attempts/1/build.log`; mend the dependency manifest or the image, and queue again.",
    EndReason.INFRASTRUCTURE: "`fetchml doctor` checks the host; then queue again.",
    EndReason.HOST_LOST: "Queue again.",
    EndReason.STORAGE_FULL: "Free space, and queue again.",
}


def end_reasons_page() -> str:
    """Returns the page of end reasons.

    Raises:
        KeyError: A reason is not explained here yet.
    """
    rows = [(code(reason.value), _MEANING[reason], _NEXT[reason]) for reason in EndReason]
    return page(
        "End reasons",
        "How a run ended: `end_reason` in the manifest. The list is closed; a new reason is a new schema version. The "
        "`diagnosis` beside it says the same for people: a summary, the evidence, and what to do next.",
        table(("Reason", "What it means", "What to do"), rows),
        "The cause is looked for from the outside in, and the first that applies counts: a refusal, a cancellation, a "
        "full disk, an environment that could not be made, a start that failed, a lost host, the maximum runtime, a "
        "failure around the run, a memory kill, and last the program's own end, for which the last 16 KB of its output "
        "are read. A program that ends with exit code 0 although its time was up is `ok`. Nothing is started again by "
        "itself: every run has one attempt.",
    )
