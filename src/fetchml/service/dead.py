"""The runs that are out of retries: failed for no reason of their own, every time."""

from collections.abc import Sequence

from fetchml.store.index import RunRow


def dead_runs(rows: Sequence[RunRow]) -> list[RunRow]:
    """Returns the runs that are out of retries and were not queued again, in the order given."""
    again = {row.parent_run for row in rows}
    return [row for row in rows if row.is_dead and row.run_id not in again]
