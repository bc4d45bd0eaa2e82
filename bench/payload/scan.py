"""Looks at every file of the current folder, and does nothing else: the least that any comparison costs."""

import os

pending = ["."]
while pending:
    with os.scandir(pending.pop()) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                entry.stat(follow_symlinks=False)
