"""How far the copy of a run is, for people who ask; looks at this host only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fetchml.archive.bucket import place_of, shown
from fetchml.archive.copier import Copier, copies_runs
from fetchml.archive.notes import CopyFault, read_fault, read_note
from fetchml.home import Home
from fetchml.store.folder import RunFolder


@dataclass(frozen=True, slots=True)
class CopyState:
    """The copy of one run."""

    state: Literal["copied", "outdated", "waiting"]
    """outdated: the bucket has the run, and not yet what was edited since."""
    place: str
    copied_at: datetime | None = None
    fault: CopyFault | None = None
    """Why it is not copied now, as far as that is known."""


def copy_state(home: Home, run: RunFolder) -> CopyState | None:
    """Returns how far the copy of a sealed run is; None if it has none and is to have none."""
    wanted, note = copies_runs(home), read_note(run)
    if note is None and not wanted:
        return None
    place = place_of(home)
    name = note.place if note is not None and (not wanted or place is None) else shown(place) if place else ""
    fault = read_fault(home.services) if wanted else None
    if note is None or note.place != name:
        return CopyState("waiting", name, fault=fault)
    if note.is_of(name, run.manifest.read_bytes()):
        return CopyState("copied", name, note.copied_at)
    state = "waiting" if note.copied_at is None else "outdated"
    return CopyState(state, name, note.copied_at, note.fault or fault)


def is_owed(home: Home, run: RunFolder) -> bool:
    """Tells whether a run is to be in the bucket and is not, as it is now."""
    if not copies_runs(home):
        return False
    state = copy_state(home, run)
    return state is None or state.state != "copied"


@dataclass(frozen=True, slots=True)
class CopiesState:
    """The copies of all ended runs."""

    place: str
    ended: int
    waiting: int
    fault: CopyFault | None
    """Why the bucket takes none now."""
    faults: dict[str, CopyFault]
    """Runs that cannot be copied for a reason of their own."""


def copies_state(home: Home) -> CopiesState | None:
    """Returns how far the copies of all ended runs are; None if runs are not copied by themselves."""
    place = place_of(home)
    if place is None or not copies_runs(home):
        return None
    copier = Copier(home)
    sealed, waiting = copier.sealed(), copier.waiting()
    notes = {run_id: read_note(home.store.folder(run_id)) for run_id in sealed}
    faults = {
        run_id: note.fault
        for run_id, note in notes.items()
        if note is not None and note.fault is not None and note.place == shown(place)
    }
    return CopiesState(
        shown(place), len(sealed), len({*waiting, *faults}), read_fault(home.services) if waiting else None, faults
    )
