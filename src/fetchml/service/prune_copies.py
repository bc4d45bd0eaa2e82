"""Copies of datasets that no run needs."""

from collections.abc import Iterator
from dataclasses import dataclass

from fetchml.datasets.staging import Copy
from fetchml.home import Home
from fetchml.models.units import format_size, plural

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Looked:
    """A copy, and what became of it."""

    copy: Copy
    users: tuple[str, ...]
    """Runs that have not ended and read it, or will."""
    is_gone: bool
    """Whether it was removed, or would be."""

    def __str__(self) -> str:
        who = f"{plural(len(self.users), 'run')}: {', '.join(self.users[:_SHOWN])}" if self.users else "no run"
        copy = self.copy
        return f"copy of {copy.uri} ({copy.checksum[:19]}, {format_size(copy.size_bytes)}) is needed by {who}"


def unused_copies(home: Home, now_s: float, age_s: float | None, *, dry_run: bool) -> Iterator[Looked]:
    """Removes copies that are old, or beyond what all may take, those first that were not used for longest.

    Args:
        home: The home folder.
        now_s: The moment, in seconds.
        age_s: Time since the last use from which on a copy is old; None: as the settings say.
        dry_run: Whether nothing is removed.
    """
    staging = home.staging
    ttl_s = home.settings.datasets_cache_ttl if age_s is None else age_s
    before_s = 0.0 if ttl_s is None else now_s - ttl_s
    readers, copies = home.readers(), staging.copies()
    over = staging.over(copies)
    for copy in copies:
        users = readers.of(copy.checksum)
        is_gone = not users and (copy.used_at_s < before_s or over > 0)
        if is_gone and not dry_run:
            is_gone = staging.remove(copy, lambda checksum: bool(home.readers().of(checksum)))
        if is_gone:
            over -= copy.size_bytes
        yield Looked(copy, users, is_gone)
