"""Hashes the files of a dataset, several at a time."""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from fetchml.datasets.oversight import Tally
from fetchml.datasets.scan import Faults
from fetchml.datasets.stat_cache import StatCache, is_settled, size_of, stamp
from fetchml.models.dataset import Algorithm

_MAX_THREADS = 8
_CHUNK_BYTES = 4 * 1024 * 1024
"""Measured: the size at which BLAKE3 with its threads is fastest; SHA-256 is as fast with any."""
_REMEMBERED_AT_ONCE = 10_000


class Hash(Protocol):
    """What digests are made with."""

    def update(self, data: memoryview | bytes, /) -> object: ...

    def digest(self) -> bytes: ...


def new_hash(algorithm: Algorithm) -> Hash:
    """Returns a hash that has seen nothing."""
    if algorithm == "blake3":
        from blake3 import blake3  # loads a library of its own, for those who use it

        return blake3(max_threads=blake3.AUTO)
    return hashlib.sha256()


class Reader:
    """Hashes files by threads of their own, and remembers them.

    Args:
        place: Root of the dataset.
        algorithm: What to hash with.
        cache: Told what was found; None: nobody is.
        tally: Told of every byte.
        faults: Where to note what cannot be read.
    """

    def __init__(
        self, place: bytes, algorithm: Algorithm, cache: StatCache | None, tally: Tally, faults: Faults
    ) -> None:
        self._place = place
        self._algorithm: Algorithm = algorithm
        self._cache = cache
        self._tally = tally
        self._faults = faults
        self._lock = threading.Lock()
        self._fresh: list[tuple[bytes, bytes, bytes]] = []
        self._error: BaseException | None = None

    def read(self, paths: list[bytes], expected: dict[bytes, bytes], known: dict[bytes, bytes]) -> None:
        """Fills in the digests of files; those that changed since they were found are left out.

        Args:
            paths: The files, below the root.
            expected: Their stamps.
            known: Gets their digests.
        """
        queue = iter(paths)
        count = min(_MAX_THREADS, os.cpu_count() or 1, len(paths))
        size = min(_CHUNK_BYTES, max(size_of(expected[path]) for path in paths) or 1)
        # Daemons: one that waits for a dead share must keep no program from ending.
        threads = [
            threading.Thread(target=self._run, name="fetchml-hash", args=(queue, expected, known, size), daemon=True)
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._remember(at_least=1)
        if self._error is not None:
            raise self._error

    def _run(self, queue: Iterator[bytes], expected: dict[bytes, bytes], known: dict[bytes, bytes], size: int) -> None:
        buffer = memoryview(bytearray(size))
        try:
            while True:
                with self._lock:
                    path = next(queue, None)
                if path is None:
                    return
                self._one(path, expected[path], known, buffer)
        except BaseException as error:  # noqa: BLE001  # raised again by `read`
            self._error = self._error or error
            self._tally.stop()

    def _one(self, path: bytes, expected: bytes, known: dict[bytes, bytes], buffer: memoryview) -> None:
        absolute = self._place + b"/" + path if path else self._place
        read_at_ns = time.time_ns()
        try:
            found = self._digest(absolute, buffer)
        except FileNotFoundError:
            return
        except OSError as error:
            with self._lock:
                self._faults.add(path, error)
            return
        self._tally.read(0, files=1)
        if found is None or stamp(found[0]) != expected:
            return
        known[path] = found[1]
        if self._cache is not None and is_settled(found[0], read_at_ns):
            with self._lock:
                self._fresh.append((absolute, expected, found[1]))
            self._remember(_REMEMBERED_AT_ONCE)

    def _digest(self, path: bytes, buffer: memoryview) -> tuple[os.stat_result, bytes] | None:
        """Returns stat and digest of a file; None if it changed meanwhile."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return None
            hashed = new_hash(self._algorithm)
            while count := file.readinto(buffer):
                hashed.update(buffer[:count])
                self._tally.read(count)
            after = os.fstat(descriptor)
        return (after, hashed.digest()) if stamp(before) == stamp(after) else None

    def _remember(self, at_least: int) -> None:
        """Hands on what was found; now and then, so that a reading that is broken off goes on where it was."""
        if self._cache is None:
            return
        with self._lock:
            if len(self._fresh) < at_least:
                return
            fresh, self._fresh = self._fresh, []
        self._cache.remember(fresh, self._algorithm)
