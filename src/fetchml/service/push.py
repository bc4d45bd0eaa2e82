"""Copies sealed runs of this home to a bucket, now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fetchml.archive.copier import OF_ONE_RUN, Copier
from fetchml.config.settings import Settings
from fetchml.errors import ConfigError, Conflict, FetchmlError
from fetchml.home import Home
from fetchml.service.select import select
from fetchml.store.index import RunIndex

Progress = Callable[[str], None]


@dataclass(slots=True)
class Moved:
    """What became of runs that were to be copied one way or the other."""

    place: str
    """The bucket."""
    moved: list[str] = field(default_factory=list[str])
    present: list[str] = field(default_factory=list[str])
    """Runs that were there already."""
    failed: dict[str, FetchmlError] = field(default_factory=dict[str, FetchmlError])
    """Runs that are not there now, and why."""

    @property
    def exit_code(self) -> int:
        """Exit code of a command that did this: that of the worst failure."""
        return max((error.exit_code for error in self.failed.values()), default=0)


def push(settings: Settings, runs: Sequence[str], url: str | None, progress: Progress) -> Moved:
    """Copies runs to a bucket; called again, it goes on where it broke off.

    Args:
        settings: The settings of this call.
        runs: Runs as `select` understands them; none means all that have ended.
        url: `s3://bucket/prefix`; None takes the bucket of the settings.
        progress: Gets a line for each run that is copied.

    Raises:
        ConfigError: There is no bucket, or there are no credentials.
        Conflict: A run that was named has not ended.
        FetchmlError: The bucket does not answer or denies access; what was copied so far stays.
    """
    home = Home(settings)
    copier = Copier(home, url)
    done = Moved(copier.bucket.name)
    for run_id in _ended(settings, runs) if runs else copier.sealed():
        try:
            is_new = copier.copy(run_id)
        except OF_ONE_RUN as error:
            done.failed[run_id] = error
            continue
        (done.moved if is_new else done.present).append(run_id)
        if is_new:
            progress(f"copied {run_id}")
    return done


def _ended(settings: Settings, runs: Sequence[str]) -> list[str]:
    rows = RunIndex(settings.store).rows()
    found = [select(rows, text) for text in runs]
    for row in found:
        if not row.is_final:
            raise Conflict(
                f"run `{row.run_id}` has not ended", hint="a run is copied once it is sealed", code="not-ended"
            )
    return list(dict.fromkeys(row.run_id for row in found))


def one_or_all(runs: Sequence[str], *, all_runs: bool) -> None:
    """Refuses a call that names runs and means all, or neither.

    Raises:
        ConfigError: It does.
    """
    if bool(runs) == all_runs:
        raise ConfigError("name runs, or give `--all`", code="usage")
