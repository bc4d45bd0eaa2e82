"""Data on its way into the cache: a folder that nobody reads before it is whole.

A file is written below `parts`, compared with its digest, made durable, and only then given its name below `data`. So
whatever is below `data` is right, whenever its maker was killed, and is not fetched again; what is below `parts` is the
beginning of a file, and is gone on with.
"""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import IO

from fetchml import durable
from fetchml.datasets.listing import Entry, file_digest, place_of, size_on_disk, text_digest
from fetchml.datasets.source import Check, Source, changed
from fetchml.errors import FetchmlError
from fetchml.models.dataset import SHA256, Algorithm
from fetchml.snapshot.capture import Observe, Progress, shown

THREADS = 8
"""Files on their way at once."""


class Incoming:
    """The folder of one dataset that is being fetched.

    Args:
        folder: Where it is; made if need be.
        entries: What it is to hold.
        algorithm: What their digests were made with.
    """

    def __init__(self, folder: Path, entries: tuple[Entry, ...], algorithm: Algorithm = SHA256) -> None:
        self._algorithm: Algorithm = algorithm
        self.folder = folder
        self._entries = entries
        self._data = os.fsencode(folder / "data")
        self._parts = os.fsencode(folder / "parts")

    @property
    def size_bytes(self) -> int:
        """Bytes it will hold."""
        return sum(entry.size_bytes for entry in self._entries if entry.kind == "file")

    @property
    def disk_bytes(self) -> int:
        """Bytes it will take on the disk."""
        return size_on_disk(self._entries)

    @property
    def missing_bytes(self) -> int:
        """Bytes it will take on the disk beyond those it takes now."""
        return size_on_disk(self.missing())

    def missing(self) -> tuple[Entry, ...]:
        """Returns what is not there yet."""
        return tuple(entry for entry in self._entries if not self._is_there(entry))

    def fill(self, source: Source, check: Check, observe: Observe | None = None) -> None:
        """Fetches what is missing.

        Args:
            source: Where it comes from.
            check: Called again and again; raises to give up.
            observe: Told how far it has come.

        Raises:
            Refused: The data is not what it should be.
            FetchmlError: It cannot be read, or not be written; what has come stays for the next time.
        """
        missing = self.missing()
        if missing:
            source.check(missing)
        durable.make_folder(Path(os.fsdecode(self._parts)))
        if any(entry.path for entry in self._entries) or not self._entries:
            durable.make_folder(Path(os.fsdecode(self._data)))
        total_bytes = sum(entry.size_bytes for entry in missing)
        count, size_bytes, lock = 0, 0, threading.Lock()

        def bring(entry: Entry) -> None:
            nonlocal count, size_bytes
            check()
            self._bring(entry, source, check)
            with lock:
                count, size_bytes = count + 1, size_bytes + entry.size_bytes
                if observe is not None:
                    observe(Progress(count, size_bytes, len(missing), total_bytes))

        pool = ThreadPoolExecutor(THREADS, "fetchml-stage")
        try:
            for done in as_completed([pool.submit(bring, entry) for entry in missing]):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def protect(self) -> None:
        """Makes all folders read-only and their names durable."""
        with durable.translated("write", self.folder), suppress(NotADirectoryError):
            folders = [self._data]
            for current in folders:  # grows as it is gone through
                with os.scandir(current) as listing:
                    folders += [entry.path for entry in listing if entry.is_dir(follow_symlinks=False)]
            for current in reversed(folders):
                os.chmod(current, 0o555)
                durable.sync_folder(Path(os.fsdecode(current)))

    def _is_there(self, entry: Entry) -> bool:
        place = place_of(entry, self._data)
        try:
            if entry.kind == "link":
                return text_digest(os.readlink(place), self._algorithm) == entry.digest
            return os.lstat(place).st_size == entry.size_bytes
        except OSError:
            return False

    def _bring(self, entry: Entry, source: Source, check: Check) -> None:
        place = place_of(entry, self._data)
        with durable.translated("write", self.folder):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if entry.kind == "link":
                target = source.link(entry)
                if text_digest(target, self._algorithm) != entry.digest:
                    raise changed(source.name, [f"{shown(entry.path)}: changed"])
                os.symlink(target, place)
                return
            part = os.path.join(self._parts, hashlib.sha256(entry.path).hexdigest().encode("ascii"))
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as sink:
                if not self._is_fetched(entry, part, sink, source, check):
                    raise changed(source.name, [f"{shown(entry.path)}: changed"])
                os.fchmod(descriptor, 0o444)
                os.fsync(descriptor)
            os.rename(part, place)

    def _is_fetched(self, entry: Entry, part: bytes, sink: IO[bytes], source: Source, check: Check) -> bool:
        """Fetches a file, and once more from its beginning if it came out wrong: the way, or its first part, may be."""
        for _ in range(2):
            if sink.seek(0, os.SEEK_END) > entry.size_bytes:
                _empty(sink)
            try:
                source.append(entry, sink, check)
            except FetchmlError:
                if sink.tell() > entry.size_bytes:
                    _empty(sink)
                raise
            sink.flush()
            if entry.digest is None or file_digest(part, self._algorithm, check) == entry.digest:
                return True
            _empty(sink)
        return False


def _empty(sink: IO[bytes]) -> None:
    sink.seek(0)
    sink.truncate()
