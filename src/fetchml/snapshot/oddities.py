"""What a user should know about files that are captured all the same."""

import os
import stat
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence

from fetchml.snapshot.tree import folders_above, shown

_SHOWN = 5
_SPECIAL = stat.S_ISUID | stat.S_ISGID


def oddities(files: Mapping[bytes, os.stat_result], suspects: Collection[bytes], own_uid: int) -> tuple[str, ...]:
    """Returns a sentence for each kind of oddity, with the first paths.

    Args:
        files: Status of each file and link, by path.
        suspects: Files that look like secrets, and were allowed.
        own_uid: User who captures them.
    """
    regular = {path: found for path, found in files.items() if stat.S_ISREG(found.st_mode)}
    foreign = [path for path, found in regular.items() if found.st_nlink > 1 and found.st_uid != own_uid]
    special = [path for path, found in regular.items() if found.st_mode & _SPECIAL]
    twins = [path for group in _twins(files) for path in group]
    return tuple(
        f"{text}: {_listed(paths)}"
        for text, paths in (
            ("captured by request, though they look like secrets", sorted(suspects)),
            ("hard links to files of another user, captured as they are now", sorted(foreign)),
            ("setuid and setgid bits are not kept", sorted(special)),
            ("names that differ in case or Unicode form alone are one name on some file systems", twins),
        )
        if paths
    )


def _twins(paths: Collection[bytes]) -> Iterator[list[bytes]]:
    """Yields names that are one where case is folded; folders among them."""
    names = set(paths)
    for folder in {path.rpartition(b"/")[0] for path in paths}:
        if folder:
            names.update((folder, *folders_above(folder)))
    folded: dict[bytes, list[bytes]] = {}
    for name in names:
        key = (
            name.lower()
            if name.isascii()
            else unicodedata.normalize("NFC", os.fsdecode(name).casefold()).encode("utf-8", "surrogateescape")
        )
        folded.setdefault(key, []).append(name)
    return (sorted(group) for group in sorted(folded.values()) if len(group) > 1)


def _listed(paths: Sequence[bytes]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(f"`{shown(path)}`" for path in paths[:_SHOWN]) + more
