"""Checks everything that can be checked about a run's record or a snapshot, and names whatever does not fit."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from fetchml.config.settings import Settings
from fetchml.errors import Conflict, Corrupt, FetchmlError, NotFound
from fetchml.home import Home
from fetchml.service.findings import Check, Findings, Report
from fetchml.service.info import folder_of
from fetchml.service.record_checks import RecordChecks
from fetchml.service.select import select
from fetchml.snapshot.tree import read_tree
from fetchml.store.folder import RunFolder
from fetchml.store.index import RunIndex

_COMMIT = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_SHOWN = 5


def validate(settings: Settings, target: str) -> Report:
    """Checks a run of the store, a run folder by its path, or a snapshot by its commit id.

    Args:
        settings: The settings of this call.
        target: A run as `select` understands it, a path, or at least eight digits of a commit id.

    Raises:
        NotFound: There is no such run or snapshot.
        Conflict: Several are meant.
    """
    home = Home(settings)
    checks = RecordChecks(home)
    folder = folder_of(target)
    if folder is None:
        found = _find(home, settings, target)
        if isinstance(found, str):
            return _timed(lambda: _commit_findings(checks, found), None)
        folder = found
    elif not folder.path.is_dir():
        raise NotFound(f"there is no folder `{target}`", code="no-such-run")
    elif not any(path.exists() for path in (folder.manifest, folder.plan, folder.attempts)):
        raise NotFound(f"there is no run in `{target}`", detail="it has no `run_manifest.json`", code="no-manifest")
    chosen = folder
    return _timed(lambda: checks.check(chosen), chosen.run_id)


def validate_all(settings: Settings) -> tuple[int, Iterator[Report]]:
    """Checks every run of the store; one that cannot be read is reported, and the others are checked all the same.

    Returns:
        How many runs there are, and their reports, oldest day first, as they are made.
    """
    home = Home(settings)
    run_ids = home.store.run_ids()
    return len(run_ids), _reports(home, run_ids)


def _reports(home: Home, run_ids: list[str]) -> Iterator[Report]:
    checks = RecordChecks(home)
    for run_id in run_ids:
        folder = home.store.folder(run_id)
        try:
            yield _timed(lambda folder=folder: checks.check(folder), run_id)
        except (FetchmlError, OSError) as error:
            text = error.summary if isinstance(error, FetchmlError) else error.strerror or str(error)
            code = error.exit_code if isinstance(error, FetchmlError) else Corrupt.exit_code
            check = Check("manifest", False, "a record that can be read", text)
            yield Report(run_id, (check,), datetime.now(UTC), unreadable=code)


def _timed(check: Callable[[], Findings], run_id: str | None) -> Report:
    began = time.monotonic()
    found = check()
    return Report(
        run_id=run_id,
        checks=tuple(found.checks),
        checked_at=datetime.now(UTC),
        commit_id=found.commit_id,
        warnings=tuple(found.warnings),
        signature=found.signature,
        seconds=round(time.monotonic() - began, 6),
    )


def _commit_findings(checks: RecordChecks, commit_id: str) -> Findings:
    found = Findings(commit_id=commit_id)
    checks.snapshots.check_commit(found, commit_id)
    return found


def _find(home: Home, settings: Settings, target: str) -> RunFolder | str:
    """Returns the run that is meant, else the commit id."""
    try:
        return home.store.folder(select(RunIndex(settings.store).rows(), target).run_id)
    except NotFound:
        if _COMMIT.fullmatch(target) is None:
            raise
    return _commit(home, target)


def _commit(home: Home, text: str) -> str:
    """Returns the commit id that a text begins.

    Raises:
        NotFound: There is none.
        Conflict: There are several.
    """
    found = sorted(home.objects.digests(text))
    # An object that is sound and no tree is a file; one that is damaged may have been a tree.
    trees = [digest for digest in found if _may_be_tree(home, digest)]
    if not trees:
        hint = "`fetchml info RUN` shows the commit id of a run"
        raise NotFound(f"there is no run and no snapshot `{text}`", hint=hint, code="no-such-run")
    if len(trees) > 1:
        raise Conflict(
            f"`{text}` means {len(trees)} snapshots",
            detail="\n".join(f"- {digest}" for digest in trees[:_SHOWN]),
            hint="give more of the commit id",
            code="ambiguous-commit",
        )
    return trees[0]


def _may_be_tree(home: Home, digest: str) -> bool:
    try:
        content = home.objects.read(digest)
    except FetchmlError:
        return True
    try:
        read_tree(content)
    except Corrupt:
        return False
    return True
