"""The paths inside a run folder (DESIGN.md section 4)."""

from dataclasses import dataclass
from pathlib import Path

COPY_NOTE = "copy.json"


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """The folder of one attempt."""

    path: Path

    @property
    def claim(self) -> Path:
        """Who owns the attempt; created once, exclusively."""
        return self.path / "claim.json"

    @property
    def container(self) -> Path:
        """What the engine was asked for."""
        return self.path / "container.json"

    @property
    def stop(self) -> Path:
        """Why the container is being stopped; written before it is told."""
        return self.path / "stop.json"

    @property
    def ended(self) -> Path:
        """How the payload ended; written before anything is concluded from it."""
        return self.path / "ended.json"

    @property
    def stall(self) -> Path:
        """Why the attempt cannot go on now; absent as long as it goes on."""
        return self.path / "stall.json"

    @property
    def output(self) -> Path:
        """Stdout and stderr, byte for byte."""
        return self.path / "output.log"

    @property
    def output_index(self) -> Path:
        """When each part of the output arrived: one JSON line for each second with output."""
        return self.path / "output.index.jsonl"

    @property
    def metrics(self) -> Path:
        """Every metric value, one JSON line each."""
        return self.path / "metrics.jsonl"

    @property
    def resources(self) -> Path:
        """What the run used at each moment: one JSON line for each sample."""
        return self.path / "resources.jsonl"

    @property
    def build_log(self) -> Path:
        """What building the environment printed."""
        return self.path / "build.log"

    @property
    def inbox(self) -> Path:
        """Folder the payload may write to: its metrics arrive here."""
        return self.path / "inbox"

    @property
    def results(self) -> Path:
        """What it had written to its results, if another attempt followed it."""
        return self.path / "results"

    @property
    def record(self) -> tuple[Path, ...]:
        """The files that a sealed manifest lists, as far as they exist."""
        return (
            self.claim,
            self.container,
            self.ended,
            self.build_log,
            self.output,
            self.output_index,
            self.metrics,
            self.resources,
        )

    @property
    def owner_lock(self) -> Path:
        """Locked by the process that drives the attempt, for as long as it lives."""
        return self.path / "owner.lock"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.path.name

    @property
    def plan(self) -> Path:
        """The plan; never changes."""
        return self.path / "plan.json"

    @property
    def manifest(self) -> Path:
        """The record."""
        return self.path / "run_manifest.json"

    @property
    def cancel(self) -> Path:
        """Present once someone asked for the run to stop."""
        return self.path / "cancel.json"

    @property
    def results(self) -> Path:
        """What the script wrote to $FETCHML_RESULTS."""
        return self.path / "results"

    @property
    def code(self) -> Path:
        """The snapshot: a link to its place in the snapshot cache."""
        return self.path / "code"

    @property
    def copy_note(self) -> Path:
        """What is known of the run's copy in a bucket; no part of the record."""
        return self.path / COPY_NOTE

    @property
    def attempts(self) -> Path:
        """Folder of all attempts."""
        return self.path / "attempts"

    def attempt(self, number: int) -> AttemptFolder:
        """Returns the folder of one attempt."""
        return AttemptFolder(self.attempts / str(number))
