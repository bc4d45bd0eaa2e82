"""Sends what a host has done to the control host: output as it grows, states in order, files, and the seal last.

Everything is sent from what is on the disk of the host, so whoever sends may die at any moment and the next one goes
on; what was received already is not sent again. A run is removed here only when the control host has all of it.
"""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fetchml import durable
from fetchml.errors import Conflict, FetchmlError, Forbidden, NotFound, Unavailable
from fetchml.link.client import Link
from fetchml.link.wire import CHUNK_BYTES, TOKEN_HEADER
from fetchml.models.claim import Claim
from fetchml.models.manifest import RunManifest
from fetchml.store.below import files_below
from fetchml.store.fencing import core_tag
from fetchml.store.folder import RunFolder
from fetchml.store.journal import Entry
from fetchml.store.outpost import OutpostRunStore

_GROWING = ("output.log", "output.index.jsonl", "metrics.jsonl", "resources.jsonl")
_SMALL = ("container.json", "stall.json")

Logger = logging.Logger | logging.LoggerAdapter[Any]
IsDriven = Callable[[RunFolder, int], bool]
"""Tells whether a process still drives an attempt."""


@dataclass
class _Sent:
    """What is known to have arrived of one run; forgotten with the process, and then found out again."""

    sizes: dict[str, int] = field(default_factory=dict[str, int])
    stamps: dict[str, tuple[int, int, int]] = field(default_factory=dict[str, tuple[int, int, int]])


class Shipping:
    """Sends the runs of a host.

    Args:
        store: What this host has.
        is_driven: Tells whether a process still drives an attempt.
        logger: Where is noted what was sent whole, and what was refused.
    """

    def __init__(self, store: OutpostRunStore, is_driven: IsDriven, logger: Logger | None = None) -> None:
        self._store = store
        self._link: Link = store.far.link
        self._is_driven = is_driven
        self._logger = logger or logging.getLogger("fetchml.shipping")
        self._sent: dict[str, _Sent] = {}
        self._before = ""
        """Tag of what the control host has of the run that is being sent."""
        self._refused: set[str] = set()

    def turn(self) -> int:
        """Sends what there is to send; returns how many runs are not yet whole on the control host.

        Raises:
            Unavailable: The gateway does not answer; nothing is lost.
            Forbidden: It refuses the key.
        """
        left = 0
        for run_id in self._store.journals():
            try:
                left += not self._ship(run_id)
            except (Unavailable, Forbidden):
                raise  # it is not about this run
            except (FetchmlError, OSError) as error:
                left += 1
                if run_id not in self._refused:
                    self._refused.add(run_id)
                    self._logger.error("run %s is not sent: %s", run_id, str(error).replace("\n", "; "))  # noqa: TRY400
        return left

    def _ship(self, run_id: str) -> bool:
        """Sends one run as far as it goes; returns whether that was all of it."""
        store = self._store
        folder, claim = store.near.folder(run_id), store.latest_claim(run_id)
        if not store.near.exists(run_id) or claim is None:
            self._drop(run_id)
            return True
        store.note_all(run_id)
        manifest = store.near.read_manifest(run_id)
        waiting = self._waiting(run_id)
        self._bring_cancel(folder, manifest, claim)
        is_over = manifest.is_over(claim.attempt)
        if not is_over:
            self._send_growth(folder, claim)
        for entry in waiting:
            new = RunManifest.model_validate_json(entry.manifest)
            if new.is_over(claim.attempt):
                self._send_files(folder, _files_of(new, folder, claim.attempt), claim)
            self._send_state(run_id, entry, claim)
        if not is_over or self._is_driven(folder, claim.attempt):
            return False
        self._drop(run_id)
        self._logger.info("run %s is whole on the control host", run_id)
        return True

    def _drop(self, run_id: str) -> None:
        self._store.remove(run_id)
        self._sent.pop(run_id, None)
        self._refused.discard(run_id)

    # States

    def _waiting(self, run_id: str) -> list[Entry]:
        """Returns the states that the control host does not have, in order; the one before each is its condition.

        Raises:
            Conflict: It has a state that was never here: the attempt is somebody else's now.
        """
        entries = self._store.journal(run_id).entries()
        there = core_tag(self._store.far.read_manifest(run_id)) if len(entries) > 1 else entries[0].tag
        for number in range(len(entries) - 1, -1, -1):
            if entries[number].tag == there:
                self._before = there
                return entries[number + 1 :]
        raise Conflict(
            f"the control host has another record of run `{run_id}`",
            detail="the run was taken from this host, or its record was changed there",
            code="stale-token",
        )

    def _send_state(self, run_id: str, entry: Entry, claim: Claim) -> None:
        headers = {TOKEN_HEADER: claim.token, "If-Match": self._before}
        try:
            self._link.call("PUT", f"/v1/runs/{run_id}/manifest", entry.manifest.encode(), headers=headers)
        except Conflict as error:
            # Sent before, and the answer was lost?
            if error.code != "changed-meanwhile" or core_tag(self._store.far.read_manifest(run_id)) != entry.tag:
                raise
        self._before = entry.tag

    def _bring_cancel(self, folder: RunFolder, manifest: RunManifest, claim: Claim) -> None:
        """Fetches a request to stop; whoever drives the run looks for it here."""
        if manifest.seal is not None or manifest.status.state.is_final or durable.exists(folder.cancel):
            return
        with suppress(NotFound):
            content = self._link.get(f"/v1/runs/{folder.run_id}/cancel").content
            with durable.locked(folder.path):
                if self._store.near.read_manifest(folder.run_id).seal is None:
                    durable.create_exclusive(folder.cancel, content)
                    self._logger.info("run %s is to be stopped", claim.run_id)

    # Files

    def _send_growth(self, folder: RunFolder, claim: Claim) -> None:
        sent = self._sent.setdefault(folder.run_id, _Sent())
        attempt = folder.attempt(claim.attempt)
        for name in _GROWING:
            self._send_growing(folder, attempt.path / name, claim, sent)
        for name in _SMALL:
            path = attempt.path / name
            stamp = _stamp(path)
            if stamp == sent.stamps.get(name):
                continue
            relative = str(path.relative_to(folder.path))
            if stamp is None:
                self._link.call(
                    "DELETE", f"/v1/runs/{folder.run_id}/file", query={"path": relative}, headers=_token(claim)
                )
                sent.stamps.pop(name, None)
                continue
            self._send_whole(folder, relative, claim)
            sent.stamps[name] = stamp

    def _send_growing(self, folder: RunFolder, path: Path, claim: Claim, sent: _Sent) -> None:
        relative = str(path.relative_to(folder.path))
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        position = sent.sizes.get(relative)
        if position is None:
            position = self._size_there(folder.run_id, relative)
        if size < position:
            return  # it was written anew: it goes as a whole, with the seal
        with path.open("rb") as source:
            while position < size:
                source.seek(position)
                part = source.read(min(CHUNK_BYTES, size - position))
                if not part:
                    break
                query = {"path": relative, "offset": position, "append": 1}
                try:
                    self._link.call("PUT", f"/v1/runs/{folder.run_id}/file", part, query=query, headers=_token(claim))
                except Conflict as error:
                    if error.code == "gap":
                        sent.sizes.pop(relative, None)  # it has less than it said; the next turn asks again
                    raise
                position += len(part)
        sent.sizes[relative] = position

    def _size_there(self, run_id: str, path: str) -> int:
        try:
            return self._link.get(f"/v1/runs/{run_id}/file", {"path": path, "offset": 2**40}).size_bytes or 0
        except NotFound:
            return 0

    def _send_files(self, folder: RunFolder, wanted: dict[str, tuple[int, str]], claim: Claim) -> None:
        """Sends those of some files that the control host lacks."""
        body = json.dumps(wanted).encode()
        reply = self._link.call("POST", f"/v1/runs/{folder.run_id}/missing", body, headers=_token(claim))
        for path in reply.json()["missing"]:
            self._send_whole(folder, path, claim, wanted[path][1])

    def _send_whole(self, folder: RunFolder, path: str, claim: Claim, digest: str | None = None) -> None:
        """Sends a file in parts; it has its place there when it is whole."""
        file = os.open(folder.path / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as source:
            total, offset = os.fstat(file).st_size, 0
            digest = digest or _sha256(file)
            while True:
                source.seek(offset)
                part = source.read(min(CHUNK_BYTES, total - offset))
                query = {"path": path, "offset": offset, "total": total, "sha256": digest}
                reply = self._link.call(
                    "PUT", f"/v1/runs/{folder.run_id}/file", part, query=query, headers=_token(claim)
                )
                offset = max(offset + len(part), int(reply.json()["size_bytes"]))  # it may have more from before
                if offset >= total or not part:
                    return


def _files_of(manifest: RunManifest, folder: RunFolder, attempt: int) -> dict[str, tuple[int, str]]:
    """Returns size and SHA-256 of each file that has to be there, by path.

    Of a sealed run those that the seal covers; of one that waits for another attempt, what this one has left.
    """
    if manifest.seal is not None:
        wanted = {item.path: (item.size_bytes, item.sha256) for item in manifest.record_files}
        for item in manifest.artifacts.files if manifest.artifacts else ():
            wanted[f"results/{item.path}"] = (item.size_bytes, item.sha256)
        return wanted
    left = folder.attempt(attempt)
    paths = [path for path in left.record if path != left.claim and durable.exists(path)]
    paths += [left.results / name for name, _ in files_below(left.results)]
    found: dict[str, tuple[int, str]] = {}
    for path in paths:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found[str(path.relative_to(folder.path))] = (os.fstat(file).st_size, _sha256(file))
        finally:
            os.close(file)
    return found


def _token(claim: Claim) -> dict[str, str]:
    return {TOKEN_HEADER: claim.token}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _sha256(file: int) -> str:
    import hashlib

    digest, offset = hashlib.sha256(), 0
    while part := os.pread(file, 1024 * 1024, offset):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()
