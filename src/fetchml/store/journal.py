"""What the owner of a run has done and the control host may not know yet: one synced line for each state, in order.

A line is the SHA-256 of what follows it, and JSON. A line that a crash cut short is the last one, and is cut off; the
state it was about is in the manifest beside, from which it is written again.
"""

import hashlib
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.errors import Corrupt


@dataclass(frozen=True, slots=True)
class Entry:
    """One state of a manifest."""

    tag: str
    """What it is recognised by (`fencing.core_tag`)."""
    manifest: str
    """The manifest as JSON; empty for the first entry, which the control host has."""


class Journal:
    """The journal of one run.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Generator[None]:
        """Keeps other processes from writing; the folder is locked, as the file comes and goes."""
        durable.make_folder(self.path.parent, mode=0o700)
        lock = self.path.with_suffix(".lock")
        with durable.translated("lock", lock):
            os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with durable.locked(lock):
            yield

    def begin(self, tag: str) -> None:
        """Starts the journal at a state that the control host has; durable when it returns."""
        durable.make_folder(self.path.parent, mode=0o700)
        durable.write_atomic(self.path, _line(Entry(tag, "")), mode=0o600)

    def append(self, entry: Entry) -> None:
        """Adds a state; durable when it returns. Call it with the lock."""
        good = self._read()[1]
        with durable.translated("write", self.path):
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(file, good)
                os.lseek(file, 0, os.SEEK_END)
                durable.write_all(file, _line(entry))
                os.fsync(file)
            finally:
                os.close(file)

    def entries(self) -> list[Entry]:
        """Returns all states, in order.

        Raises:
            Corrupt: A line before the last is damaged.
        """
        return self._read()[0]

    def remove(self) -> None:
        """Ends the journal: the control host has everything."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".lock").unlink(missing_ok=True)

    def _read(self) -> tuple[list[Entry], int]:
        """Returns the entries, and how many bytes of the file are good."""
        try:
            with durable.translated("read", self.path):
                content = self.path.read_bytes() if self.path.exists() else b""
        except FileNotFoundError:
            content = b""
        found: list[Entry] = []
        good = 0
        for line in content.splitlines(keepends=True):
            entry = _entry(line)
            if entry is None:
                if good + len(line) < len(content):
                    raise Corrupt(
                        f"`{self.path}` is damaged before its end",
                        hint="the run folder beside it holds the latest state",
                        code="journal-damaged",
                    )
                break
            found.append(entry)
            good += len(line)
        return found, good


def _line(entry: Entry) -> bytes:
    payload = json.dumps({"tag": entry.tag, "manifest": entry.manifest}, separators=(",", ":")).encode()
    return hashlib.sha256(payload).hexdigest().encode() + b" " + payload + b"\n"


def _entry(line: bytes) -> Entry | None:
    digest, _, rest = line.partition(b" ")
    payload = rest.removesuffix(b"\n")
    if not rest.endswith(b"\n") or hashlib.sha256(payload).hexdigest().encode() != digest:
        return None
    try:
        fields = cast("dict[str, Any]", json.loads(payload))
        return Entry(str(fields["tag"]), str(fields["manifest"]))
    except (ValueError, KeyError, TypeError):
        return None
