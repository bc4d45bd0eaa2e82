"""Files of a run that another host sends: in parts, checked against their digest, in place only when they are whole."""

import hashlib
import json
import os
import stat
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from fetchml import durable
from fetchml.errors import ConfigError, Conflict, FetchmlError, NotFound
from fetchml.gateway.lab import Lab
from fetchml.gateway.rules import Answer, Call, Permission, Rule, json_answer
from fetchml.link.wire import CHUNK_BYTES, MAX_CHUNK_BODY
from fetchml.models.ids import is_digest
from fetchml.models.manifest import RunManifest
from fetchml.store.below import file_below, files_below, folder_below, parts_of
from fetchml.store.fencing import check_token, latest_claim
from fetchml.store.folder import RunFolder

APPENDED = ("output.log", "output.index.jsonl", "metrics.jsonl", "resources.jsonl")
"""Files of an attempt that grow while it runs."""
WHOLE = ("container.json", "ended.json", "build.log", "stall.json")
_HIDDEN = ("claim.json", "owner.lock")
_MAX_FILE_BYTES = 2**44
_REMEMBERED = 50_000


def rules(lab: Lab) -> list[Rule]:
    """Returns the routes of the files of runs."""
    files = _Files(lab)
    base = "/v1/runs/{run_id}"
    return [
        Rule("GET", f"{base}/files", Permission.READ, files.listing),
        Rule("GET", f"{base}/file", Permission.READ, files.read),
        Rule("PUT", f"{base}/file", Permission.WORK, files.write, MAX_CHUNK_BODY),
        Rule("DELETE", f"{base}/file", Permission.WORK, files.remove),
        Rule("POST", f"{base}/missing", Permission.WORK, files.missing, 64 * 1024 * 1024),
    ]


class _Files:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._store = lab.store
        self._incoming = lab.home.path / "gateway" / "incoming"

    def listing(self, call: Call) -> Answer:
        folder = self._folder(call)
        found = [
            {"path": path, "size_bytes": status.st_size}
            for path, status in files_below(folder.path)
            if path.rpartition("/")[2] not in _HIDDEN and not path.startswith("code/")
        ]
        return json_answer({"files": found})

    def read(self, call: Call) -> Answer:
        """Returns a part of a file, and how large the whole is."""
        folder, path = self._folder(call), call.query.get("path", "")
        place = parts_of(path)
        if (place[-1] in _HIDDEN and not self._is_earlier(call, place)) or place[0] == "code":
            raise NotFound("there is no such file", code="no-such-file")
        offset = call.number("offset", 0)
        with file_below(folder.path, path) as file:
            size = os.fstat(file).st_size
            return Answer(os.pread(file, CHUNK_BYTES, offset), size_bytes=size)

    def _is_earlier(self, call: Call, place: tuple[str, ...]) -> bool:
        """Tells whether that is the claim of an earlier attempt, which the owner of the latest has to seal."""
        if not _is_attempt_file(place, ("claim.json",)):
            return False
        claim = latest_claim(self._store, call.params["run_id"])
        if claim is None or int(place[1]) >= claim.attempt or call.token is None:
            return False
        check_token(claim, call.token)
        return True

    def write(self, call: Call) -> Answer:
        """Takes a part of a file; of one that grows it is there at once, of another when it is whole."""
        folder = self._owned(call)
        path, offset = call.query.get("path", ""), call.number("offset", most=_MAX_FILE_BYTES)
        place = parts_of(path)
        if call.query.get("append"):
            if not _is_attempt_file(place, APPENDED):
                raise ConfigError(f"`{path[:200]}` is no file that grows", code="bad-path")
            return self._append(folder, path, offset, call.body)
        if not (_is_result(place) or place == ("cancel.json",) or _is_attempt_file(place, (*APPENDED, *WHOLE))):
            raise ConfigError(f"`{path[:200]}` is no file that a host sends", code="bad-path")
        return self._part(folder, path, offset, call)

    def remove(self, call: Call) -> Answer:
        """Removes a file that says something no more."""
        folder, path = self._owned(call), call.query.get("path", "")
        place = parts_of(path)
        if not _is_attempt_file(place, ("stall.json",)):
            raise ConfigError(f"`{path[:200]}` cannot be removed", code="bad-path")
        with suppress(NotFound), folder_below(folder.path, place[:-1]) as above, suppress(FileNotFoundError):
            os.unlink(place[-1], dir_fd=above)
        return json_answer({})

    def missing(self, call: Call) -> Answer:
        """Tells which of some files are not there as they should be."""
        folder = self._owned(call)
        try:
            asked = cast("dict[str, list[Any]]", json.loads(call.body))
            wanted = {path: (int(item[0]), str(item[1])) for path, item in asked.items()}
        except (ValueError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise ConfigError("expected size and SHA-256 of each path", code="bad-body") from error
        return json_answer({"missing": [path for path, item in wanted.items() if not _is_there(folder, path, *item)]})

    def _append(self, folder: RunFolder, path: str, offset: int, content: bytes) -> Answer:
        with file_below(folder.path, path, os.O_RDWR, create=True) as file:
            size = os.fstat(file).st_size
            if offset > size:
                raise Conflict("a part is missing before this one", detail=f"it has {size} bytes", code="gap")
            with durable.translated("write", folder.path / path):
                written = 0
                while written < len(content):
                    written += os.pwrite(file, content[written:], offset + written)
                os.fdatasync(file)
            return json_answer({"size_bytes": max(size, offset + len(content))})

    def _part(self, folder: RunFolder, path: str, offset: int, call: Call) -> Answer:
        digest, total = call.query.get("sha256", ""), call.number("total", most=_MAX_FILE_BYTES)
        if not is_digest(digest) or offset + len(call.body) > total:
            raise ConfigError("size and SHA-256 have to be those of the whole file", code="bad-body")
        if _is_there(folder, path, total, digest):
            return json_answer({"size_bytes": total}, was_done=True)
        name = hashlib.sha256(f"{folder.run_id}\0{path}\0{digest}".encode()).hexdigest()
        durable.make_folder(self._incoming, mode=0o700)
        partial = self._incoming / name
        with durable.translated("write", partial):
            file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                have = os.fstat(file).st_size
                if offset > have:
                    raise Conflict("a part is missing before this one", detail=f"it has {have} bytes", code="gap")
                written = 0
                while written < len(call.body):
                    written += os.pwrite(file, call.body[written:], offset + written)
                have = max(have, offset + written)
                if have < total:
                    return json_answer({"size_bytes": have})
                os.ftruncate(file, total)
                os.fsync(file)
                self._place(folder, path, partial, file, digest)
            finally:
                os.close(file)
        return json_answer({"size_bytes": total}, status=201)

    def _place(self, folder: RunFolder, path: str, partial: Path, file: int, digest: str) -> None:
        if _sha256(file) != digest:
            partial.unlink(missing_ok=True)
            raise Conflict(f"`{path[:200]}` arrived with another SHA-256", code="other-digest")
        *above, name = parts_of(path)
        os.fchmod(file, 0o644)
        with folder_below(folder.path, tuple(above), create=True) as target:
            os.rename(partial, name, dst_dir_fd=target)
            os.fsync(target)
        _arrived.note(folder.path / path, os.fstat(file), digest)

    def _folder(self, call: Call) -> RunFolder:
        run_id = call.params["run_id"]
        folder = self._store.folder(run_id)
        if not self._store.exists(run_id):
            self._store.read_manifest(run_id)  # says that there is none
        return folder

    def _owned(self, call: Call) -> RunFolder:
        folder = self._folder(call)
        claim = latest_claim(self._store, folder.run_id)
        if claim is None:
            raise Conflict(f"nobody has claimed run `{folder.run_id}`", code="not-claimed")
        check_token(claim, call.token)
        if self._store.read_manifest(folder.run_id).is_over(claim.attempt):
            raise Conflict(f"attempt {claim.attempt} of run `{folder.run_id}` is over", code="already-ended")
        return folder


class _Arrived:
    """Digests of files that were seen whole, by what changes when they do; a cache, so that nothing is read twice."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, tuple[tuple[int, int, int], str]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, path: Path, status: os.stat_result, digest: str) -> None:
        with self._lock:
            self._known[path] = (_stamp(status), digest)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def digest(self, path: Path, file: int) -> str:
        status = os.fstat(file)
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == _stamp(status):
            return known[1]
        digest = _sha256(file)
        self.note(path, status, digest)
        return digest


_arrived = _Arrived()


def check_arrived(folder: RunFolder, sealed: RunManifest) -> None:
    """Refuses a sealed record whose files have not all arrived: what is sealed is there.

    Raises:
        Conflict: Some are missing, or are not what the record says.
    """
    missing = [path for path, size, digest in files_of(sealed) if not _is_there(folder, path, size, digest)]
    if missing:
        raise Conflict(
            f"{len(missing)} files of run `{folder.run_id}` have not arrived",
            detail="\n".join(missing[:5]),
            code="files-missing",
        )


def files_of(manifest: RunManifest) -> list[tuple[str, int, str]]:
    """Returns path, size and SHA-256 of each file that a record names."""
    found = [(item.path, item.size_bytes, item.sha256) for item in manifest.record_files]
    artifacts = manifest.artifacts.files if manifest.artifacts else ()
    return [*found, *((f"results/{item.path}", item.size_bytes, item.sha256) for item in artifacts)]


def settle_files(folder: RunFolder, sealed: RunManifest, snapshots: Path) -> None:
    """Makes the files of a record read-only, and links its code to where it would be laid out here."""
    if not os.path.lexists(folder.code):
        os.symlink(os.path.relpath(snapshots / sealed.identity.commit_id, folder.path), folder.code)
    for path, _, _ in files_of(sealed):
        with file_below(folder.path, path) as file:
            os.fchmod(file, stat.S_IMODE(os.fstat(file).st_mode) & 0o555)
    attempts = [folder.attempt(number) for number in range(1, sealed.attempt + 1)]
    for results in (folder.results, *(attempt.results for attempt in attempts)):
        if results.is_dir() and not results.is_symlink():
            for above, _, _ in os.walk(results, topdown=False):
                os.chmod(above, 0o555)


def _is_there(folder: RunFolder, path: str, size: int, digest: str) -> bool:
    try:
        with file_below(folder.path, path) as file:
            return os.fstat(file).st_size == size and _arrived.digest(folder.path / path, file) == digest
    except (FetchmlError, OSError):
        return False


def _is_result(place: tuple[str, ...]) -> bool:
    if place[0] == "attempts" and len(place) > 3 and place[1].isdigit():
        place = place[2:]
    return len(place) > 1 and place[0] == "results"


def _is_attempt_file(place: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return len(place) == 3 and place[0] == "attempts" and place[1].isdigit() and place[2] in names


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _sha256(file: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while part := os.pread(file, 1024 * 1024, offset):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()
