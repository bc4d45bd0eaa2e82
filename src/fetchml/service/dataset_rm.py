"""Takes datasets out of the catalogue; the data itself is never touched."""

from fetchml.config.settings import Settings
from fetchml.datasets.catalogue import Dataset
from fetchml.errors import ConfigError, Conflict, NotFound
from fetchml.home import Home
from fetchml.models.dataset import parse_spec
from fetchml.service.dataset_info import dataset_info
from fetchml.store.index import RunIndex

_SHOWN = 5


def remove_dataset(settings: Settings, target: str) -> Dataset:
    """Forgets one version of a dataset and returns what was known of it.

    Args:
        settings: The settings of this call.
        target: The dataset; its version may be left out where there is one only.

    Raises:
        ConfigError: There are several versions, and none is named.
        NotFound: There is no such dataset.
        Conflict: A run that has not ended refers to it.
    """
    home, spec = Home(settings), parse_spec(target)
    entry = dataset_info(settings, target)
    known = home.datasets.versions(entry.name)
    if len(known) > 1 and spec.version is None and spec.checksum is None:
        raise ConfigError(
            f"there are {len(known)} versions of `{entry.name}`",
            detail=", ".join(item.version for item in known),
            hint=f"name one: `{entry.name}@{entry.version}`",
        )
    # Another version with the same content serves the run as well.
    if not any(item.checksum == entry.checksum and item.version != entry.version for item in known):
        users = [run_id for run_id in _unfinished(settings) if _reads(home, run_id, entry)]
        if users:
            raise Conflict(
                f"`{entry}` is needed by {len(users)} run{'s' if len(users) > 1 else ''} that have not ended",
                detail=", ".join(users[:_SHOWN]) + (", ..." if len(users) > _SHOWN else ""),
                hint="wait for them, or cancel them",
                code="dataset-in-use",
            )
    home.datasets.remove(entry)
    return entry


def _unfinished(settings: Settings) -> list[str]:
    return [row.run_id for row in RunIndex(settings.store).unfinished()]


def _reads(home: Home, run_id: str, entry: Dataset) -> bool:
    try:
        plan = home.store.read_plan(run_id)
    except NotFound:
        return False
    return any((item.name, item.checksum) == (entry.name, entry.checksum) for item in plan.datasets)
