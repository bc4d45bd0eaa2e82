"""The plan: everything that decides a run's outcome, resolved and frozen when it is queued.

What cannot change the result stays out: priority, user, narrative, host. The SHA-256 of the plan's canonical JSON is
its identity, shown by a dry run and checked again by the worker.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fetchml.canonical import canonical_bytes
from fetchml.models.base import Model
from fetchml.models.dataset import CHECKSUM, NAME_PATTERN
from fetchml.models.resources import ResourceRequest

PLAN_SCHEMA_VERSION = 1

MAX_ARGUMENTS = 1024
MAX_COMMAND_BYTES = 128 * 1024
"""Caps on a command: Linux itself stops at 128 KiB for one argument."""


def _digest(text: str) -> str:
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise ValueError("expected 64 lower-case hexadecimal digits")
    return text


IMAGE_DIGEST = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"
"""The digests that engines give images."""

Sha256 = Annotated[str, AfterValidator(_digest)]
"""A SHA-256 digest as 64 lower-case hexadecimal digits."""


class EngineKind(StrEnum):
    """What starts a run: a container engine, or a plain child process."""

    DOCKER = "docker"
    PODMAN = "podman"
    PROCESS = "process"

    @property
    def isolates(self) -> bool:
        """Whether runs are in containers."""
        return self is not EngineKind.PROCESS


class Network(StrEnum):
    """What a run may reach over the network."""

    NONE = "none"
    BRIDGE = "bridge"


class Command(Model):
    """What is executed: a list, never a shell line."""

    argv: tuple[str, ...] = Field(min_length=1, max_length=MAX_ARGUMENTS, description="Program and its arguments")
    workdir: str = Field(default="", description="Working folder, relative to the root of the snapshot; '' is the root")
    script: str | None = Field(
        default=None, description="Path of the script inside the snapshot, when the command was given as a script"
    )

    @model_validator(mode="after")
    def _within_caps(self) -> Self:
        size = sum(len(word.encode("utf-8", "surrogateescape")) + 1 for word in self.argv)
        if size > MAX_COMMAND_BYTES:
            raise ValueError(f"the command is {size} bytes long; at most {MAX_COMMAND_BYTES} are accepted")
        if any("\0" in word for word in self.argv):
            raise ValueError("an argument contains a NUL character")
        for path in filter(None, (self.workdir, self.script)):
            if path.startswith("/") or ".." in path.split("/"):
                raise ValueError(f"`{path}` is not a path inside the snapshot")
        return self


class DependencyManifest(Model):
    """The file that names the Python packages a run needs."""

    name: str = Field(description="Path inside the snapshot, such as requirements.txt")
    sha256: Sha256 = Field(description="Digest of the file")


class EnvironmentMode(StrEnum):
    """Where the packages of a run come from."""

    LOCKED = "locked"
    AS_IS = "as-is"


class EnvironmentPlan(Model):
    """The Python environment of a run."""

    mode: EnvironmentMode = Field(
        description="locked: built from the dependency manifest; as-is: the Python of the image or host, unchanged"
    )
    dependencies: DependencyManifest | None = Field(default=None, description="The dependency manifest, if one is used")
    python: str | None = Field(
        default=None, description="Interpreter: a path (process engine, as-is) or a version to build with"
    )

    @model_validator(mode="after")
    def _locked_needs_manifest(self) -> Self:
        if (self.mode is EnvironmentMode.LOCKED) != (self.dependencies is not None):
            raise ValueError("a locked environment has a dependency manifest, an as-is environment has none")
        return self


class ImagePlan(Model):
    """The base image of a run, by name for people and by digest for machines."""

    reference: str = Field(min_length=1, max_length=512, description="Name and tag as the user gave it")
    digest: str = Field(
        pattern=IMAGE_DIGEST, description="sha256:... of the image's configuration, as the engine reports it"
    )


class DatasetPlan(Model):
    """A dataset the run reads."""

    name: str = Field(pattern=NAME_PATTERN, description="Name in the catalogue")
    # The checksum says it all: catalogues that number versions differently must not give one experiment two hashes.
    # Plans from when it was written keep it, and their hash.
    version: str | None = Field(
        default=None,
        pattern=NAME_PATTERN,
        exclude_if=lambda found: found is None,
        description="Version in the catalogue; only in older plans",
    )
    checksum: str = Field(pattern=CHECKSUM, description="sha256:... or blake3:... of the listing of its files")
    mount: str | None = Field(
        default=None, description="Path in the container; null for a plain process, which reads it where it is"
    )


class Plan(Model):
    """Everything that decides a run's outcome."""

    schema_version: Literal[1] = Field(default=PLAN_SCHEMA_VERSION, description="Version of this shape")
    snapshot_id: Sha256 = Field(description="Commit id: SHA-256 of the canonical tree of the code")
    command: Command = Field(description="What is executed")
    environment: EnvironmentPlan = Field(description="The Python environment")
    engine: EngineKind = Field(description="What starts the run")
    image: ImagePlan | None = Field(default=None, description="Base image; null for the process engine")
    resources: ResourceRequest = Field(description="What the run asks for")
    network: Network = Field(description="What the run may reach over the network")
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables of the run")
    # Left out where there are none: plans from before there were datasets keep their hash, and so does every run that
    # uses none.
    datasets: tuple[DatasetPlan, ...] = Field(
        default=(), exclude_if=lambda found: not found, description="Datasets the run reads; left out if there are none"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.engine.isolates != (self.image is not None):
            raise ValueError("a container engine needs an image, the process engine has none")
        if len({item.name for item in self.datasets}) != len(self.datasets):
            raise ValueError("a dataset is there twice")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"`{name}` cannot be a variable of the environment: it has no name, or a `=` or NUL")
        return self

    @property
    def canonical(self) -> bytes:
        """The RFC 8785 bytes of the plan."""
        return canonical_bytes(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        """`plan_sha256`: the digest of the canonical bytes."""
        return hashlib.sha256(self.canonical).hexdigest()
