"""Brings runs from a bucket into the run store of this home."""

from collections.abc import Sequence

from fetchml.archive.bucket import Bucket, open_bucket
from fetchml.archive.copier import OF_ONE_RUN
from fetchml.archive.fetching import Fetched, fetch_run
from fetchml.config.settings import Settings
from fetchml.errors import Conflict, NotFound
from fetchml.home import Home
from fetchml.models.ids import is_run_id
from fetchml.service.push import Moved, Progress

_SHOWN = 5


def fetch(settings: Settings, runs: Sequence[str], url: str | None, progress: Progress, *, dry_run: bool) -> Moved:
    """Brings runs into the store; called again, it goes on where it broke off.

    Args:
        settings: The settings of this call.
        runs: Ids, or what they begin with; none means all runs of the bucket.
        url: `s3://bucket/prefix`; None takes the bucket of the settings.
        progress: Gets a line for each run that is brought.
        dry_run: Tell what would be brought, and bring nothing.

    Raises:
        ConfigError: There is no bucket, or there are no credentials.
        NotFound: A run that was named is not in the bucket.
        Conflict: Several are meant.
        FetchmlError: The bucket does not answer or denies access, or the disk is full; what was brought so far stays.
    """
    home = Home(settings)
    bucket = open_bucket(home, url)
    done = Moved(bucket.name)
    for run_id in _meant(bucket, runs) if runs else sorted(bucket.records.run_ids()):
        if dry_run:
            (done.present if home.store.exists(run_id) else done.moved).append(run_id)
            continue
        try:
            outcome = fetch_run(home, bucket, run_id)
        except OF_ONE_RUN as error:
            done.failed[run_id] = error
            continue
        if outcome is Fetched.FETCHED:
            progress(f"fetched {run_id}")
        (done.moved if outcome is Fetched.FETCHED else done.present).append(run_id)
    return done


def _meant(bucket: Bucket, runs: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(text if is_run_id(text) else _begun(bucket, text) for text in runs))


def _begun(bucket: Bucket, text: str) -> str:
    found = sorted(run_id for run_id in bucket.records.run_ids() if text and run_id.startswith(text))
    if not found:
        raise NotFound(
            f"there is no run `{text[:60]}` in the bucket",
            detail=bucket.name,
            hint="`fetchml objects fetch --all --dry-run` lists those that are there",
            code="no-such-run",
        )
    if len(found) > 1:
        raise Conflict(
            f"`{text[:60]}` means {len(found)} runs",
            detail="\n".join(f"- {run_id}" for run_id in found[:_SHOWN]),
            hint="give more of the id",
            code="ambiguous-run",
        )
    return found[0]
