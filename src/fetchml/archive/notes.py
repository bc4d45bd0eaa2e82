"""What is known of copies: `copy.json` in a run folder, and why the bucket as a whole takes none now.

Neither is part of a record, and either may be deleted: the run is then looked for in the bucket again.
"""

import hashlib
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from fetchml import durable
from fetchml.errors import FetchmlError
from fetchml.models.base import Model, UtcTime
from fetchml.models.plan import Sha256
from fetchml.store.directory import read_model
from fetchml.store.folder import RunFolder

_FAULT_FILE = "copies.json"
_MAX_CHARACTERS = 500


class CopyFault(Model):
    """Why something is not copied."""

    schema_version: Literal[1] = 1
    place: str = Field(description="Bucket it should go to")
    code: str = Field(description="Stable word of the error")
    reason: str = Field(description="The error, for people")
    hint: str | None = Field(default=None, description="What to do")
    at: UtcTime = Field(description="When it was tried last")


class CopyNote(Model):
    """`copy.json`: the copy of one run."""

    schema_version: Literal[1] = 1
    place: str = Field(description="Bucket it is in, or should go to")
    manifest_sha256: Sha256 | None = Field(default=None, description="SHA-256 of the manifest the bucket has")
    copied_at: UtcTime | None = Field(default=None, description="When that was copied")
    fault: CopyFault | None = Field(default=None, description="Why the last try failed; null if it did not")

    def is_of(self, place: str, manifest: bytes) -> bool:
        """Tells whether a bucket has this manifest, and so the run."""
        return self.place == place and self.manifest_sha256 == hashlib.sha256(manifest).hexdigest()


def fault_of(place: str, error: FetchmlError, at: datetime) -> CopyFault:
    """Returns an error as it is written down."""
    reason = ": ".join(filter(None, (error.summary, error.detail)))
    return CopyFault(place=place, code=error.code, reason=reason[:_MAX_CHARACTERS], hint=error.hint, at=at)


def read_note(run: RunFolder) -> CopyNote | None:
    """Returns what is known of the copy of a run; None if nothing is, or it cannot be read."""
    with suppress(FetchmlError):
        return read_model(run.copy_note, CopyNote, lambda: f"run `{run.run_id}`")
    return None


def write_note(run: RunFolder, note: CopyNote) -> None:
    """Writes down what is known of the copy of a run, best effort: the run may be gone, or the disk full."""
    with suppress(FetchmlError):
        durable.write_atomic(run.copy_note, note.model_dump_json(indent=2).encode() + b"\n")


def read_fault(services: Path) -> CopyFault | None:
    """Returns why no run can be copied now, or None."""
    with suppress(FetchmlError):
        return read_model(services / _FAULT_FILE, CopyFault, lambda: "the copies")
    return None


def write_fault(services: Path, fault: CopyFault | None) -> None:
    """Writes down why no run can be copied now, best effort; None takes it back."""
    with suppress(FetchmlError, OSError):
        if fault is None:
            (services / _FAULT_FILE).unlink(missing_ok=True)
            return
        durable.make_folder(services, mode=0o700)
        durable.write_atomic(services / _FAULT_FILE, fault.model_dump_json(indent=2).encode() + b"\n")
