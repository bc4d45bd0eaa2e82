"""What a scan of a project found, and what it may find."""

import os
import stat
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a code tree may be."""

    max_bytes: int
    max_files: int
    allow_secrets: tuple[str, ...] = ()
    """Files, and folders of files, that may look like secrets; paths below the root."""
    other_file_systems: bool = False
    """Whether folders on other file systems are entered."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file or link that belongs to the snapshot."""

    path: bytes
    """Path below the root."""
    status: os.stat_result

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)
