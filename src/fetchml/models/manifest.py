"""`run_manifest.json`: the record of one run, from queued to sealed.

The file is the truth about a run and can be read for years without fetchml. At the end it is sealed: the seal's digest
covers every section but the ones people may still edit (`EDITABLE_SECTIONS`).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from fetchml.canonical import canonical_sha256
from fetchml.errors import Conflict, Corrupt
from fetchml.models.base import Model, UtcTime
from fetchml.models.dataset_record import DatasetRecord
from fetchml.models.key import KeyId, PublicKey, Signature
from fetchml.models.plan import EngineKind, Network, Sha256
from fetchml.models.queueing import AttemptRecord, Queueing
from fetchml.models.resources import Device, ResourceRequest, ResourceUse
from fetchml.models.software import AcceleratorLibrary, PythonBuild, SettingRecord, SystemFacts
from fetchml.models.status import EndReason, Status, attempt_of, transition

MANIFEST_SCHEMA_VERSION = "1.0"

EDITABLE_SECTIONS = frozenset({"narrative", "annotations", "outcome", "privacy"})
"""Sections the seal leaves out: people write them after the run."""


TrustLevel = Literal["L0", "L1", "L2", "L3", "L4"]
"""Rungs of the trust ladder, from nothing verified to reproduced."""
TRUST_LEVELS: tuple[TrustLevel, ...] = ("L0", "L1", "L2", "L3", "L4")
ReproPolicy = Literal["strict", "best-effort"]
"""strict: what cannot be repeated is refused; best-effort: it is run, and the record says what it lacks."""


class Identity(Model):
    """Which run this is and whose."""

    run_id: str = Field(description="Id of the run")
    name: str = Field(description="Name for people; not unique")
    user: str = Field(description="Who queued it")
    host: str = Field(description="Host it was queued from")
    group: str | None = Field(default=None, description="Group it belongs to")
    tags: tuple[str, ...] = Field(default=(), description="Tags, in the order given")
    priority: int = Field(default=5, ge=0, le=10, description="Priority, 0 to 10, higher first")
    parent_run: str | None = Field(default=None, description="Run this one continues or repeats")
    commit_id: Sha256 = Field(description="Snapshot id of the code")


class CommandRecord(Model):
    """What was executed."""

    argv: tuple[str, ...] = Field(description="Program and its arguments")
    workdir: str = Field(description="Working folder, relative to the root of the snapshot")


class Times(Model):
    """The moments of a run."""

    queued_at: UtcTime = Field(description="When it was accepted")
    started_at: UtcTime | None = Field(default=None, description="When the payload started")
    ended_at: UtcTime | None = Field(default=None, description="When it ended")
    sealed_at: UtcTime | None = Field(default=None, description="Repeats the seal's own time, where the seal covers it")


class EvidenceState(StrEnum):
    """How well something that trust stands on is known."""

    VERIFIED = "verified"
    DECLARED = "declared"
    UNKNOWN = "unknown"
    MISSING = "missing"


class Evidence(Model):
    """One thing that a rung of the trust ladder stands on."""

    rung: TrustLevel = Field(description="Rung that needs it")
    field: str = Field(description="What it is about, as a field of the plan or the manifest")
    state: EvidenceState = Field(
        description="verified: compared; declared: stated, to be done before the start or at the end; unknown; missing"
    )
    detail: str = Field(description="What was found, for people")

    @property
    def holds(self) -> bool:
        """Whether the rung can stand on it."""
        return self.state in (EvidenceState.VERIFIED, EvidenceState.DECLARED)


class PlanTrace(Model):
    """How far the run can be trusted and repeated."""

    repro_policy: ReproPolicy = Field(description="Policy it was queued under")
    trust_level: TrustLevel = Field(description="Rung of the trust ladder")
    trust_evidence: tuple[Evidence, ...] = Field(default=(), description="What each rung stands on, and what it lacks")
    plan_sha256: Sha256 = Field(description="Digest of plan.json's canonical form")


class GitFacts(Model):
    """What git said about the tree when it was captured."""

    commit: str | None = Field(default=None, description="Commit that was checked out; null in an empty repository")
    branch: str | None = Field(default=None, description="Branch; null when detached")
    dirty: bool = Field(description="Whether tracked files differed from the commit or untracked files were captured")
    diff_object: Sha256 | None = Field(default=None, description="Object that holds `git diff HEAD`, if it was dirty")


class Environment(Model):
    """The software a run saw."""

    mode: Literal["locked", "as-is"] = Field(description="Built from the dependency manifest, or used as it was")
    dependencies_name: str | None = Field(default=None, description="Dependency manifest inside the snapshot")
    dependencies_sha256: Sha256 | None = Field(default=None, description="Digest of the dependency manifest")
    key: Sha256 | None = Field(default=None, description="Key of the environment that was built for it")
    python: str | None = Field(default=None, description="Version of Python the payload had")
    interpreter: PythonBuild | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="Build of that Python; left out if it is not known",
    )
    packages: tuple[str, ...] = Field(default=(), description="Installed packages as name==version, sorted")
    libraries: tuple[AcceleratorLibrary, ...] = Field(
        default=(), exclude_if=lambda found: not found, description="Libraries for GPUs; left out if none was found"
    )
    system: SystemFacts | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="Operating system of the image, or of the host for a plain process; left out if it is not known",
    )
    image: str | None = Field(default=None, description="Base image, as named")
    image_digest: str | None = Field(default=None, description="sha256:... of the base image")
    built_image_digest: str | None = Field(default=None, description="sha256:... of the image built for the run")
    git: GitFacts | None = Field(default=None, description="State of the git repository, if there was one")
    fetchml: str = Field(description="Version of fetchml that queued the run")
    settings: tuple[SettingRecord, ...] = Field(
        default=(),
        exclude_if=lambda found: not found,
        description="Settings that matter, with the layer each came from; left out in older records",
    )


class Hardware(Model):
    """The machine a run was on."""

    host: str = Field(description="Host name")
    platform: str = Field(description="Operating system, kernel and machine")
    system: SystemFacts | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="Operating system of the host; left out in older records",
    )
    cpu_model: str | None = Field(default=None, description="Name of the processor")
    cpu_count: int = Field(ge=1, description="Logical processors of the host")
    memory_bytes: int = Field(ge=0, description="Memory of the host, in bytes")
    gpus: tuple[Device, ...] = Field(default=(), description="GPUs of the host")
    gpu_detection: str = Field(
        default="none", description="How GPUs were found: nvml, sysfs, metal, several of them with a +, env or none"
    )
    driver_version: str | None = Field(default=None, description="GPU driver")
    cuda_version: str | None = Field(default=None, description="CUDA version the driver supports")


class Resources(Model):
    """What the run asked for and what it used."""

    requested: ResourceRequest = Field(description="From the plan")
    actual: ResourceUse | None = Field(default=None, description="Measured; null until the run has ended")


class Placement(Model):
    """Where the run went and what it waited for."""

    host: str = Field(description="Host that ran it")
    worker: str = Field(description="Worker that claimed it")
    device_ids: tuple[str, ...] = Field(default=(), description="GPUs it was given")
    waited_s: float = Field(ge=0, description="Seconds between queued and claimed")
    waited_for: tuple[str, ...] = Field(default=(), description="Last reasons it waited, in words")


class Sandbox(Model):
    """What fenced the payload in, as enforced by the engine."""

    engine: EngineKind = Field(description="Engine that started it")
    engine_version: str | None = Field(default=None, description="Version the engine reports")
    container: str = Field(description="Name of the container or process")
    network: Network = Field(description="What it could reach")
    user: str | None = Field(default=None, description="User and group ids inside")
    read_only_code: bool = Field(description="Whether the code could not be changed by the payload")
    read_only_root: bool = Field(default=False, description="Whether the root file system was read-only")
    no_new_privileges: bool = Field(default=False, description="Whether privileges could not be gained")
    capabilities_dropped: bool = Field(default=False, description="Whether all capabilities were dropped")
    memory_limited: bool = Field(default=False, description="Whether the memory limit was enforced")
    cpu_limited: bool = Field(default=False, description="Whether the CPU limit was enforced")
    pids_limited: bool = Field(default=False, description="Whether the number of processes was limited")


class MetricSummary(Model):
    """One metric over the whole run."""

    last: float | None = Field(description="Value logged last; null if it was NaN or infinite")
    last_step: int | None = Field(default=None, description="Step of the last value")
    minimum: float | None = Field(description="Smallest finite value; null if there was none")
    minimum_step: int | None = Field(default=None, description="Step of the smallest value")
    maximum: float | None = Field(description="Largest finite value; null if there was none")
    maximum_step: int | None = Field(default=None, description="Step of the largest value")
    count: int = Field(ge=1, description="Values logged")
    not_finite: int = Field(default=0, ge=0, description="How many of them were NaN or infinite")

    def __str__(self) -> str:
        """Returns the summary for people."""
        shown = [f"min {self.minimum:g}", f"max {self.maximum:g}"] if self.minimum is not None else []
        if self.not_finite:
            shown.append(f"{self.not_finite} of {self.count} not finite")
        return f"{'not finite' if self.last is None else f'{self.last:g}'}  ({', '.join(shown)})"


class Artifact(Model):
    """One file the run left in its results."""

    path: str = Field(description="Path below results/")
    size_bytes: int = Field(ge=0, description="Size, in bytes")
    sha256: Sha256 = Field(description="Digest of the content")
    modified: UtcTime = Field(description="When the payload last wrote it")


class Exclusion(Model):
    """Something in the results folder that is not listed as an artifact."""

    path: str = Field(description="Path below results/")
    reason: str = Field(description="Why: symbolic link, FIFO, unreadable, ...")


class Artifacts(Model):
    """What the run left behind, discovered at its end."""

    discovered_at: UtcTime = Field(description="When the results folder was scanned")
    files: tuple[Artifact, ...] = Field(default=(), description="Files, sorted by path")
    total_size_bytes: int = Field(ge=0, description="Sum of the sizes, in bytes")
    exclusions: tuple[Exclusion, ...] = Field(default=(), description="What was left out and why")


class RecordFile(Model):
    """One file of the record itself, such as the output log."""

    path: str = Field(description="Path below the run folder")
    size_bytes: int = Field(ge=0, description="Size, in bytes")
    sha256: Sha256 = Field(description="Digest of the content")


class Diagnosis(Model):
    """Why the run ended as it did, for people."""

    category: EndReason = Field(description="The end reason")
    summary: str = Field(description="One sentence")
    detail: str | None = Field(default=None, description="The evidence")
    resolution: str | None = Field(default=None, description="What to do next")


class Metadata(Model):
    """What the user said when queueing."""

    note: str | None = Field(default=None, description="Note given with --note")
    engine_reason: str | None = Field(default=None, description="Why the engine was chosen")
    sign: bool = Field(default=False, description="Whether its seal is to be signed")


class Narrative(Model):
    """Why the run exists; editable after the seal."""

    hypothesis: str | None = Field(default=None, description="What the run is meant to show")
    context: str | None = Field(default=None, description="What led to it")
    intent: str | None = Field(default=None, description="What it is for")
    expected_outcome: str | None = Field(default=None, description="What should come out")


class Annotation(Model):
    """A note added later; editable after the seal."""

    timestamp: UtcTime = Field(description="When it was written")
    author: str | None = Field(default=None, description="Who wrote it")
    note: str = Field(description="The note")


class PrefectTrace(Model):
    """The run's flow run in Prefect."""

    flow_run_id: str = Field(description="Id of the flow run")
    api_url: str = Field(description="Prefect API that dispatched it")


class SealSignature(Model):
    """Who vouches for a seal."""

    signature: Signature = Field(description="Ed25519 signature of the seal's message (RFC 8032), hexadecimal")
    key_id: KeyId = Field(description="Id of the key")
    public_key: PublicKey = Field(description="The key's public half, hexadecimal")


Sign = Callable[[bytes], SealSignature]
"""Signs a message with a key it holds."""


class Seal(Model):
    """The end of the record: nothing it covers changes any more."""

    algorithm: Literal["sha256-rfc8785"] = "sha256-rfc8785"
    digest: Sha256 = Field(description="SHA-256 of the canonical JSON of all sealed sections")
    sealed_at: UtcTime = Field(description="When it was sealed")
    signature: Signature | None = Field(
        default=None, description="Ed25519 signature (RFC 8032) of `fetchml-seal-v1`, a zero byte and the digest"
    )
    key_id: KeyId | None = Field(default=None, description="Id of the key that signed it; null if it is not signed")
    public_key: PublicKey | None = Field(default=None, description="Public half of that key")

    @model_validator(mode="after")
    def _signature_is_whole(self) -> Self:
        if len({part is None for part in (self.signature, self.key_id, self.public_key)}) != 1:
            raise ValueError("signature, key_id and public_key belong together")
        return self


def seal_message(digest: str) -> bytes:
    """Returns what is signed: the digest, with a prefix that keeps the signature from meaning anything else."""
    return b"fetchml-seal-v1\0" + digest.encode("ascii")


class RunManifest(Model):
    """The record of a run."""

    schema_version: Literal["1.0"] = Field(default=MANIFEST_SCHEMA_VERSION, description="Version of this shape")
    identity: Identity = Field(description="Which run this is")
    command: CommandRecord = Field(description="What was executed")
    status: Status = Field(description="State, with the fields valid in it")
    times: Times = Field(description="The moments of the run")
    exit_code: int | None = Field(default=None, description="Exit code of the payload")
    end_reason: EndReason | None = Field(default=None, description="How it ended; null until it has")
    attempts: tuple[AttemptRecord, ...] = Field(
        default=(),
        exclude_if=lambda found: not found,
        description="Attempts before the last one; left out if it was the first",
    )
    queueing: Queueing | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="Host asked for, retries, place in the queue; left out in older records",
    )
    plan: PlanTrace = Field(description="Plan hash and trust")
    environment: Environment = Field(description="Software the run saw")
    hardware: Hardware | None = Field(default=None, description="Machine it was on; null until it was placed")
    datasets: tuple[DatasetRecord, ...] = Field(
        default=(), description="Datasets it was given, verified before the start"
    )
    resources: Resources = Field(description="Asked for and used")
    placement: Placement | None = Field(default=None, description="Where it went; null until it was claimed")
    sandbox: Sandbox | None = Field(default=None, description="What fenced the payload in; null until it started")
    metrics: dict[str, MetricSummary] = Field(default_factory=dict, description="Summary of each metric")
    artifacts: Artifacts | None = Field(default=None, description="What it left behind; null until it has ended")
    record_files: tuple[RecordFile, ...] = Field(default=(), description="Other files of the run folder")
    diagnosis: Diagnosis | None = Field(default=None, description="Why it ended so; null until it has")
    warnings: tuple[str, ...] = Field(default=(), description="What a reader should know about this record")
    prefect: PrefectTrace | None = Field(default=None, description="Its flow run; null until it was dispatched")
    metadata: Metadata = Field(default_factory=Metadata, description="What the user said when queueing")
    narrative: Narrative = Field(default_factory=Narrative, description="Why it exists; not sealed")
    annotations: tuple[Annotation, ...] = Field(default=(), description="Notes added later; not sealed")
    seal: Seal | None = Field(default=None, description="Null until the run has ended")

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        status = self.status
        expected = (
            getattr(status, "started_at", None),
            getattr(status, "ended_at", None),
            getattr(status, "exit_code", None),
            getattr(status, "end_reason", None),
        )
        if expected != (self.times.started_at, self.times.ended_at, self.exit_code, self.end_reason):
            raise ValueError("times, exit_code and end_reason must repeat what status says")
        return self

    @property
    def attempt(self) -> int:
        """The attempt the run is in or waits for, from 1."""
        return attempt_of(self.status)

    def is_over(self, attempt: int) -> bool:
        """Tells whether nothing is left to do for an attempt: the run has ended, or another attempt follows it."""
        return self.seal is not None or self.attempt > attempt

    def with_status(self, new: Status, **sections: object) -> "RunManifest":
        """Returns the manifest after a transition, with the sections that repeat the status kept in step.

        Args:
            new: The status that follows.
            sections: Other sections to replace at the same moment.

        Raises:
            Conflict: The manifest is sealed, or the life cycle has no such transition.
        """
        status = transition(self.status, new)
        times = Times(
            queued_at=self.times.queued_at,
            started_at=getattr(status, "started_at", None),
            ended_at=getattr(status, "ended_at", None),
        )
        return self.with_sections(
            status=status,
            times=times,
            exit_code=getattr(status, "exit_code", None),
            end_reason=getattr(status, "end_reason", None),
            **sections,
        )

    def with_sections(self, **sections: object) -> "RunManifest":
        """Returns the manifest with some sections replaced; after the seal only the editable ones may be.

        Raises:
            Conflict: A sealed section would change.
        """
        if self.seal is not None and not sections.keys() <= EDITABLE_SECTIONS:
            raise Conflict(f"run `{self.identity.run_id}` is sealed", detail="sealed sections never change")
        current = {name: getattr(self, name) for name in type(self).model_fields}
        return RunManifest.model_validate({**current, **sections})

    def sealed_digest(self, document: Mapping[str, object] | None = None) -> str:
        """Returns the digest over every section the seal covers; see `check_seal` for the document."""
        whole = self.model_dump(mode="json") if document is None else document
        return canonical_sha256({k: v for k, v in whole.items() if k != "seal" and k not in EDITABLE_SECTIONS})

    def sealed(self, now: UtcTime, sign: Sign | None = None) -> "RunManifest":
        """Returns the manifest with its seal.

        Args:
            now: The moment of the seal.
            sign: Signs the seal; None leaves it unsigned.

        Raises:
            Conflict: The run has not ended, or is sealed already.
        """
        if not self.status.state.is_final:
            raise Conflict(f"run `{self.identity.run_id}` has not ended", code="not-ended")
        ended = self.with_sections(times=self.times.model_copy(update={"sealed_at": now}))
        digest = ended.sealed_digest()
        signed = sign(seal_message(digest)).model_dump() if sign is not None else {}
        return ended.with_sections(seal=Seal(digest=digest, sealed_at=now, **signed))

    def check_seal(self, document: Mapping[str, object] | None = None) -> None:
        """Verifies the seal.

        Args:
            document: The manifest as it is stored; None takes this object as it would be stored now. The two differ
                for a record that an older version wrote, which lacks the fields that came later.

        Raises:
            Corrupt: The digest does not match, or an ended run has no seal.
        """
        if self.seal is None:
            if self.status.state.is_final:
                raise Corrupt(f"run `{self.identity.run_id}` has ended without a seal", code="seal-missing")
            return
        found = self.sealed_digest(document)
        faults = [] if found == self.seal.digest else [f"sealed as {self.seal.digest}, now {found}"]
        # The digest leaves the seal out, so the seal's time is kept a second time where it is covered.
        times, seal = _section(self, document, "times"), _section(self, document, "seal")
        if times.get("sealed_at") not in (None, seal["sealed_at"]):
            faults.append(f"sealed at {times['sealed_at']}, now {seal['sealed_at']}")
        if faults:
            raise Corrupt(
                f"the manifest of run `{self.identity.run_id}` was changed after it was sealed",
                detail="; ".join(faults),
                code="seal-broken",
            )


def _section(manifest: RunManifest, document: Mapping[str, object] | None, name: str) -> Mapping[str, Any]:
    whole: Mapping[str, Any] = manifest.model_dump(mode="json", include={name}) if document is None else document
    return whole[name]
