"""What files were found to hold, by their stat: an unchanged dataset costs a scan.

A cache and nothing else: where it cannot be read or written, files are hashed again.
"""

import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

_SETTLED_NS = 2_000_000_000
"""A file may change twice within one tick of the clock of its file system, which the second change does not show in its
stat. Only what had been left alone for longer when it was read is remembered; 2 s is the coarsest tick in use."""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS digests (path BLOB, algorithm TEXT, stamp BLOB NOT NULL, digest BLOB NOT NULL,"
    " PRIMARY KEY (path, algorithm)) WITHOUT ROWID"
)
_OLD_TABLE = "DROP TABLE IF EXISTS files"
"""From when there was one algorithm."""
_FIND = "SELECT path, stamp, digest FROM digests WHERE path = ? AND algorithm = ?"
_FIND_BELOW = "SELECT path, stamp, digest FROM digests WHERE path > ? AND path < ? AND algorithm = ?"
"""`0` comes after `/`: between the two is everything below a folder."""
_MAX_ROWS = 5_000_000
_DIGEST_BYTES = 32
_STAMP = struct.Struct("<5Q")
_MASK = 2**64 - 1


class StatCache:
    """Digests of files by path, algorithm and stat.

    Args:
        path: The SQLite file; made when something is remembered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self, place: bytes, algorithm: str) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yields what is known of a file, or of the files below a folder: path below it, stamp and digest.

        One query for all, because one for each file costs more than looking at the file.

        Args:
            place: The absolute path.
            algorithm: What the files were hashed with.
        """
        if not self._path.exists():
            return
        below = place + b"/"
        try:
            with closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as connection:
                alone = connection.execute(_FIND, (place, algorithm))
                inside = connection.execute(_FIND_BELOW, (below, place + b"0", algorithm))
                for path, stamped, digest in chain(alone, inside):
                    if len(digest) == _DIGEST_BYTES:
                        yield path[len(below) :], stamped, digest
        except (sqlite3.Error, TypeError):
            return

    def remember(self, digests: Sequence[tuple[bytes, bytes, bytes]], algorithm: str) -> None:
        """Keeps digests of files that had settled when they were read; see `is_settled`.

        Args:
            digests: Absolute path, stamp and digest of each file.
            algorithm: What they were hashed with.
        """
        if not digests:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_OLD_TABLE)
                connection.execute(_TABLE)
                if connection.execute("SELECT count(*) FROM digests").fetchone()[0] > _MAX_ROWS:
                    connection.execute("DELETE FROM digests")
                rows = ((path, algorithm, stamped, digest) for path, stamped, digest in digests)
                connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", rows)
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # it is no database: the next call makes a new one
                self._path.unlink(missing_ok=True)
        except OSError:
            return


def stamp(status: os.stat_result) -> bytes:
    """Returns what changes when a file does: device, inode, size, and the times of content and inode."""
    times = (status.st_mtime_ns & _MASK, status.st_ctime_ns & _MASK)
    return _STAMP.pack(status.st_dev & _MASK, status.st_ino & _MASK, status.st_size, *times)


def size_of(stamped: bytes) -> int:
    """Returns the size of the file that a stamp is of, in bytes."""
    return _STAMP.unpack(stamped)[2]


def is_settled(status: os.stat_result, read_at_ns: int) -> bool:
    """Tells whether a change after a moment would show in the stat of a file."""
    return max(status.st_mtime_ns, status.st_ctime_ns) + _SETTLED_NS < read_at_ns
