"""Which object store is used: the one that the settings name, or one that a command names by its address."""

import os
from dataclasses import dataclass
from pathlib import Path

from fetchml.config.object_urls import refuse_credentials
from fetchml.errors import ConfigError
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.port import ObjectStore
from fetchml.objects.s3_place import Patience, S3Place, credentials_from, s3_place

Location = Path | S3Place
"""Where objects are: a folder, or a bucket."""


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """How objects are reached from this host."""

    folder: Path
    """Where they are by default."""
    staging: Path
    """Folder on this host for what is on its way to a bucket."""
    endpoint: str
    region: str | None
    patience: Patience
    url: str | None = None
    """The bucket that takes the place of the folder."""


def locate(text: str | None, settings: ObjectSettings) -> Location:
    """Returns the place that an address means; without one, the place of the settings.

    Args:
        text: `s3://bucket/prefix`, `file:///folder`, or the path of a folder.
        settings: How objects are reached from this host.

    Raises:
        ConfigError: It is no such address.
    """
    address = text if text is not None else settings.url
    if address is None:
        return settings.folder
    scheme, separator, rest = address.partition("://")
    if separator:
        refuse_credentials(address)
    if separator and scheme == "s3":
        return s3_place(address, settings.endpoint, settings.region)
    path = rest if separator else address
    if (separator and (scheme != "file" or not path.startswith("/"))) or not path or "\0" in path:
        raise ConfigError(
            f"`{address[:100]}` is no place for objects",
            detail="expected `s3://bucket/prefix`, `file:///folder`, or the path of a folder",
        )
    return Path(path).expanduser().resolve()


def open_objects(location: Location, settings: ObjectSettings, *, announces: bool = False) -> ObjectStore:
    """Returns the store at a place; asks it nothing.

    Args:
        location: The place.
        settings: How objects are reached from this host.
        announces: Whether what is stored in a bucket is stored by this home for its runs.

    Raises:
        ConfigError: It is a bucket, and the environment holds no credentials.
    """
    if isinstance(location, Path):
        return DirectoryObjects(location)
    from fetchml.objects.s3 import S3Objects  # the client takes a quarter of a second to import

    return S3Objects(location, credentials_from(os.environ), settings.staging, settings.patience, announces=announces)
