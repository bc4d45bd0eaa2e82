"""Finds the run a user means: by id, by a unique beginning of it, by name, or by `@` and `@~1`."""

import re
import unicodedata

from fetchml.errors import ConfigError, Conflict, NotFound
from fetchml.models.host import user_name
from fetchml.store.index import RunRow

_LATEST = re.compile(r"@(?:~([0-9]{1,6}))?", re.ASCII)
_SHOWN = 5


def select(rows: list[RunRow], text: str, user: str | None = None) -> RunRow:
    """Returns the one run a text means.

    Args:
        rows: All runs, latest first.
        text: `2026-11-20_k3f9q2`, a unique beginning of that or of its last part, a name, `@` for my latest run,
            `@~1` for the one before. Names are the same whatever their case and Unicode form.
        user: Who asks; None for the user of this process.

    Raises:
        NotFound: No run is meant.
        Conflict: Several runs are; they are named.
    """
    if not text or len(text) > 128 or not text.isprintable():
        raise ConfigError(f"`{text[:60]!r}` names no run", hint="give an id, a name, or `@` for your latest run")
    latest = _LATEST.fullmatch(text)
    if latest is not None:
        own = [row for row in rows if row.user == (user or user_name())]
        back = int(latest.group(1) or 0)
        if back >= len(own):
            raise NotFound(
                f"`{text}` goes back too far: you have queued {len(own)} runs"
                if own
                else "you have not queued a run yet",
                hint="`fetchml queue SCRIPT` queues one",
                code="no-such-run",
            )
        return own[back]
    exact = [row for row in rows if row.run_id == text]
    if exact:
        return exact[0]
    by_prefix = [row for row in rows if row.run_id.startswith(text) or row.run_id[11:].startswith(text)]
    # Two names that look alike are two runs that are meant, and never one of them that nobody can tell.
    by_name = [row for row in rows if _folded(row.name) == _folded(text)]
    found = by_name or by_prefix
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(f"there is no run `{text}`", hint="`fetchml status` lists runs", code="no-such-run")
    lines = [f"- {row.run_id}  {row.state}  {row.name}" for row in found[:_SHOWN]]
    more = [f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    raise Conflict(
        f"`{text}` means {len(found)} runs",
        detail="\n".join(lines + more),
        hint="give the id of one of them",
        code="ambiguous-run",
    )


def _folded(name: str) -> str:
    """Returns what names have in common that are one to a reader (Unicode, UAX 15 and default caseless matching)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
