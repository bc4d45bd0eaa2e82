"""Prints how long the SHA-256 of so many bytes takes: in memory, or of a file as datasets and snapshots are read.

Called as `hashing.py memory BYTES` or `hashing.py dataset FILE`.
"""

import hashlib
import os
import sys
import time
from pathlib import Path

_BLOCK = 64 * 1024 * 1024

kind, what = sys.argv[1:]
if kind == "memory":
    block = os.urandom(_BLOCK)
    left = int(what)
    sha256 = hashlib.sha256()
    began = time.perf_counter()
    while left > 0:
        sha256.update(block[:left] if left < _BLOCK else block)
        left -= _BLOCK
else:
    from fetchml.datasets.digest import digest

    began = time.perf_counter()
    digest(Path(what))
print(time.perf_counter() - began)
