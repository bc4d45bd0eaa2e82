"""What the record of a run says of its datasets."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from fetchml.models.base import Model, UtcTime
from fetchml.models.dataset import CHECKSUM


class DatasetOutcome(StrEnum):
    """What a dataset was found to be after the run."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    UNKNOWN = "unknown"


class DatasetCheck(Model):
    """A dataset compared again, when the run had ended."""

    outcome: DatasetOutcome = Field(
        description="unchanged; changed: not what the run was given, at the end; unknown: it could not be compared"
    )
    checked_at: UtcTime = Field(description="When it was compared")
    verified_via: Literal["stat-cache", "full-hash"] | None = Field(
        default=None,
        description="stat-cache: no file was touched since it was hashed; full-hash: what was touched was read, or all",
    )
    checksum: str | None = Field(default=None, pattern=CHECKSUM, description="What was found")
    detail: str | None = Field(default=None, description="The first files that differ, or why it is not known")
    seconds: float = Field(ge=0, description="Seconds that it took")


class DatasetRecord(Model):
    """A dataset the run was given, as it was verified before the start."""

    name: str = Field(description="Name in the catalogue")
    version: str = Field(description="Version in the catalogue")
    uri: str = Field(description="Where the data was")
    checksum: str = Field(
        pattern=CHECKSUM, description="sha256:... or blake3:... of the listing of its files, as found"
    )
    size_bytes: int = Field(ge=0, description="Sum of the sizes of its files, in bytes")
    mount: str | None = Field(default=None, description="Path in the container; null for a plain process")
    fetched_via: Literal["in-place", "copy", "download", "cache"] = Field(
        description="in-place: read where it is; copy: copied to the host for this run; download: from a bucket;"
        " cache: an earlier copy on the host",
    )
    verified_via: Literal["stat-cache", "full-hash"] = Field(
        description="stat-cache: no file was touched since it was hashed; full-hash: what was touched was read"
    )
    fetch_seconds: float = Field(ge=0, description="Seconds that fetching and verifying it took")
    after: DatasetCheck | None = Field(
        default=None, description="What was found after the run; null if it was not compared again"
    )

    @property
    def drifted(self) -> bool:
        """Whether it changed while the run had it."""
        return self.after is not None and self.after.outcome is DatasetOutcome.CHANGED
