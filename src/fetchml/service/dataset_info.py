"""Shows one dataset of the catalogue."""

from fetchml.config.settings import Settings
from fetchml.datasets.catalogue import Dataset
from fetchml.errors import ConfigError
from fetchml.home import Home
from fetchml.models.dataset import parse_spec


def dataset_info(settings: Settings, target: str) -> Dataset:
    """Returns the dataset that a text means: `NAME`, `NAME@VERSION` or `NAME@sha256:...`.

    Raises:
        ConfigError: The text has another form.
        NotFound: There is none.
        Corrupt: The entry is damaged.
    """
    spec = parse_spec(target)
    if spec.mount is not None:
        raise ConfigError(f"`{target}` names a place in a run", hint=f"leave `:{spec.mount}` out")
    return Home(settings).datasets.find(spec)
