"""What files were found to hold, by their stat: an unchanged dataset costs a scan.

A cache and nothing else: where it cannot be read or written, files are hashed again.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

_SETTLED_NS = 2_000_000_000
"""A file may change twice within one tick of the clock of its file system, which the second change does not show in its
stat. Only what has been left alone for longer is remembered; 2 s is the coarsest tick in use, that of FAT."""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID"
)
_MAX_ROWS = 5_000_000


class StatCache:
    """Digests of files by path and stat.

    Args:
        path: The SQLite file; made when something is remembered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def look_up(self, files: Mapping[bytes, os.stat_result]) -> dict[bytes, str]:
        """Returns the digests of those files that were not touched since they were hashed.

        Args:
            files: Stat of each file, by absolute path.
        """
        if not self._path.exists():
            return {}
        found: dict[bytes, str] = {}
        try:
            with closing(self._open()) as connection:
                for path, status in files.items():
                    row = connection.execute("SELECT stamp, sha256 FROM files WHERE path = ?", (path,)).fetchone()
                    if row is not None and row[0] == stamp(status) and len(row[1]) == 64:
                        found[path] = row[1]
        except (sqlite3.Error, OSError):
            return {}
        return found

    def remember(self, digests: Iterable[tuple[bytes, os.stat_result, str]]) -> None:
        """Keeps digests of files that have settled.

        Args:
            digests: Absolute path, stat and SHA-256 of each file.
        """
        latest = time.time_ns() - _SETTLED_NS
        rows = [
            (path, stamp(status), sha256)
            for path, status, sha256 in digests
            if max(status.st_mtime_ns, status.st_ctime_ns) < latest
        ]
        if not rows:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_TABLE)
                if connection.execute("SELECT count(*) FROM files").fetchone()[0] > _MAX_ROWS:
                    connection.execute("DELETE FROM files")
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # it is no database: the next call makes a new one
                self._path.unlink(missing_ok=True)
        except OSError:
            return

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10, isolation_level=None)


def stamp(status: os.stat_result) -> str:
    """Returns what changes when a file does: device, inode, size, and the times of content and inode."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
